#include "session/handshake.hh"

#include "crypto/hash.hh"

namespace dh::session {
namespace {

constexpr std::string_view kPattern = "IKpsk2";
constexpr std::string_view kPrologueLabel = "dx/1";
constexpr std::string_view kExporterLabel = "dx exporter";

}  // namespace

Secret<64> export_key(const SessionKeys& keys, std::string_view label) {
  return hkdf_expand<64>(keys.exporter, as_bytes(label));
}

Bytes handshake_prologue(const Token& token, const PublicKey& initiator_derp, std::string_view relay_name) {
  Bytes out;
  Writer writer(out);
  writer.text(kPrologueLabel);
  writer.u8(token.version);
  writer.u32(token.capabilities);
  writer.u64(static_cast<std::uint64_t>(token.expires.time_since_epoch().count()));
  writer.bytes(token.session_id);
  writer.bytes(token.listener_derp.bytes);
  writer.bytes(initiator_derp.bytes);
  writer.text(relay_name);  // last, so its length needs no field
  return out;
}

NoiseHandshake make_initiator_noise(const Token& token, const KeyPair& throwaway,
                                    const PublicKey& initiator_derp, std::string_view relay_name) {
  const Bytes prologue = handshake_prologue(token, initiator_derp, relay_name);
  return NoiseHandshake({.pattern = kPattern,
                         .initiator = true,
                         .prologue = prologue,
                         .local_static = throwaway,
                         .remote_static = token.listener_noise,
                         .psk = token.psk});
}

NoiseHandshake make_responder_noise(const Token& token, const KeyPair& noise_static,
                                    const PublicKey& initiator_derp, std::string_view relay_name) {
  const Bytes prologue = handshake_prologue(token, initiator_derp, relay_name);
  return NoiseHandshake({.pattern = kPattern,
                         .initiator = false,
                         .prologue = prologue,
                         .local_static = noise_static,
                         .remote_static = std::nullopt,
                         .psk = token.psk});
}

SessionKeys session_keys(const NoiseHandshake& noise, std::uint32_t local_index, std::uint32_t peer_index,
                         bool initiator) {
  SessionKeys keys;
  keys.exporter = noise.exporter(kExporterLabel);
  std::memcpy(keys.transcript_hash.data(), noise.hash().data(), keys.transcript_hash.size());
  keys.local_index = local_index;
  keys.peer_index = peer_index;
  keys.initiator = initiator;
  return keys;
}

Bytes HandshakeTime::serialize() const {
  Bytes out;
  Writer writer(out);
  writer.u64(wall_seconds);
  writer.u32(attempt);
  return out;
}

std::expected<HandshakeTime, WireError> HandshakeTime::parse(ByteView bytes) {
  if (bytes.size() != kSize) return std::unexpected(WireError::BadValue);
  Reader reader(bytes);
  HandshakeTime time;
  time.wall_seconds = reader.u64();
  time.attempt = reader.u32();
  return time;
}

ByteArray<32> mac1_key(const PublicKey& receiver_static) {
  return blake2b_256({as_bytes("mac1"), receiver_static.bytes});
}

ByteArray<32> cookie_key(const PublicKey& listener_static) {
  return blake2b_256({as_bytes("cookie"), listener_static.bytes});
}

}  // namespace dh::session
