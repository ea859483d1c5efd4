#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include "commands.hh"
#include "crypto/aead.hh"
#include "io/clock.hh"
#include "io/file_pump.hh"
#include "io/relay_choice.hh"
#include "io/self_relay.hh"
#include "session_command.hh"

namespace dh::app {
namespace {

constexpr auto kTokenLife = std::chrono::hours(1);

struct ChosenRelays {
  std::vector<session::RelayRef> relays;
  std::unique_ptr<io::SelfRelay> own;  // hosted in this process: always the last entry of `relays`
};

ChosenRelays choose(SessionCommand& command, const CommonOptions& common) {
  ChosenRelays out;
  if (common.relay != "self") {
    io::RelayChoiceOptions options;
    options.derp_servers = common.derp_servers;
    options.derp_map = common.derp_map;
    options.dial = command.dial_options();
    options.wall_now = io::wall_now();
    auto choice = command.run(io::choose_relays(std::move(options)));
    if (choice) {
      if (!choice->note.empty()) command.reporter().line(choice->note);
      out.relays = std::move(choice->relays);
      return out;
    }
    switch (choice.error().failure) {
      case io::RelayChoiceFailure::Usage:
        throw CommandError(Exit::Usage, choice.error().message);
      case io::RelayChoiceFailure::MapUnusable:
      case io::RelayChoiceFailure::Rejected:
        throw CommandError(Exit::Failure, choice.error().message);
      case io::RelayChoiceFailure::Unreachable:
        // Who named a relay wants that one: hosting another would send them looking on the wrong machine.
        if (!common.derp_servers.empty() || !common.derp_map.empty())
          throw CommandError(Exit::Failure, choice.error().message +
                                                ". Check --derp-server and --derp-map, or host a relay in "
                                                "this process with --relay self.");
        break;
    }
    command.reporter().detail("relay-choice", choice.error().message);
    command.reporter().event("self-relay", {{"reason", Reporter::text(choice.error().message)}});
    command.reporter().line(
        "No relay can be reached, so this process hosts one: it works for machines on this network.");
  }
  out.own = std::make_unique<io::SelfRelay>(command.context().get_executor(), command.rng());
  out.relays.push_back(out.own->ref());
  return out;
}

}  // namespace

Exit run_listen(const ListenOptions& options) {
  SessionCommand command(options.common, session::Direction::Receive);
  Reporter& reporter = command.reporter();
  ChosenRelays chosen = choose(command, options.common);

  io::SessionDriverOptions driver;
  driver.dial = command.dial_options();
  driver.make_sink = io::file_sink(STDOUT_FILENO);
  session::SessionConfig& session = driver.session;
  session.role = session::Role::Listener;
  session.direction = session::Direction::Receive;
  session.derp_key = KeyPair::generate(command.rng());
  session.noise_key = KeyPair::generate(command.rng());
  session.capability = session::Capability::Pipe;
  session::Token& token = session.token;
  command.rng().fill(token.session_id);
  command.rng().fill(token.psk.expose_mutable());
  token.expires = io::wall_now() + kTokenLife;
  token.capabilities = static_cast<std::uint32_t>(session::Capability::Pipe);
  token.relays = chosen.relays;
  token.listener_derp = session.derp_key.pub;
  token.listener_noise = session.noise_key->pub;
  if (chosen.own) {
    driver.own_relay = token.relays.size() - 1;
    driver.own_relay_endpoint = chosen.own->loopback();
  }

  const std::string text = session::format_token(token);
  const std::string until = fmt::format("{:%H:%M}", fmt::localtime(token.expires.time_since_epoch().count()));
  if (options.print_token_only) {
    const std::string line = text + "\n";
    if (::write(STDOUT_FILENO, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
      throw CommandError(Exit::LocalFile, "cannot write the token to the output");
  }
  reporter.event(
      "token",
      {{"token", Reporter::text(text)},
       {"command", Reporter::text("derphole pipe " + text)},
       {"expires", Reporter::number(static_cast<std::uint64_t>(token.expires.time_since_epoch().count()))}});
  if (!options.print_token_only) {
    reporter.line("On the other machine, run:\n");
    reporter.essential("derphole pipe " + text);
    reporter.line(fmt::format(
        "\nWaiting. The token is good for one use within 1 hour (until {}). Ctrl-C cancels.", until));
  }
  reporter.state("waiting-for-claim");
  return command.run_session(std::move(driver));
}

}  // namespace dh::app
