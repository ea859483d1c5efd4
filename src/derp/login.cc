#include "derp/login.hh"

#include <array>

#include <boost/json.hpp>

#include "crypto/nacl_box.hh"
#include "wire/derp_frame.hh"

namespace dh::derp {
namespace {

namespace json = boost::json;

constexpr std::size_t kMaxJsonDepth = 16;  // nested objects and arrays; a login has one level

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

std::optional<json::object> parse_object(std::string_view text) {
  json::parse_options options;
  options.max_depth = kMaxJsonDepth;
  options.allow_invalid_utf8 = true;  // free text of a stranger; shown only through printable()
  boost::system::error_code error;
  json::value value = json::parse({text.data(), text.size()}, error, {}, options);
  if (error || !value.is_object()) return std::nullopt;
  return std::move(value.get_object());
}

// A JSON null leaves the field as it is, as in the relays' own parser.
bool read(const json::value& value, bool& out) {
  if (value.is_null()) return true;
  if (!value.is_bool()) return false;
  out = value.get_bool();
  return true;
}

bool read(const json::value& value, std::int64_t& out) {
  if (value.is_null()) return true;
  if (!value.is_int64()) return false;
  out = value.get_int64();
  return true;
}

bool read(const json::value& value, std::string& out) {
  if (value.is_null()) return true;
  if (!value.is_string()) return false;
  out.assign(value.get_string().data(), value.get_string().size());
  return true;
}

// Negative rates limit nothing.
bool read(const json::value& value, std::uint64_t& out) {
  std::int64_t number = static_cast<std::int64_t>(out);
  if (!read(value, number)) return false;
  out = number < 0 ? 0 : static_cast<std::uint64_t>(number);
  return true;
}

// Exactly 64 digits, no trimming, and null does not count as absent: a client that wanted to be privileged
// and got it wrong must not be served as an ordinary one.
bool read(const json::value& value, std::optional<MeshKey>& out) {
  if (!value.is_string()) return false;
  const auto& text = value.get_string();
  const auto bytes = array_from_hex<32>({text.data(), text.size()});
  if (!bytes) return false;
  out.reset();
  if (*bytes != ByteArray<32>{}) out = MeshKey(*bytes);
  return true;
}

ByteArray<kBoxNonceSize> make_nonce(Rng& rng) {
  ByteArray<kBoxNonceSize> nonce;
  rng.fill(nonce);
  return nonce;
}

}  // namespace

std::optional<MeshKey> parse_mesh_key(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return std::nullopt;
  text = text.substr(first, text.find_last_not_of(kSpace) - first + 1);
  const auto bytes = array_from_hex<32>(text);
  if (!bytes || *bytes == ByteArray<32>{}) return std::nullopt;
  return MeshKey(*bytes);
}

std::string ClientLogin::to_json() const {
  std::string out = "{";
  if (mesh_key) out += "\"meshKey\":\"" + to_hex(mesh_key->expose()) + "\",";
  if (version != 0) out += "\"version\":" + std::to_string(version) + ",";
  out += can_ack_pings ? "\"CanAckPings\":true" : "\"CanAckPings\":false";
  if (is_prober) out += ",\"IsProber\":true";
  if (!app_name.empty()) out += ",\"AppName\":" + json::serialize(json::string(app_name));
  return out + "}";
}

std::optional<ClientLogin> ClientLogin::from_json(std::string_view text) {
  const auto object = parse_object(text);
  if (!object) return std::nullopt;
  ClientLogin login;
  for (const auto& [key, value] : *object) {
    const std::string_view name(key.data(), key.size());
    bool fits = true;
    if (same_name(name, "meshKey")) fits = read(value, login.mesh_key);
    if (same_name(name, "version")) fits = read(value, login.version);
    if (same_name(name, "CanAckPings")) fits = read(value, login.can_ack_pings);
    if (same_name(name, "IsProber")) fits = read(value, login.is_prober);
    if (same_name(name, "AppName")) fits = read(value, login.app_name);
    if (!fits) return std::nullopt;
  }
  return login;
}

std::string ServerLogin::to_json() const {
  std::string out;
  const auto add = [&out](std::string_view name, std::uint64_t value) {
    if (value == 0) return;
    out += out.empty() ? "{\"" : ",\"";
    out += name;
    out += "\":" + std::to_string(value);
  };
  add("version", static_cast<std::uint64_t>(version));
  add("TokenBucketBytesPerSecond", bytes_per_second);
  add("TokenBucketBytesBurst", bytes_burst);
  return (out.empty() ? "{" : out) + "}";
}

std::optional<ServerLogin> ServerLogin::from_json(std::string_view text) {
  const auto object = parse_object(text);
  if (!object) return std::nullopt;
  ServerLogin login;
  for (const auto& [key, value] : *object) {
    const std::string_view name(key.data(), key.size());
    bool fits = true;
    if (same_name(name, "version")) fits = read(value, login.version);
    if (same_name(name, "TokenBucketBytesPerSecond")) fits = read(value, login.bytes_per_second);
    if (same_name(name, "TokenBucketBytesBurst")) fits = read(value, login.bytes_burst);
    if (!fits) return std::nullopt;
  }
  return login;
}

bool append_client_info(Bytes& out, const ClientLogin& login, const KeyPair& client, const PublicKey& server,
                        Rng& rng) {
  const auto sealed = box_seal(as_bytes(login.to_json()), make_nonce(rng), server, client.secret);
  if (!sealed) return false;
  Writer w(out);
  wire::derp::ClientInfoFrame{client.pub, *sealed}.serialize(w);
  return true;
}

bool append_server_info(Bytes& out, const ServerLogin& login, const KeyPair& server, const PublicKey& client,
                        Rng& rng) {
  const auto sealed = box_seal(as_bytes(login.to_json()), make_nonce(rng), client, server.secret);
  if (!sealed) return false;
  Writer w(out);
  wire::derp::ServerInfoFrame{*sealed}.serialize(w);
  return true;
}

std::optional<ClientLogin> open_client_info(ByteView sealed, const PublicKey& client,
                                            const PrivateKey& server) {
  const auto plain = box_open(sealed, client, server);
  if (!plain) return std::nullopt;
  return ClientLogin::from_json(as_text(*plain));
}

std::optional<ServerLogin> open_server_info(ByteView sealed, const PublicKey& server,
                                            const PrivateKey& client) {
  const auto plain = box_open(sealed, server, client);
  if (!plain) return std::nullopt;
  return ServerLogin::from_json(as_text(*plain));
}

}  // namespace dh::derp
