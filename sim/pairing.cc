#include "sim/pairing.hh"

#include <fmt/format.h>

namespace dh::sim {

Pairing make_pairing(Rng& rng, std::size_t relays, UnixSeconds wall) {
  Pairing out;
  out.listener.role = session::Role::Listener;
  out.listener.direction = session::Direction::Receive;
  out.listener.derp_key = KeyPair::generate(rng);
  out.listener.noise_key = KeyPair::generate(rng);
  session::Token& token = out.listener.token;
  rng.fill(token.session_id);
  rng.fill(token.psk.expose_mutable());
  token.expires = wall + std::chrono::hours(1);
  token.capabilities = static_cast<std::uint32_t>(session::Capability::Pipe);
  token.listener_derp = out.listener.derp_key.pub;
  token.listener_noise = out.listener.noise_key->pub;
  for (std::size_t i = 0; i < relays; ++i) {
    session::RelayRef ref;
    ref.host = fmt::format("relay{}.test", i);
    token.relays.push_back(ref);
  }
  out.dialer.token = token;
  out.dialer.derp_key = KeyPair::generate(rng);
  return out;
}

}  // namespace dh::sim
