#include <algorithm>
#include <csignal>
#include <cstdio>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "aead_choice.hh"
#include "commands.hh"
#include "crypto/keys.hh"

namespace dh::app {
namespace {

constexpr std::string_view kFooter =
    "Exit status: 0 done, 1 failed, 2 usage, 3 refused, 4 nobody there, 5 token wrong, used or expired,\n"
    "6 damaged in transit, 7 local file, 8 network lost, 130 interrupted.";

// Keys and tokens stay out of core files and out of other processes' reach.
void protect_memory() {
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0);
}

// A relay with its clients and a share with its connections need more than the usual 1,024.
void allow_descriptors() {
  constexpr rlim_t kEnough = 65'536;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = std::min(limit.rlim_max, kEnough);
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = wanted;
  setrlimit(RLIMIT_NOFILE, &limit);
}

CLI::App* add_send(CLI::App& app, SendOptions& send) {
  CLI::App* command = app.add_subcommand("send", "Send files, directories or a text to one `receive`");
  command->alias("tx");
  command->add_option("what", send.what, "Files and directories; or a text; or - for a text from stdin")
      ->type_name("PATH...|TEXT|-")
      ->required();
  command->add_flag("--token", send.token, "Print a long one-time token instead of words")
      ->envname("DERPHOLE_TOKEN");
  command->add_option("--words", send.words, "Words of the code: 4 to 12; the first two only lead to you")
      ->check(CLI::Range(4, 12))
      ->type_name("N")
      ->envname("DERPHOLE_WORDS");
  command->add_flag("--qr", send.qr, "Show the code or token as a QR code, too")->envname("DERPHOLE_QR");
  command->add_flag("--text", send.text, "It is a text, whatever it looks like")->envname("DERPHOLE_TEXT");
  command->add_option("--exclude", send.excludes, "Leave out what matches; may be repeated")
      ->type_name("GLOB")
      ->allow_extra_args(false)
      ->envname("DERPHOLE_EXCLUDE");
  command->add_flag("--follow", send.follow, "Send what symlinks point to")->envname("DERPHOLE_FOLLOW");
  command->add_flag("--verify", send.verify, "SHA-256 of every file, and a string to compare on both sides")
      ->envname("DERPHOLE_VERIFY");
  add_network_options(*command, send.common);
  add_sending_options(*command, send.common);
  return command;
}

CLI::App* add_receive(CLI::App& app, ReceiveOptions& receive) {
  CLI::App* command = app.add_subcommand("receive", "Receive what one `send` offers");
  command->alias("rx");
  command->alias("recv");
  add_token_options(*command, receive.token);
  command->get_option("token")->description("The code or token that `derphole send` printed");
  command
      ->add_option("-o,--output", receive.output,
                   "Directory to receive into, or the new name of the one thing that comes")
      ->type_name("PATH")
      ->envname("DERPHOLE_OUTPUT");
  command->add_flag("--ask", receive.ask, "Show the list and ask first")->envname("DERPHOLE_ASK");
  command->add_flag("--overwrite", receive.overwrite, "Replace files that exist, merge directories")
      ->envname("DERPHOLE_OVERWRITE");
  command->add_flag("--rename", receive.rename, "Take another name when one exists: `name (1)`")
      ->envname("DERPHOLE_RENAME");
  command->add_flag("--skip", receive.skip, "Leave files that exist as they are, merge directories")
      ->envname("DERPHOLE_SKIP");
  command->add_flag("--raw", receive.raw, "Text as it is, also on a terminal")->envname("DERPHOLE_RAW");
  command->add_flag("--allow-hidden", receive.allow_hidden, "Take names at the top that begin with a dot")
      ->envname("DERPHOLE_ALLOW_HIDDEN");
  add_network_options(*command, receive.common);
  add_wait_option(*command, receive.common);
  return command;
}

struct SshOptions {
  SshInviteOptions invite;
  SshAcceptOptions accept;
  SshRevokeOptions revoke;
  std::string list_user;
};
struct SshCommands {
  CLI::App *invite, *accept, *revoke, *list;
};

SshCommands add_ssh(CLI::App& app, SshOptions& ssh) {
  CLI::App* command = app.add_subcommand("ssh", "Let somebody log in by ssh, without typing keys");
  command->require_subcommand(1);
  CLI::App* invite =
      command->add_subcommand("invite", "Print a token; let in the key of who uses it, after asking");
  invite
      ->add_option("--user", ssh.invite.user,
                   "Log in as this user (only root can let somebody in as another)")
      ->envname("DERPHOLE_USER");
  invite
      ->add_flag("--restrict", ssh.invite.restrict,
                 "No terminal either: commands and copies only (forwarding is never allowed)")
      ->envname("DERPHOLE_RESTRICT");
  invite->add_option("--port", ssh.invite.port, "Where sshd listens (22)")
      ->check(CLI::Range(1, 65535))
      ->envname("DERPHOLE_PORT");
  invite
      ->add_option_function<std::string>(
          "--expires", [&ssh](const std::string& text) { ssh.invite.life = parse_duration(text); },
          "How long the key may log in: 8h, 30d (default 30 days)")
      ->type_name("DURATION")
      ->envname("DERPHOLE_EXPIRES");
  invite->add_flag("-y,--yes", ssh.invite.yes, "Do not ask")->envname("DERPHOLE_YES");
  add_network_options(*invite, ssh.invite.common);
  CLI::App* accept = command->add_subcommand("accept", "Show your public key to an `ssh invite`");
  add_token_options(*accept, ssh.accept.token);
  accept->get_option("token")->description("The token that `derphole ssh invite` printed");
  accept
      ->add_option("--key-file", ssh.accept.key_file,
                   "Your public key; else the agent's, or ~/.ssh/id_{ed25519,ecdsa,rsa}.pub")
      ->envname("DERPHOLE_KEY_FILE");
  accept->add_flag("-y,--yes", ssh.accept.yes, "Do not ask")->envname("DERPHOLE_YES");
  add_network_options(*accept, ssh.accept.common);
  add_wait_option(*accept, ssh.accept.common);
  CLI::App* revoke = command->add_subcommand("revoke", "Take back what `ssh invite` granted");
  revoke->add_option("name", ssh.revoke.name, "The key's name or number in `ssh list`; or all")->required();
  const char* whose = "Look at this user's keys (root only)";
  revoke->add_option("--user", ssh.revoke.user, whose)->envname("DERPHOLE_USER");
  add_output_options(*revoke, ssh.revoke.common);
  CLI::App* list = command->add_subcommand("list", "Keys that `ssh invite` let in");
  list->add_option("--user", ssh.list_user, whose)->envname("DERPHOLE_USER");
  return {invite, accept, revoke, list};
}

Exit run(int argc, char** argv) {
  CLI::App app{"Moves bytes between two machines that can both only dial out."};
  app.name("derphole");
  app.require_subcommand(0, 1);
  app.footer(std::string(kFooter));
  app.set_version_flag("--version", std::string("derphole ") + DERPHOLE_VERSION);

  ListenOptions listen;
  CLI::App* listen_command =
      app.add_subcommand("listen", "Print a token, then write what one `pipe` sends to stdout");
  listen_command
      ->add_flag("--print-token-only", listen.print_token_only, "The token goes to stdout, alone on its line")
      ->envname("DERPHOLE_PRINT_TOKEN_ONLY");
  add_network_options(*listen_command, listen.common);

  PipeOptions pipe;
  CLI::App* pipe_command = app.add_subcommand("pipe", "Send stdin to the `listen` that printed the token");
  add_token_options(*pipe_command, pipe.token);
  add_network_options(*pipe_command, pipe.common);
  add_wait_option(*pipe_command, pipe.common);
  add_sending_options(*pipe_command, pipe.common);

  SendOptions send;
  CLI::App* send_command = add_send(app, send);
  ReceiveOptions receive;
  CLI::App* receive_command = add_receive(app, receive);

  SshOptions ssh;
  const SshCommands ssh_commands = add_ssh(app, ssh);

  ShareOptions share;
  CLI::App* share_command =
      app.add_subcommand("share", "Offer a TCP service of this machine to whoever has the token");
  share_command
      ->add_option("target", share.target, "What to share: HOST:PORT, :PORT of this machine, or unix:PATH")
      ->type_name("HOST:PORT")
      ->required();
  share_command->add_option("--max-clients", share.max_clients, "Openers at once (default 16)")
      ->check(CLI::Range(1, 1024))
      ->envname("DERPHOLE_MAX_CLIENTS");
  share_command
      ->add_flag("--allow-link-local", share.allow_link_local,
                 "Also share link-local addresses; cloud machines tell secrets there")
      ->envname("DERPHOLE_ALLOW_LINK_LOCAL");
  share_command
      ->add_flag("--print-token-only", share.print_token_only, "The token goes to stdout, alone on its line")
      ->envname("DERPHOLE_PRINT_TOKEN_ONLY");
  add_network_options(*share_command, share.common);

  OpenOptions open;
  CLI::App* open_command = app.add_subcommand("open", "Make what `share` offers reachable on this machine");
  add_token_options(*open_command, open.token);
  open_command->add_option("bind", open.bind, "Where to listen: HOST:PORT or unix:PATH (default 127.0.0.1:0)")
      ->type_name("BIND");
  add_network_options(*open_command, open.common);
  add_wait_option(*open_command, open.common);

  RelayOptions relay;
  CLI::App* relay_command = app.add_subcommand("relay", "Run a DERP relay of your own");
  add_output_options(*relay_command, relay.common);
  relay_command
      ->add_option("--listen", relay.listen,
                   "Where to listen (default: port 8443 on every address); may be repeated")
      ->type_name("ADDR:PORT")
      ->envname("DERPHOLE_LISTEN");
  relay_command
      ->add_option("--stun", relay.stun,
                   "STUN on UDP: auto (port 3478), off, or ADDR:PORT (two for RFC 5780)")
      ->type_name("ADDR:PORT")
      ->envname("DERPHOLE_STUN");
  relay_command->add_option("--cert", relay.cert, "Certificate chain (PEM); self-signed without")
      ->envname("DERPHOLE_CERT");
  relay_command->add_option("--key", relay.key, "Its private key (PEM)")->envname("DERPHOLE_KEY");
  relay_command->add_option("--hostname", relay.hostname, "Name or address others reach this relay at")
      ->envname("DERPHOLE_HOSTNAME");
  relay_command->add_option("--metrics", relay.metrics, "Serve Prometheus metrics here")
      ->type_name("ADDR:PORT")
      ->envname("DERPHOLE_METRICS");
  relay_command
      ->add_option("--client-rate", relay.client_rate, "Bytes per second each client may send (0: no limit)")
      ->envname("DERPHOLE_CLIENT_RATE");
  relay_command->add_flag("--plain-http", relay.plain_http, "No TLS; only on loopback addresses")
      ->envname("DERPHOLE_PLAIN_HTTP");

  NetcheckOptions netcheck;
  CLI::App* netcheck_command = app.add_subcommand(
      "netcheck", "Say what this network lets through: UDP, NAT, relays, and what could be better");
  add_output_options(*netcheck_command, netcheck.common);
  netcheck_command->get_option("--json")->description("The report as one JSON object");
  add_relay_source_options(*netcheck_command, netcheck.common);

  VersionOptions version;
  CLI::App* version_command = app.add_subcommand("version", "Print the version");
  version_command->add_flag("--json", version.json, "As a JSON object");
  version_command->add_flag("-v,--verbose", version.verbose, "Also the libraries and whose ciphers are used");

  std::string help_topic;
  CLI::App* help_command = app.add_subcommand("help", "Explain a command");
  help_command->add_option("command", help_topic, "Which");

  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& request) {  // --help, --version
    return static_cast<Exit>(app.exit(request));
  } catch (const CLI::ParseError& error) {
    throw CommandError(Exit::Usage, fmt::format("{} (`derphole help` explains)", error.what()));
  }
  choose_aead_backend();
  if (*listen_command) return run_listen(listen);
  if (*pipe_command) return run_pipe(pipe, argc, argv);
  if (*send_command) return run_send(send);
  if (*receive_command) return run_receive(receive, argc, argv);
  if (*ssh_commands.invite) return run_ssh_invite(ssh.invite);
  if (*ssh_commands.accept) return run_ssh_accept(ssh.accept, argc, argv);
  if (*ssh_commands.revoke) return run_ssh_revoke(ssh.revoke);
  if (*ssh_commands.list) return run_ssh_list(ssh.list_user);
  if (*share_command) return run_share(share);
  if (*open_command) return run_open(open, argc, argv);
  if (*relay_command) return run_relay(relay);
  if (*netcheck_command) return run_netcheck(netcheck);
  if (*version_command) return run_version(version);
  const CLI::App* topic = &app;
  if (*help_command && !help_topic.empty()) {
    const auto found =
        app.get_subcommands([&](const CLI::App* sub) { return sub->get_name() == help_topic; });
    if (found.empty()) throw CommandError(Exit::Usage, fmt::format("there is no command `{}`", help_topic));
    topic = found.front();
  }
  std::fputs(topic->help().c_str(), *help_command ? stdout : stderr);
  return *help_command ? Exit::Ok : Exit::Usage;
}

}  // namespace
}  // namespace dh::app

int main(int argc, char** argv) {
  using dh::app::Exit;
  dh::app::protect_memory();
  dh::app::allow_descriptors();
  dh::crypto_init();
  bool json = false;
  for (int i = 1; i < argc; ++i) json = json || std::string_view(argv[i]) == "--json";
  dh::app::ReporterOptions reporting;
  reporting.json = json;
  try {
    return static_cast<int>(dh::app::run(argc, argv));
  } catch (const dh::app::CommandError& error) {
    dh::app::Reporter(reporting).error(error.what(), static_cast<int>(error.status()));
    return static_cast<int>(error.status());
  } catch (const std::exception& error) {
    dh::app::Reporter(reporting).error(error.what(), static_cast<int>(Exit::Failure));
    return static_cast<int>(Exit::Failure);
  }
}
