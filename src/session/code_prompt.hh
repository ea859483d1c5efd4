#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace dh::session {

/// The line in which a person types a code (or pastes a token), key by key: Tab completes the word at its
/// end. Pure: the caller reads single bytes from a terminal without echo and writes what on_key() returns.
class CodePrompt {
public:
  static constexpr std::size_t kMaxText = 8'192;  // the longest token fits

  enum class State : std::uint8_t {
    Typing,
    Done,       // Enter: text() is what was typed
    Cancelled,  // Ctrl-C, or Ctrl-D on an empty line
  };

  explicit CodePrompt(std::string label) : label_(std::move(label)) {}

  /// What stands there before the first key.
  const std::string& label() const { return label_; }
  /// What to write to the terminal for it. Keys that mean nothing here (arrows, controls, bytes above ASCII)
  /// change nothing.
  std::string on_key(char key);
  State state() const { return state_; }
  const std::string& text() const { return text_; }

private:
  enum class Escape : std::uint8_t { None, Started, Sequence };  // of what an arrow key sends

  std::string complete();
  std::string redraw() const;

  std::string label_, text_;
  State state_ = State::Typing;
  Escape escape_ = Escape::None;
};

}  // namespace dh::session
