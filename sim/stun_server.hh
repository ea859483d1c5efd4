#pragma once

#include <vector>

#include "sim/internet.hh"

namespace dh::sim {

/// A STUN server (wire/stun.hh) with ports 3478 and 3479 on each of its addresses, which also answers from
/// the other address or port when asked (RFC 5780). One public host on the open internet.
class StunServer {
public:
  static constexpr std::uint16_t kPort = 3478, kOtherPort = 3479;

  /// One address of a family answers plainly; two of it know behaviour tests. `internet` must outlive this.
  StunServer(Internet& internet, std::vector<IpAddress> addresses, const Wire& wire = {});
  StunServer(const StunServer&) = delete;
  StunServer& operator=(const StunServer&) = delete;
  ~StunServer();

  HostId host() const { return host_; }
  Endpoint endpoint(std::size_t address = 0, bool other_port = false) const;
  std::uint64_t answered() const { return answered_; }
  void set_silent(bool silent) { silent_ = silent; }

private:
  void on_request(std::size_t index, const Endpoint& from, ByteView datagram);
  std::size_t other_address(std::size_t index) const;

  Internet& internet_;
  std::vector<IpAddress> addresses_;
  HostId host_;
  std::vector<SocketId> sockets_;  // two for each address
  std::uint64_t answered_ = 0;
  bool silent_ = false;
};

}  // namespace dh::sim
