#include "sim/stun_server.hh"

#include "base/check.hh"
#include "wire/stun.hh"
#include "wire/stun_behaviour.hh"

namespace dh::sim {

StunServer::StunServer(Internet& internet, std::vector<IpAddress> addresses, const Wire& wire)
    : internet_(internet),
      addresses_(std::move(addresses)),
      host_(internet.add_host({Interface{.addresses = addresses_, .wire = wire}})) {
  for (std::size_t i = 0; i < addresses_.size() * 2; ++i) {
    const Endpoint own = endpoint(i / 2, i % 2 == 1);
    const auto receive = [this, i](SocketId, const Endpoint& from, ByteView datagram) {
      on_request(i, from, datagram);
    };
    sockets_.push_back(internet_.open_socket(host_, own.port, receive, own.address));
  }
}

StunServer::~StunServer() {
  for (const SocketId socket : sockets_) internet_.close_socket(socket);
}

Endpoint StunServer::endpoint(std::size_t address, bool other_port) const {
  CHECK(address < addresses_.size());
  return {addresses_[address], other_port ? kOtherPort : kPort};
}

// The next address of the same family; the same one when it has no sibling.
std::size_t StunServer::other_address(std::size_t index) const {
  for (std::size_t step = 1; step < addresses_.size(); ++step) {
    const std::size_t other = (index + step) % addresses_.size();
    if (addresses_[other].is_v4() == addresses_[index].is_v4()) return other;
  }
  return index;
}

void StunServer::on_request(std::size_t index, const Endpoint& from, ByteView datagram) {
  if (silent_) return;
  const std::size_t own = index / 2, other = other_address(own);
  const bool own_port = index % 2 == 1;
  const auto behaviour = wire::stun::parse_behaviour_request(datagram);
  if (behaviour && other != own) {
    const std::size_t by = behaviour->change_address ? other : own;
    const bool by_port = own_port != behaviour->change_port;
    const Bytes reply = wire::stun::make_behaviour_reply(behaviour->id, from, endpoint(by, by_port),
                                                         endpoint(other, !own_port));
    internet_.send(sockets_[by * 2 + (by_port ? 1 : 0)], from, reply);
    ++answered_;
    return;
  }
  const wire::stun::Request request = wire::stun::classify(datagram);
  if (request.kind != wire::stun::RequestKind::Plain && request.kind != wire::stun::RequestKind::Tailnode)
    return;
  internet_.send(sockets_[index], from, wire::stun::make_reply(request.id, from));
  ++answered_;
}

}  // namespace dh::sim
