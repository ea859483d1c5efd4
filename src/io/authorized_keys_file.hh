#pragma once

// ~/.ssh/authorized_keys, changed as carefully as a file that opens the machine deserves.
// Spec: docs/protocol/ssh-invite.md "The file".

#include <expected>
#include <string>
#include <vector>

#include <sys/types.h>

#include "session/authorized_keys.hh"

namespace dh::io {

enum class KeyFileError : std::uint8_t {
  AlreadyThere,  // the key is in the file
  Unsafe,        // folder or file is a link, not ours, or others may write to it
  Failed,        // the system said no
};
struct KeyFileProblem {
  KeyFileError error = KeyFileError::Failed;
  std::string message;  // a sentence
};

/// Works on one `.ssh` folder. Every change is made under a lock, in a new file that takes the old one's
/// place when it is on the disk; links are never followed, and a folder or file that others could write to is
/// refused as sshd would.
class AuthorizedKeysFile {
public:
  /// `home`: the user's home directory; `.ssh` in it is made (0700) when a key is added.
  explicit AuthorizedKeysFile(std::string home);
  /// Of another user: what is made becomes theirs. Only root can.
  AuthorizedKeysFile(std::string home, uid_t user, gid_t group)
      : home_(std::move(home)), user_(user), group_(group) {}

  std::expected<void, KeyFileProblem> add(const session::SshGrant& grant);
  /// Lines removed; `id` as in session::revoke_authorized_keys.
  std::expected<std::size_t, KeyFileProblem> revoke(const std::string& id);
  std::expected<std::vector<session::GrantedLine>, KeyFileProblem> list();

private:
  std::string home_;
  uid_t user_;
  gid_t group_;
};

/// A user as the user database knows them: the environment may say anything.
struct SystemUser {
  std::string name, home;
  uid_t user = 0;
  gid_t group = 0;
};
/// `name` empty: whom this process runs as.
std::expected<SystemUser, KeyFileProblem> system_user(const std::string& name);

}  // namespace dh::io
