#pragma once

#include <expected>
#include <string>
#include <vector>

#include "base/time.hh"
#include "session/ssh_key.hh"

namespace dh::io {

/// How long an agent may take for its whole answer.
inline constexpr Duration kAgentPatience = 2s;

/// Public keys that an ssh-agent holds, those that can be used only, ed25519 before ecdsa before rsa. Blocks
/// no longer than `patience`, however the agent spreads its answer; what it says is bounded and checked like
/// a peer's key. `socket`: what SSH_AUTH_SOCK says. Errors: a clause (nobody listens there, nonsense came).
std::expected<std::vector<session::SshKey>, std::string> ssh_agent_keys(const std::string& socket,
                                                                        Duration patience = kAgentPatience);

}  // namespace dh::io
