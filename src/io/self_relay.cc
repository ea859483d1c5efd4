#include "io/self_relay.hh"

#include <algorithm>
#include <stdexcept>

#include "io/clock.hh"
#include "io/listen_socket.hh"
#include "io/local_addresses.hh"
#include "io/tls_certificate.hh"

namespace dh::io {
namespace {

constexpr std::size_t kTokenAddresses = 8;  // as many as a token holds (docs/protocol/token.md)

constexpr int kPortTries = 8;

// On one port of every family that this machine has an address of: a token has room for one port.
std::unique_ptr<DerpServer> listen_on_all(const asio::any_io_executor& executor, DerpServerOptions options,
                                          const std::vector<IpAddress>& addresses, Rng& rng) {
  const auto is_v4 = [](const IpAddress& address) { return address.is_v4(); };
  const bool v4 = std::any_of(addresses.begin(), addresses.end(), is_v4);
  const bool v6 = !std::all_of(addresses.begin(), addresses.end(), is_v4);
  const IpAddress first = v4 ? IpAddress{} : IpAddress::v6({});
  for (int i = 0; v4 && v6 && i < kPortTries; ++i) {
    // The port that is free for one may be taken for the other.
    const std::uint16_t port = bound_endpoint(listen_tcp({first, 0}, 0)).port;
    options.listen = {{first, port}, {IpAddress::v6({}), port}};
    try {
      return std::make_unique<DerpServer>(executor, options, rng);
    } catch (const std::runtime_error&) {
    }
  }
  options.listen = {{first, 0}};
  return std::make_unique<DerpServer>(executor, options, rng);
}

}  // namespace

SelfRelay::SelfRelay(asio::any_io_executor executor, Rng& rng) {
  std::vector<IpAddress> addresses = local_addresses();
  if (addresses.empty()) throw std::runtime_error("this machine has no network address, not even loopback");
  if (addresses.size() > kTokenAddresses) addresses.resize(kTokenAddresses);

  DerpServerOptions options;
  options.key = KeyPair::generate(rng);
  SelfSignedOptions certificate;
  certificate.hosts = {addresses.front().to_string()};
  options.tls = make_self_signed(certificate, wall_now());
  server_ = listen_on_all(executor, options, addresses, rng);
  server_->start();

  ref_.host = addresses.front().to_string();
  ref_.port = server_->endpoints().front().port;
  ref_.pin = server_->pin();
  for (const IpAddress& address : addresses) {
    const auto serves = [&](const Endpoint& bound) { return bound.address.is_v4() == address.is_v4(); };
    if (std::any_of(server_->endpoints().begin(), server_->endpoints().end(), serves))
      ref_.addresses.push_back(address);
  }
}

SelfRelay::~SelfRelay() = default;

Endpoint SelfRelay::loopback() const {
  const Endpoint bound = server_->endpoints().front();
  ByteArray<16> six{};
  six[15] = std::byte{1};
  return {bound.address.is_v4() ? IpAddress::v4(127, 0, 0, 1) : IpAddress::v6(six), bound.port};
}

}  // namespace dh::io
