#pragma once

// Public keys of ssh as one line of text: checked down to their bits, because such a line from a peer ends up
// in a file that decides who may log in. Spec: docs/protocol/ssh-invite.md "Keys".

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "base/bytes.hh"
#include "base/time.hh"

namespace dh::session {

inline constexpr std::size_t kMaxSshKeyText = 16'384;  // bytes; an RSA key of 16,384 bits takes 2,800
inline constexpr std::size_t kMaxSshComment = 64;
inline constexpr std::size_t kMinRsaBits = 3072;
inline constexpr std::size_t kMaxRsaBits = 16'384;  // OpenSSH's own limit

/// One key: what parse_ssh_key() has found sound.
struct SshKey {
  std::string type;     // "ssh-ed25519"
  Bytes blob;           // RFC 4253 §6.6
  std::string comment;  // [A-Za-z0-9@._-]{0,64}
  bool operator==(const SshKey&) const = default;
};

enum class SshKeyError : std::uint8_t {
  Empty,         // no key at all
  TooLong,       // beyond kMaxSshKeyText
  SeveralLines,  // more than one line, or a control character
  UnknownType,   // options in front, a certificate, a private key, dsa
  NotBase64,     // the second field
  WrongInside,   // the bytes are not a key of that type
  TooWeak,       // RSA below kMinRsaBits
  BadComment,    // characters or length that we do not put into the file
};
std::string_view to_string(SshKeyError error);

/// `type base64 [comment]`, exactly one, with at most one newline behind it.
std::expected<SshKey, SshKeyError> parse_ssh_key(std::string_view text);
/// The same without a newline; parse_ssh_key() reads it back.
std::string format_ssh_key(const SshKey& key);
/// `SHA256:…` as ssh-keygen -l prints it.
std::string ssh_fingerprint(const SshKey& key);

}  // namespace dh::session
