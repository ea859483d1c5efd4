#include "session/authorized_keys.hh"

#include <algorithm>
#include <optional>

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace dh::session {
namespace {

constexpr std::string_view kMarker = "derphole-invite:";
constexpr std::string_view kOptions = "restrict,pty,expiry-time=\"";
constexpr std::string_view kNoTerminal = "restrict,expiry-time=\"";
constexpr std::size_t kIdDigits = 16;

// Calls `each` with every line, its newline included.
template <class Each>
void for_each_line(std::string_view file, Each each) {
  while (!file.empty()) {
    const std::size_t end = file.find('\n');
    const std::size_t size = end == std::string_view::npos ? file.size() : end + 1;
    each(file.substr(0, size));
    file.remove_prefix(size);
  }
}

std::vector<std::string_view> fields(std::string_view line) {
  std::vector<std::string_view> out;
  while (!line.empty()) {
    const std::size_t begin = line.find_first_not_of(" \t\r\n");
    if (begin == std::string_view::npos) break;
    line.remove_prefix(begin);
    const std::size_t end = std::min(line.find_first_of(" \t\r\n"), line.size());
    out.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
  return out;
}

// Exactly what authorized_key_line() makes; a line that somebody edited is not ours any more.
std::optional<GrantedLine> read_line(std::string_view line) {
  const auto parts = fields(line);
  if (parts.size() != 4 || !parts[0].ends_with('"')) return std::nullopt;
  const std::string_view options = parts[0].starts_with(kOptions) ? kOptions : kNoTerminal;
  if (!parts[0].starts_with(options) || parts[0].size() <= options.size()) return std::nullopt;
  std::string_view marker = parts[3];
  if (!marker.starts_with(kMarker)) return std::nullopt;
  marker.remove_prefix(kMarker.size());
  GrantedLine out;
  out.id = marker.substr(0, kIdDigits);
  if (out.id.size() != kIdDigits || !from_hex(out.id)) return std::nullopt;
  marker.remove_prefix(kIdDigits);
  if (!marker.empty() && !marker.starts_with(':')) return std::nullopt;
  if (!marker.empty()) out.comment = marker.substr(1);
  out.type = parts[1];
  out.expires = parts[0].substr(options.size(), parts[0].size() - options.size() - 1);
  return out;
}

}  // namespace

std::string authorized_key_line(const SshGrant& grant) {
  SshKey bare = grant.key;
  bare.comment.clear();
  std::string line = fmt::format("{}{:%Y%m%d%H%M}Z\" {} {}{}", grant.terminal ? kOptions : kNoTerminal,
                                 fmt::gmtime(grant.expires.time_since_epoch().count()), format_ssh_key(bare),
                                 kMarker, to_hex(grant.id));
  if (!grant.key.comment.empty()) line += ":" + grant.key.comment;
  return line;
}

std::expected<std::string, AddKeyError> add_authorized_key(std::string_view file, const SshGrant& grant) {
  SshKey bare = grant.key;
  bare.comment.clear();
  const std::string key = format_ssh_key(bare);
  const std::string base64 = key.substr(key.find(' ') + 1);
  bool there = false;
  for_each_line(file, [&](std::string_view line) {
    const auto parts = fields(line);
    if (parts.empty() || parts[0].starts_with('#')) return;
    there = there || std::find(parts.begin(), parts.end(), base64) != parts.end();
  });
  if (there) return std::unexpected(AddKeyError::AlreadyThere);
  std::string out(file);
  if (!out.empty() && out.back() != '\n') out += '\n';
  out += authorized_key_line(grant) + "\n";
  if (out.size() > kMaxAuthorizedKeys) return std::unexpected(AddKeyError::FileTooLong);
  return out;
}

std::vector<GrantedLine> granted_lines(std::string_view file) {
  std::vector<GrantedLine> out;
  for_each_line(file, [&](std::string_view line) {
    if (auto ours = read_line(line)) out.push_back(std::move(*ours));
  });
  return out;
}

RevokedKeys revoke_authorized_keys(std::string_view file, std::string_view id) {
  RevokedKeys out;
  for_each_line(file, [&](std::string_view line) {
    const auto ours = read_line(line);
    if (ours && (id == "all" || ours->id == id))
      ++out.removed;
    else
      out.file += line;
  });
  return out;
}

}  // namespace dh::session
