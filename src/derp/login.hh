#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hh"
#include "base/rng.hh"
#include "crypto/keys.hh"

// The two sealed messages of a DERP login: JSON inside a NaCl box. docs/protocol/derp.md, "Login".
namespace dh::derp {

using MeshKey = Secret<32>;

/// 64 hex digits, surrounding white space trimmed: how files and environment variables hold a mesh key.
/// Errors: nullopt for anything else, and for the all-zero key, which means "none".
std::optional<MeshKey> parse_mesh_key(std::string_view text);

/// What a client says about itself.
struct ClientLogin {
  std::optional<MeshKey> mesh_key = {};
  std::int64_t version = 0;  // 0: not said
  bool can_ack_pings = false;
  bool is_prober = false;
  std::string app_name = {};  // free text of the peer: printable() it

  std::string to_json() const;
  /// Lenient as relays are: any case of names, unknown names ignored, last of equal names wins.
  /// Errors: nullopt for anything that is not a JSON object, a known name with a value of another type, or a
  /// mesh key that is not exactly 64 hex digits.
  static std::optional<ClientLogin> from_json(std::string_view json);
};

/// What a relay answers.
struct ServerLogin {
  std::int64_t version = 0;
  std::uint64_t bytes_per_second = 0;  // 0: no limit announced
  std::uint64_t bytes_burst = 0;

  std::string to_json() const;
  static std::optional<ServerLogin> from_json(std::string_view json);
  bool operator==(const ServerLogin&) const = default;
};

/// The whole ClientInfo or ServerInfo frame, appended to `out`. false: `to` is a low-order point.
bool append_client_info(Bytes& out, const ClientLogin& login, const KeyPair& client, const PublicKey& server,
                        Rng& rng);
bool append_server_info(Bytes& out, const ServerLogin& login, const KeyPair& server, const PublicKey& client,
                        Rng& rng);

/// Opens what follows the key in a ClientInfo, or a whole ServerInfo payload. Errors: nullopt for a box that
/// does not open and for JSON from_json refuses.
std::optional<ClientLogin> open_client_info(ByteView sealed, const PublicKey& client,
                                            const PrivateKey& server);
std::optional<ServerLogin> open_server_info(ByteView sealed, const PublicKey& server,
                                            const PrivateKey& client);

}  // namespace dh::derp
