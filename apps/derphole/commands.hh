#pragma once

#include "exit_status.hh"
#include "options.hh"

namespace dh::app {

struct ListenOptions {
  CommonOptions common;
  bool print_token_only = false;
};
struct PipeOptions {
  CommonOptions common;
  TokenSource token;
};
struct SendOptions {
  CommonOptions common;
  std::vector<std::string> what;  // paths, or words of a text, or "-"
  std::vector<std::string> excludes;
  bool text = false, follow = false, verify = false;
  bool token = false;  // a long one-time token instead of words
  bool qr = false;
  std::size_t words = 4;
};
struct ReceiveOptions {
  CommonOptions common;
  TokenSource token;
  std::string output;  // empty: the current directory
  bool ask = false, overwrite = false, rename = false, skip = false, raw = false, allow_hidden = false;
};
struct SshInviteOptions {
  CommonOptions common;
  std::string user;          // empty: whoever runs this
  bool restrict = false;     // no terminal either
  std::uint16_t port = 22;   // sshd's
  Duration life = 24h * 30;  // of the access
  bool yes = false;
};
struct SshAcceptOptions {
  CommonOptions common;
  TokenSource token;
  std::string key_file;  // empty: the agent's first, or of ~/.ssh/id_{ed25519,ecdsa,rsa}.pub
  bool yes = false;
};
struct SshRevokeOptions {
  CommonOptions common;
  std::string name;  // the key's comment or our number; "all"
  std::string user;  // empty: whoever runs this
};
struct ShareOptions {
  CommonOptions common;
  std::string target;
  std::size_t max_clients = 16;
  bool allow_link_local = false, print_token_only = false;
};
struct OpenOptions {
  CommonOptions common;
  TokenSource token;
  std::string bind = "127.0.0.1:0";
};
struct RelayOptions {
  CommonOptions common;
  std::vector<std::string> listen;  // empty: port 8443 of every address
  std::string stun = "auto";
  std::string cert, key;
  std::string metrics;
  std::string hostname;
  std::uint64_t client_rate = 0;
  bool plain_http = false;
};

struct NetcheckOptions {
  CommonOptions common;
};

struct VersionOptions {
  bool json = false;
  bool verbose = false;
};

/// Each runs its command to the end. Errors: CommandError, one sentence and the exit status.
Exit run_listen(const ListenOptions& options);
Exit run_pipe(const PipeOptions& options, int argc, char** argv);
Exit run_send(const SendOptions& options);
Exit run_receive(const ReceiveOptions& options, int argc, char** argv);
Exit run_ssh_invite(const SshInviteOptions& options);
Exit run_ssh_accept(const SshAcceptOptions& options, int argc, char** argv);
Exit run_ssh_revoke(const SshRevokeOptions& options);
Exit run_ssh_list(const std::string& user);
Exit run_share(const ShareOptions& options);
Exit run_open(const OpenOptions& options, int argc, char** argv);
Exit run_relay(const RelayOptions& options);
Exit run_netcheck(const NetcheckOptions& options);
Exit run_version(const VersionOptions& options);

}  // namespace dh::app
