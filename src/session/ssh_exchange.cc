#include "session/ssh_exchange.hh"

#include <algorithm>

#include <fmt/format.h>

#include "base/check.hh"

namespace dh::session {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kMore = 0, kLast = 1;  // the first byte of a message
constexpr std::size_t kMaxHost = 253;

bool is_alnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

void write_text(Writer& out, std::string_view text) {
  out.u16(static_cast<std::uint16_t>(text.size()));
  out.text(text);
}
std::string read_text(Reader& in) {
  return std::string(as_text(in.bytes(in.u16())));
}

std::string name_in_known_hosts(const std::string& host, std::uint16_t port) {
  return port == 22 ? host : fmt::format("[{}]:{}", host, port);
}

}  // namespace

std::vector<Bytes> ssh_offer_messages(const SshKey& key, std::size_t max_message) {
  CHECK(max_message >= 2);
  const std::string line = format_ssh_key(key);
  std::string_view rest = line;
  std::vector<Bytes> messages;
  while (!rest.empty()) {
    const std::string_view part = rest.substr(0, max_message - 1);
    rest.remove_prefix(part.size());
    Bytes message;
    Writer out(message);
    out.u8(rest.empty() ? kLast : kMore);
    out.text(part);
    messages.push_back(std::move(message));
  }
  return messages;
}

std::optional<std::expected<SshKey, SshKeyError>> SshOfferReader::on_message(ByteView message) {
  using Result = std::expected<SshKey, SshKeyError>;
  if (done_) return std::nullopt;
  Reader in(message);
  const std::uint8_t flag = in.u8();
  const ByteView part = in.rest();
  done_ = true;
  if (!in.ok() || flag > kLast) return Result(std::unexpected(SshKeyError::Empty));
  if (text_.size() + part.size() > kMaxSshKeyText) return Result(std::unexpected(SshKeyError::TooLong));
  text_ += as_text(part);
  if (flag == kLast) return parse_ssh_key(text_);
  done_ = false;
  return std::nullopt;
}

bool is_ssh_user(std::string_view text) {
  if (text.empty() || text.size() > kMaxSshUser || text.front() == '-') return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return is_alnum(c) || c == '.' || c == '_' || c == '-'; });
}

bool is_ssh_host(std::string_view text) {
  if (text.empty() || text.size() > kMaxHost || !(is_alnum(text.front()) || text.front() == ':'))
    return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return is_alnum(c) || c == '.' || c == ':' || c == '-'; });
}

Bytes SshAccess::serialize() const {
  CHECK(is_ssh_user(user) && port != 0 && expires.time_since_epoch().count() >= 0);
  CHECK(!hosts.empty() && hosts.size() <= kMaxSshHosts);
  CHECK(!host_keys.empty() && host_keys.size() <= kMaxSshHostKeys);
  Bytes bytes;
  Writer out(bytes);
  out.u8(kVersion);
  out.u16(port);
  out.u64(static_cast<std::uint64_t>(expires.time_since_epoch().count()));
  out.bytes(grant_id);
  write_text(out, user);
  out.u8(static_cast<std::uint8_t>(hosts.size()));
  for (const std::string& host : hosts) {
    CHECK(is_ssh_host(host));
    write_text(out, host);
  }
  out.u8(static_cast<std::uint8_t>(host_keys.size()));
  for (const SshKey& key : host_keys) write_text(out, format_ssh_key(key));
  CHECK(bytes.size() <= kMaxSshAccess);
  return bytes;
}

std::expected<SshAccess, WireError> SshAccess::parse(ByteView bytes) {
  if (bytes.size() > kMaxSshAccess) return std::unexpected(WireError::TooLong);
  Reader in(bytes);
  if (in.u8() != kVersion) return std::unexpected(WireError::BadMagic);
  SshAccess access;
  access.port = in.u16();
  const std::uint64_t expiry = in.u64();
  access.grant_id = in.array<8>();
  access.user = read_text(in);
  const std::size_t host_count = in.u8();
  if (host_count == 0 || host_count > kMaxSshHosts) return std::unexpected(WireError::BadValue);
  for (std::size_t i = 0; i < host_count; ++i) access.hosts.push_back(read_text(in));
  const std::size_t key_count = in.u8();
  if (key_count == 0 || key_count > kMaxSshHostKeys) return std::unexpected(WireError::BadValue);
  for (std::size_t i = 0; i < key_count; ++i) {
    const auto key = parse_ssh_key(read_text(in));
    if (!key || !key->comment.empty()) return std::unexpected(WireError::BadValue);
    access.host_keys.push_back(*key);
  }
  if (!in.ok()) return std::unexpected(Reader::error());
  if (in.remaining() != 0) return std::unexpected(WireError::TooLong);
  const bool sound = access.port != 0 && expiry < (std::uint64_t{1} << 40) && is_ssh_user(access.user) &&
                     std::all_of(access.hosts.begin(), access.hosts.end(), is_ssh_host);
  if (!sound) return std::unexpected(WireError::BadValue);
  access.expires = UnixSeconds(std::chrono::seconds(static_cast<std::int64_t>(expiry)));
  return access;
}

std::string ssh_command(const SshAccess& access) {
  const std::string target = access.user + "@" + access.hosts.front();
  return access.port == 22 ? "ssh " + target : fmt::format("ssh -p {} {}", access.port, target);
}

std::string known_hosts_lines(const SshAccess& access) {
  std::string out;
  for (const std::string& host : access.hosts)
    for (const SshKey& key : access.host_keys)
      out += name_in_known_hosts(host, access.port) + " " + format_ssh_key(key) + "\n";
  return out;
}

}  // namespace dh::session
