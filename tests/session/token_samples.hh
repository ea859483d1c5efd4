#pragma once

#include "session/token.hh"

namespace dh::session {

inline PublicKey filled_key(unsigned value) {
  PublicKey key;
  key.bytes.fill(static_cast<std::byte>(value));
  return key;
}

// One relay from a map, one private with everything a reference can have.
inline Token sample_token() {
  Token token;
  token.session_id.fill(std::byte{0x11});
  token.expires = UnixSeconds(std::chrono::seconds(1'800'000'000));
  token.capabilities = static_cast<std::uint32_t>(Capability::Transfer);
  token.listener_derp = filled_key(0x22);
  token.listener_noise = filled_key(0x33);
  token.psk.expose_mutable()[0] = std::byte{0x44};
  RelayRef mapped;
  mapped.region = 12;
  mapped.host = "derp12.example.com";
  mapped.stun_port = 3478;
  token.relays.push_back(mapped);
  RelayRef own;
  own.region = 70'000;
  own.host = "192.168.1.5";
  own.port = 8443;
  own.pin = ByteArray<32>{};
  own.pin->fill(std::byte{0x55});
  own.addresses = {*IpAddress::parse("192.168.1.5"), *IpAddress::parse("fd00::5")};
  own.plain_http = true;
  token.relays.push_back(own);
  return token;
}

}  // namespace dh::session
