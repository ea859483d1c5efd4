#pragma once

// Codes on the two screens: hosted for `send`, asked for and looked up by `receive`.

#include <functional>
#include <optional>
#include <string>

#include "io/code_meeting.hh"
#include "session_command.hh"

namespace dh::app {

/// The code of a waiting `send`: prints it, tells of wrong tries, ends the session when the code can not lead
/// to anybody any more.
class HostedCode final : public io::CodeObserver {
public:
  /// `command` must outlive this.
  HostedCode(SessionCommand& command, io::CodeHostOptions options, bool qr);

  void start() { host_.start(); }
  /// Somebody has claimed the session: the code has done its work.
  void stop() { host_.stop(); }
  /// What to say instead of the session's own words, when the code was the reason for its end.
  const std::optional<EndWords>& end_words() const { return end_words_; }

  void on_code(const session::Code& code, Duration valid_for) override;
  void on_code_wrong_try(unsigned number, unsigned of) override;
  void on_code_used() override;
  void on_code_trouble(const std::string& why) override;
  void on_code_ended(session::CodeEnd end) override;

private:
  SessionCommand& command_;
  bool qr_;
  bool shown_ = false;
  std::optional<EndWords> end_words_;
  io::CodeHost host_;
};

/// Asks at the terminal, with Tab. Errors: CommandError(Interrupted) when the person gives up.
std::string ask_for_code();

/// The token behind a code. Errors: CommandError with the sentence and exit status.
session::Token token_for_code(SessionCommand& command, const CommonOptions& common,
                              const session::Code& code);

}  // namespace dh::app
