#include "io/stun_server.hh"

#include "io/listen_socket.hh"
#include "io/relay_world.hh"
#include "wire/stun.hh"

namespace dh::io {
namespace {

using asio::ip::udp;

class StunClient {
public:
  StunClient() : socket_(context_, udp::endpoint(asio::ip::address_v4::loopback(), 0)) {
    const timeval patience{.tv_sec = 5, .tv_usec = 0};
    ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  void send(const Endpoint& to, ByteView datagram) {
    socket_.send_to(asio::buffer(datagram.data(), datagram.size()),
                    {asio::ip::make_address(to.address.to_string()), to.port});
  }
  Bytes receive() {
    Bytes buffer(1500);
    SocketAddress from_address;
    from_address.size = sizeof from_address.storage;
    const ssize_t size = ::recvfrom(socket_.native_handle(), buffer.data(), buffer.size(), 0,
                                    from_address.data(), &from_address.size);
    buffer.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
    from = SocketAddress::to_endpoint(from_address.storage);
    return buffer;
  }
  Endpoint local() const { return {IpAddress::v4(127, 0, 0, 1), socket_.local_endpoint().port()}; }
  Endpoint from;

private:
  asio::io_context context_;
  udp::socket socket_;
};

const wire::stun::TransactionId kId = array_from_hex<12>("000102030405060708090a0b").value();

Bytes plain_request(std::string_view length, std::string_view attributes) {
  return from_hex("0001" + std::string(length) + "2112a442" + to_hex(kId) + std::string(attributes)).value();
}

TEST(StunServer, AnswersDerpClientsAndPlainOnesWithTheirAddress) {
  DerpServerOptions options = loopback_options();
  options.stun = {{IpAddress::v4(127, 0, 0, 1), 0}};
  RelayWorld world(std::move(options));
  StunClient client;
  const Endpoint server = world.server().stun_endpoints().front();
  for (const Bytes& request : {to_bytes(wire::stun::make_request(kId)), plain_request("0000", "")}) {
    client.send(server, request);
    const Bytes answer = client.receive();
    EXPECT_EQ(answer.size(), 32u);
    const auto reply = wire::stun::parse_reply(answer);
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->id, kId);
    EXPECT_EQ(reply->mapped, client.local());
  }
  EXPECT_EQ(world.shell().stun_requests, 2u);
}

TEST(StunServer, StaysSilentTowardsEverythingElse) {
  DerpServerOptions options = loopback_options();
  options.stun = {{IpAddress::v4(127, 0, 0, 1), 0}};
  RelayWorld world(std::move(options));
  StunClient client;
  const Endpoint server = world.server().stun_endpoints().front();
  client.send(server, as_bytes("hello"));
  client.send(server,
              wire::stun::make_reply(kId, client.local()));        // two servers must not talk to each other
  client.send(server, plain_request("0008", "0003000400000006"));  // nothing to change to
  client.send(server, wire::stun::make_request(kId));
  EXPECT_EQ(client.receive().size(), 32u);  // the first answer is to the last datagram
  EXPECT_EQ(world.shell().stun_dropped, 3u);
}

TEST(StunServer, AnswersFromTheOtherAddressAndPortWhenAsked) {
  DerpServerOptions options = loopback_options();
  options.stun = {{IpAddress::v4(127, 0, 0, 1), 0}, {IpAddress::v4(127, 0, 0, 2), 0}};
  RelayWorld world(std::move(options));
  const Endpoint first = world.server().stun_endpoints()[0], second = world.server().stun_endpoints()[1];
  StunClient client;
  const std::pair<const char*, Endpoint> cases[] = {{"00", first},
                                                    {"02", {first.address, second.port}},
                                                    {"04", {second.address, first.port}},
                                                    {"06", second}};
  for (const auto& [flags, expected] : cases) {
    client.send(first, plain_request("0008", "00030004000000" + std::string(flags)));
    const Bytes answer = client.receive();
    EXPECT_EQ(client.from, expected) << flags;
    EXPECT_EQ(wire::stun::parse_reply(answer)->mapped, client.local());
    ASSERT_EQ(answer.size(), 56u);
    const auto clear = [](std::string_view type, const Endpoint& endpoint) {
      Bytes text = from_hex(std::string(type) + "00080001").value();
      Writer w(text);
      w.u16(endpoint.port);
      w.bytes(endpoint.address.v4_bytes());
      return to_hex(text);
    };
    EXPECT_EQ(to_hex(ByteView(answer).subspan(32)), clear("802b", expected) + clear("802c", second));
  }
  client.send(second, wire::stun::make_request(kId));
  EXPECT_EQ(client.receive().size(), 32u);  // DERP clients get their usual answer
}

}  // namespace
}  // namespace dh::io
