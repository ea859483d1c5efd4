#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include <boost/asio/any_io_executor.hpp>

#include "base/time.hh"
#include "io/gateway.hh"

namespace dh::io {

struct UpnpMapping {
  Endpoint external;
  Duration lease{};  // 0: until deleted
};

/// UPnP port mapping at one IPv4 gateway: finds its description by SSDP and speaks SOAP through libminiupnpc,
/// which blocks and so runs in threads of its own that may outlive this object. Never talks to another host
/// than the gateway, whatever an answer says. A resource on one executor.
class UpnpGateway {
public:
  static constexpr Duration kSearchFor = 2s;      // answers are spread over MX (1 s)
  static constexpr std::size_t kMaxAnswers = 10;  // looked at per search
  using OnMapped = std::function<void(std::optional<UpnpMapping>)>;

  /// `on_seen`: a UPnP gateway answered.
  UpnpGateway(boost::asio::any_io_executor executor, const Gateway& gateway, std::function<void()> on_seen);
  ~UpnpGateway();

  /// Looks for the gateway's description. Repeated where a mapping failed: it may have moved.
  void search();
  /// Maps once the description is known; empty when none came or the gateway refused. One at a time.
  void map(std::uint16_t internal_port, std::uint16_t external_port, Duration lease, OnMapped on_mapped);
  /// Deletes what was mapped; `done` once that is answered. Nothing else is called any more.
  void stop(std::function<void()> done);

private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with pending waits
};

}  // namespace dh::io
