#include <fmt/format.h>
#include <unistd.h>

#include "commands.hh"
#include "crypto/aead.hh"
#include "io/clock.hh"
#include "io/file_pump.hh"
#include "session_command.hh"

namespace dh::app {
namespace {

[[noreturn]] void refuse(session::TokenError error, const std::string& text) {
  switch (error) {
    case session::TokenError::WrongKind: {
      const auto kind = session::token_kind(text);
      const bool server = kind == session::TokenKind::TunnelServer;
      throw CommandError(
          Exit::BadToken,
          fmt::format(
              "this is a derptun {} token; `derphole pipe` needs the one that `derphole listen` printed",
              server ? "server" : "client"));
    }
    case session::TokenError::NotAToken:
      throw CommandError(Exit::BadToken,
                         "this is not a token: one that `derphole listen` printed starts with dh1");
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

}  // namespace

Exit run_pipe(const PipeOptions& options, int argc, char** argv) {
  const std::string text = read_token_text(options.token, true);
  if (!options.token.argument.empty()) wipe_from_arguments(argc, argv, options.token.argument);
  auto token = session::parse_token(text);
  if (!token) refuse(token.error(), text);
  if (!token->allows(session::Capability::Pipe)) {
    throw CommandError(Exit::BadToken,
                       "this token is not for `derphole pipe`; it was made by another command");
  }

  SessionCommand command(options.common, session::Direction::Send);
  io::SessionDriverOptions driver;
  driver.dial = command.dial_options();
  driver.make_source = io::file_source(STDIN_FILENO);
  session::SessionConfig& session = driver.session;
  session.role = session::Role::Dialer;
  session.direction = session::Direction::Send;
  session.controller = options.common.polite ? bulk::Controller::Ledbat : options.common.controller;
  session.rate_limit = options.common.rate_limit;
  session.token = std::move(*token);
  session.capability = session::Capability::Pipe;
  session.derp_key = KeyPair::generate(command.rng());
  session.wait = options.common.wait;
  session.aead = cpu_has_aes() ? AeadKind::Aes256Gcm : AeadKind::ChaCha20Poly1305;
  return command.run_session(std::move(driver));
}

}  // namespace dh::app
