#include <unistd.h>

#include "commands.hh"
#include "io/std_ends.hh"
#include "one_shot.hh"

namespace dh::app {

Exit run_pipe(const PipeOptions& options, int argc, char** argv) {
  const std::string text = read_token_text(options.token, true);
  if (!options.token.argument.empty()) wipe_from_arguments(argc, argv, options.token.argument);
  session::Token token = parse_one_shot(text, session::Capability::Pipe);

  SessionCommand command(options.common, session::Direction::Send);
  io::SessionDriverOptions driver;
  prepare_dialer(command, options.common, std::move(token), session::Capability::Pipe, driver);
  prepare_sender(options.common, driver.session);
  driver.make_source = io::input(command.context().get_executor(), STDIN_FILENO);
  return command.run_session(std::move(driver));
}

}  // namespace dh::app
