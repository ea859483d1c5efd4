#include "one_shot.hh"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "congestion.hh"
#include "crypto/aead.hh"
#include "io/clock.hh"
#include "io/relay_choice.hh"

namespace dh::app {
namespace {

constexpr auto kTokenLife = std::chrono::hours(1);

// The command that takes such a token.
std::string_view user_of(session::Capability capability) {
  switch (capability) {
    case session::Capability::Pipe:
      return "pipe";
    case session::Capability::Transfer:
      return "receive";
    case session::Capability::Share:
      return "open";
    case session::Capability::SshInvite:
      return "ssh accept";
  }
  return "pipe";
}

}  // namespace

ChosenRelays choose_relays(SessionCommand& command, const CommonOptions& common) {
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

void prepare_listener(SessionCommand& command, const ChosenRelays& chosen, session::Capability capability,
                      io::SessionDriverOptions& driver) {
  driver.dial = command.dial_options();
  session::SessionConfig& session = driver.session;
  session.role = session::Role::Listener;
  session.derp_key = KeyPair::generate(command.rng());
  session.noise_key = KeyPair::generate(command.rng());
  session.capability = capability;
  session::Token& token = session.token;
  command.rng().fill(token.session_id);
  command.rng().fill(token.psk.expose_mutable());
  token.expires = io::wall_now() + kTokenLife;
  token.capabilities = static_cast<std::uint32_t>(capability);
  token.relays = chosen.relays;
  token.listener_derp = session.derp_key.pub;
  token.listener_noise = session.noise_key->pub;
  if (chosen.own) {
    driver.own_relay = token.relays.size() - 1;
    driver.own_relay_endpoint = chosen.own->loopback();
  }
}

std::string local_time(UnixSeconds when) {
  return fmt::format("{:%H:%M}", fmt::localtime(when.time_since_epoch().count()));
}

session::Token parse_one_shot(const std::string& text, session::Capability wanted) {
  const std::string_view maker = to_string(wanted);
  const std::string_view user = user_of(wanted);
  auto token = session::parse_token(text);
  if (token) {
    if (!token->allows(wanted))
      throw CommandError(
          Exit::BadToken,
          fmt::format("this token is not for `derphole {}`; it was made by another command", user));
    return std::move(*token);
  }
  switch (token.error()) {
    case session::TokenError::WrongKind: {
      const bool server = session::token_kind(text) == session::TokenKind::TunnelServer;
      throw CommandError(
          Exit::BadToken,
          fmt::format("this is a derptun {} token; `derphole {}` needs the one that `derphole {}` printed",
                      server ? "server" : "client", user, maker));
    }
    case session::TokenError::NotAToken:
      throw CommandError(
          Exit::BadToken,
          fmt::format("this is not a token: one that `derphole {}` printed starts with dh1", maker));
    case session::TokenError::Truncated:
      throw CommandError(Exit::BadToken, "the token is cut off. Copy it again, whole.");
    case session::TokenError::Mistyped:
      throw CommandError(Exit::BadToken,
                         "the token is damaged (a character is wrong or missing). Copy it again, whole.");
    case session::TokenError::UnsupportedVersion:
      throw CommandError(Exit::BadToken, "the token was made by a newer derphole. Update this one.");
    case session::TokenError::Invalid:
      break;
  }
  throw CommandError(Exit::BadToken,
                     "the token makes no sense, though its checksum is right. Ask for a new one.");
}

void prepare_dialer(SessionCommand& command, const CommonOptions& common, session::Token token,
                    session::Capability capability, io::SessionDriverOptions& driver) {
  driver.dial = command.dial_options();
  session::SessionConfig& session = driver.session;
  session.role = session::Role::Dialer;
  session.token = std::move(token);
  session.capability = capability;
  session.derp_key = KeyPair::generate(command.rng());
  session.wait = common.wait;
  session.aead = cpu_has_aes() ? AeadKind::Aes256Gcm : AeadKind::ChaCha20Poly1305;
}

void prepare_sender(const CommonOptions& common, session::SessionConfig& session) {
  session.direction = session::Direction::Send;
  session.controller = common.polite ? bulk::Controller::Ledbat : common.controller;
  session.bbr = bbr_from_environment();
  session.rate_limit = common.rate_limit;
  if (common.lanes != 0) session.lanes = session.most_lanes = common.lanes;
}

}  // namespace dh::app
