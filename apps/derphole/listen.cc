#include <fmt/format.h>
#include <unistd.h>

#include "commands.hh"
#include "io/std_ends.hh"
#include "one_shot.hh"

namespace dh::app {

Exit run_listen(const ListenOptions& options) {
  SessionCommand command(options.common, session::Direction::Receive);
  Reporter& reporter = command.reporter();
  const ChosenRelays chosen = choose_relays(command, options.common);

  io::SessionDriverOptions driver;
  prepare_listener(command, chosen, session::Capability::Pipe, driver);
  driver.session.direction = session::Direction::Receive;
  driver.make_sink = io::output(command.context().get_executor(), STDOUT_FILENO);
  const session::Token& token = driver.session.token;

  const std::string text = session::format_token(token);
  const std::string until = local_time(token.expires);
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
