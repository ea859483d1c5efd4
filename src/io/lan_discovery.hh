#pragma once

// Finding, on the local network, the relay that a sender hosts itself. Spec: docs/protocol/code.md "On a
// local network".

#include <memory>
#include <optional>
#include <vector>

#include <boost/asio.hpp>

#include "base/address.hh"
#include "base/time.hh"
#include "session/lan_meeting.hh"

namespace dh::io {

namespace asio = boost::asio;

/// Where questions go: groups of our own, never routed further (hop limit 1). IPv6 asks at site scope, so
/// that both ends use addresses that need no zone where they have any.
struct LanGroups {
  std::uint16_t port = 41'668;
  IpAddress v4 = IpAddress::v4(239, 255, 77, 68);
  IpAddress v6 = *IpAddress::parse("ff05::6478:6c6e");
  bool use_v4 = true, use_v6 = true;   // answer only where the relay itself listens
  std::vector<unsigned> interfaces{};  // by the system's numbers; empty: all there are
};

/// Answers for one code while it lives, on every interface there is, new ones included within 30 s. Silent
/// about trouble: without multicast a code still works through other relays. A resource on one executor.
class LanResponder {
public:
  LanResponder(asio::any_io_executor executor, session::LanAnswerer answerer, LanGroups groups = {});
  ~LanResponder();
  LanResponder(const LanResponder&) = delete;
  LanResponder& operator=(const LanResponder&) = delete;
  const session::LanCounters& counters() const;

private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with its pending reads
};

/// A relay somebody who knows the words hosts: dial `at` and expect the certificate `pin`. A link-local
/// address has the zone that the answer came through.
struct FoundRelay {
  Endpoint at;
  ByteArray<32> pin{};
};

/// Asks on every interface, every half second until an answer comes or the time is over. The first one
/// counts; one from a link-local address only if the same half second brings no other.
asio::awaitable<std::optional<FoundRelay>> find_on_lan(session::LanAsker asker, Duration patience,
                                                       LanGroups groups = {});

}  // namespace dh::io
