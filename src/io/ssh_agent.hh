#pragma once

#include <expected>
#include <string>
#include <vector>

#include "session/ssh_key.hh"

namespace dh::io {

/// Public keys that an ssh-agent holds, those that can be used only, ed25519 before ecdsa before rsa. Waits
/// at most two seconds; what the agent says is bounded and checked like a peer's key. `socket`: what
/// SSH_AUTH_SOCK says. Errors: a clause (nobody listens there, nonsense came).
std::expected<std::vector<session::SshKey>, std::string> ssh_agent_keys(const std::string& socket);

}  // namespace dh::io
