#pragma once

// What the two ends of `ssh invite` and `ssh accept` tell each other inside their session: the client its
// public key, in messages; the host how to log in, on the stream. Pure. Spec: docs/protocol/ssh-invite.md
// "Exchange".

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.hh"
#include "base/time.hh"
#include "session/ssh_key.hh"

namespace dh::session {

/// The key as messages of at most `max_message` bytes each.
std::vector<Bytes> ssh_offer_messages(const SshKey& key, std::size_t max_message = 1000);

/// Puts the messages together. The first result is the last one; nothing is kept beyond kMaxSshKeyText.
class SshOfferReader {
public:
  /// Empty: more is to come.
  std::optional<std::expected<SshKey, SshKeyError>> on_message(ByteView message);

private:
  std::string text_;
  bool done_ = false;
};

inline constexpr std::size_t kMaxSshHosts = 8;        // names and addresses of the host
inline constexpr std::size_t kMaxSshHostKeys = 8;     // as many types as there are
inline constexpr std::size_t kMaxSshUser = 32;        // what Linux allows
inline constexpr std::size_t kMaxSshAccess = 32'768;  // bytes of the whole answer

/// How the client gets in. A parsed one can be put on a command line: names have harmless characters only.
struct SshAccess {
  std::string user;  // [A-Za-z0-9._-], does not begin with '-'
  std::uint16_t port = 22;
  std::vector<std::string> hosts;  // 1..8, best first: DNS names or addresses
  std::vector<SshKey> host_keys;   // 1..8, without comments
  UnixSeconds expires{};
  ByteArray<8> grant_id{};

  /// CHECKs the bounds above.
  Bytes serialize() const;
  static std::expected<SshAccess, WireError> parse(ByteView bytes);
  bool operator==(const SshAccess&) const = default;
};

bool is_ssh_user(std::string_view text);
bool is_ssh_host(std::string_view text);

/// `ssh [-p PORT] USER@HOST`, for the person to type.
std::string ssh_command(const SshAccess& access);
/// Lines for ~/.ssh/known_hosts, one for each host and key, each with its newline.
std::string known_hosts_lines(const SshAccess& access);

}  // namespace dh::session
