#pragma once

// What this machine tells a client it lets in: user, names, port and host keys of its sshd.

#include <expected>
#include <optional>
#include <string>

#include "session/ssh_exchange.hh"

namespace dh::io {

struct SshHostOptions {
  std::string user;                     // empty: whoever runs this process
  std::uint16_t port = 22;              // sshd's
  std::string key_folder = "/etc/ssh";  // of ssh_host_*_key.pub
};

/// Everything but the grant's id and expiry. Errors: a sentence (no such user, no host key to be found).
std::expected<session::SshAccess, std::string> describe_ssh_host(const SshHostOptions& options);

/// The client's own public key: `path`, or the first of ~/.ssh/id_{ed25519,ecdsa,rsa}.pub. The comment is
/// dropped where it has characters that nobody should put into the other side's file.
/// Errors: a sentence.
std::expected<session::SshKey, std::string> read_own_ssh_key(const std::string& path,
                                                             const std::string& home);

}  // namespace dh::io
