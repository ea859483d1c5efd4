#include "code_entry.hh"

#include <cerrno>
#include <termios.h>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/printable.hh"
#include "io/clock.hh"
#include "qr.hh"
#include "session/code_prompt.hh"
#include "session/server_url.hh"

namespace dh::app {
namespace {

// Single keys without echo, and the terminal as it was afterwards.
class RawTerminal {
public:
  RawTerminal() {
    if (tcgetattr(STDIN_FILENO, &before_) != 0)
      throw CommandError(Exit::Usage, "cannot ask at this terminal");
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
  }
  ~RawTerminal() { tcsetattr(STDIN_FILENO, TCSADRAIN, &before_); }
  RawTerminal(const RawTerminal&) = delete;

private:
  termios before_{};
};

void show(std::string_view text) {
  while (!text.empty()) {
    const ssize_t size = ::write(STDERR_FILENO, text.data(), text.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(size));
  }
}

Exit exit_for(io::CodeErrorKind kind) {
  switch (kind) {
    case io::CodeErrorKind::Nobody:
    case io::CodeErrorKind::NoRelay:
      return Exit::PeerAbsent;
    case io::CodeErrorKind::WrongCode:
      return Exit::BadToken;
    case io::CodeErrorKind::Unusable:
      break;
  }
  return Exit::Failure;
}

EndWords words_for_code(session::CodeEnd end) {
  switch (end) {
    case session::CodeEnd::Expired:
      return {Exit::PeerAbsent,
              "nobody used the code while it was valid. Run the command again for a new one."};
    case session::CodeEnd::Burnt:
      return {Exit::BadToken,
              "three wrong tries: the code is dead, and nothing was sent. Somebody mistyped it, or guesses. "
              "Run the "
              "command again for a new one."};
    case session::CodeEnd::TakenOver:
      return {Exit::BadToken,
              "somebody else poses as the owner of this code, so it is dead, and nothing was sent. Run the "
              "command "
              "again, perhaps with --token."};
    case session::CodeEnd::WordsInUse:
      return {Exit::Failure,
              "the relay does not say which codes are free. Run the command again, perhaps with --token."};
    case session::CodeEnd::Used:
      break;
  }
  return {Exit::Failure, "the code ended"};
}

}  // namespace

HostedCode::HostedCode(SessionCommand& command, io::CodeHostOptions options, bool qr)
    : command_(command),
      qr_(qr),
      host_(command.context().get_executor(), std::move(options), command.rng(), *this) {}

void HostedCode::on_code(const session::Code& code, Duration valid_for) {
  Reporter& reporter = command_.reporter();
  const std::string text = session::format_code(code);
  const std::string line = "derphole receive " + text;
  const UnixSeconds until = io::wall_now() + std::chrono::duration_cast<std::chrono::seconds>(valid_for);
  shown_ = true;
  reporter.event(
      "code", {{"code", Reporter::text(text)},
               {"command", Reporter::text(line)},
               {"expires", Reporter::number(static_cast<std::uint64_t>(until.time_since_epoch().count()))}});
  reporter.line("On the other machine, run:\n");
  reporter.essential(line);
  if (qr_) reporter.line("\n" + qr_text(text));
  reporter.line(fmt::format(
      "\nWaiting. The code is good for one use within {} minutes (until {:%H:%M}). Ctrl-C cancels.",
      std::chrono::round<std::chrono::minutes>(valid_for).count(),
      fmt::localtime(until.time_since_epoch().count())));
  reporter.state("waiting-for-claim");
}

void HostedCode::on_code_wrong_try(unsigned number, unsigned of) {
  command_.reporter().event("wrong-code", {{"number", Reporter::number(std::uint64_t{number})},
                                           {"of", Reporter::number(std::uint64_t{of})}});
  command_.reporter().line(fmt::format(
      "Somebody tried a wrong code (try {} of {}). If it was not a slip of the other side, press Ctrl-C.",
      number, of));
}

void HostedCode::on_code_used() {
  command_.reporter().detail("code", "used");
}

void HostedCode::on_code_trouble(const std::string& why) {
  command_.reporter().event("code-trouble", {{"message", Reporter::text(why)}});
  if (shown_) {
    command_.reporter().detail("code-trouble", why);
  } else {
    command_.reporter().line(fmt::format("The relay for the code cannot be reached yet: {}", printable(why)));
  }
}

void HostedCode::on_code_ended(session::CodeEnd end) {
  if (end == session::CodeEnd::Used) return;
  end_words_ = words_for_code(end);
  command_.cancel(std::string(session::to_string(end)));
}

std::string ask_for_code() {
  session::CodePrompt prompt("Code (Tab completes a word): ");
  const RawTerminal raw;
  show(prompt.label());
  while (prompt.state() == session::CodePrompt::State::Typing) {
    char key = 0;
    const ssize_t size = ::read(STDIN_FILENO, &key, 1);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) key = '\x04';
    if (size <= 0 && !prompt.text().empty()) break;
    show(prompt.on_key(key));
  }
  if (prompt.state() == session::CodePrompt::State::Cancelled)
    throw CommandError(Exit::Interrupted, "interrupted");
  return prompt.text();
}

session::Token token_for_code(SessionCommand& command, const CommonOptions& common,
                              const session::Code& code) {
  io::ResolveCodeOptions options(code);
  for (const std::string& url : common.derp_servers) {
    auto server = session::parse_server_url(url);
    if (!server) throw CommandError(Exit::Usage, server.error());
    options.servers.push_back(std::move(*server));
  }
  options.derp_map = common.derp_map;
  options.dial = command.dial_options();
  options.wait = common.wait;
  options.wall_now = io::wall_now();
  auto token = command.run(io::resolve_code(std::move(options), command.rng()));
  if (!token) throw CommandError(exit_for(token.error().kind), token.error().message);
  return std::move(*token);
}

}  // namespace dh::app
