#include "io/self_relay.hh"

#include <algorithm>
#include <stdexcept>

#include "io/clock.hh"
#include "io/local_addresses.hh"
#include "io/tls_certificate.hh"

namespace dh::io {
namespace {

constexpr std::size_t kTokenAddresses = 8;  // as many as a token holds (docs/protocol/token.md)

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
  const bool has_v4 =
      std::any_of(addresses.begin(), addresses.end(), [](const auto& a) { return a.is_v4(); });
  options.listen.push_back({has_v4 ? IpAddress{} : IpAddress::v6({}), 0});
  server_ = std::make_unique<DerpServer>(executor, options, rng);
  server_->start();

  ref_.host = addresses.front().to_string();
  ref_.port = server_->endpoints().front().port;
  ref_.pin = server_->pin();
  for (const IpAddress& address : addresses) {
    if (address.is_v4() == has_v4) ref_.addresses.push_back(address);
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
