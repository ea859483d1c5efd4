#pragma once

#include <functional>
#include <memory>

#include <boost/asio.hpp>

#include "io/local_addresses.hh"

namespace dh::io {

/// Says when this machine's addresses or its way to the internet have changed (rtnetlink). A flap makes a
/// dozen messages; they are waited out, and only a state that differs is told. A resource on one executor.
/// It cannot see what happens behind the next router: that is for probes to find out.
class NetworkMonitor {
public:
  using OnChange = std::function<void(const NetworkState&)>;
  NetworkMonitor(boost::asio::any_io_executor executor, OnChange on_change);
  ~NetworkMonitor();
  /// The state as of the last report, or of the construction.
  const NetworkState& state() const;

private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with its pending waits
};

}  // namespace dh::io
