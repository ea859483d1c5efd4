#pragma once

// What we write into ~/.ssh/authorized_keys and how we find it again. Pure: texts in, texts out; the file is
// io/authorized_keys_file. Spec: docs/protocol/ssh-invite.md "The line".

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.hh"
#include "base/time.hh"
#include "session/ssh_key.hh"

namespace dh::session {

inline constexpr std::size_t kMaxAuthorizedKeys = 1u << 20;  // bytes of the whole file

/// One access as we grant it.
struct SshGrant {
  ByteArray<8> id{};      // random; `ssh revoke` takes it in hex
  UnixSeconds expires{};  // sshd refuses the key from then on
  bool terminal = true;   // may have one; else commands and copies only
  SshKey key;
};

/// `restrict,pty,expiry-time="YYYYMMDDHHMMZ" TYPE KEY derphole-invite:ID[:COMMENT]`, without a newline: a
/// shell, no forwarding of any kind. Without a terminal there is no `pty`.
std::string authorized_key_line(const SshGrant& grant);

enum class AddKeyError : std::uint8_t {
  AlreadyThere,  // the file has that very key, by whomever
  FileTooLong,   // it would exceed kMaxAuthorizedKeys
};
/// The file's text with the line at its end, and a newline before it where one was missing.
std::expected<std::string, AddKeyError> add_authorized_key(std::string_view file, const SshGrant& grant);

/// A line of ours in a file.
struct GrantedLine {
  std::string id;       // hex
  std::string type;     // of the key
  std::string comment;  // of the key
  std::string expires;  // as sshd reads it
  bool operator==(const GrantedLine&) const = default;
};
std::vector<GrantedLine> granted_lines(std::string_view file);

struct RevokedKeys {
  std::string file;         // what remains, byte for byte
  std::size_t removed = 0;  // lines
};
/// Takes out our lines with this id (hex), or all of ours for `all`; never a line that is not ours.
RevokedKeys revoke_authorized_keys(std::string_view file, std::string_view id);

}  // namespace dh::session
