#pragma once

#include <memory>
#include <vector>

#include <boost/asio/any_io_executor.hpp>

#include "base/address.hh"

namespace dh::io {

struct ShellCounters;

/// Answers STUN binding requests over UDP: those of DERP clients and plain RFC 5389 ones. With exactly two
/// endpoints that differ in address and in port (one family, no wildcard) it serves all four combinations,
/// names OTHER-ADDRESS and RESPONSE-ORIGIN, and honours CHANGE-REQUEST (RFC 5780). An answer is never longer
/// than 92 bytes and never goes to port 0, a multicast or an unspecified address. A resource; runs on the
/// executor.
class StunServer {
public:
  /// Binds. `counters` must outlive the object.
  /// Errors: throws std::runtime_error with one sentence for the user.
  StunServer(boost::asio::any_io_executor executor, const std::vector<Endpoint>& endpoints,
             ShellCounters& counters);
  ~StunServer();

  void start();
  void stop();  // safe to repeat
  /// As given, with the ports the system chose.
  const std::vector<Endpoint>& endpoints() const;

private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with its own coroutines, which outlive a stop() by one turn
};

}  // namespace dh::io
