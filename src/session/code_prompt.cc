#include "session/code_prompt.hh"

#include <algorithm>
#include <string_view>
#include <vector>

#include "session/code.hh"

namespace dh::session {
namespace {

constexpr std::size_t kShown = 24;  // words offered at once: two lines of a terminal
constexpr char kBell = '\a';

std::string_view last_word(std::string_view text) {
  while (!text.empty() && text.back() == '-') text.remove_suffix(1);
  const auto separator = text.find_last_of("- ");
  return separator == std::string_view::npos ? text : text.substr(separator + 1);
}

std::string common_start(const std::vector<std::string>& texts) {
  std::string start = texts.front();
  for (const std::string& text : texts) {
    const auto differs = std::mismatch(start.begin(), start.end(), text.begin(), text.end()).first;
    start.erase(differs, start.end());
  }
  return start;
}

}  // namespace

std::string CodePrompt::redraw() const {
  return "\r\x1b[K" + label_ + text_;
}

std::string CodePrompt::complete() {
  const std::vector<std::string> choices = complete_code(text_, kShown + 1);
  if (choices.empty() || choices.size() > kShown) return {kBell};
  const std::string start = common_start(choices);
  if (start.size() > text_.size()) {
    text_ = start;
    return redraw();
  }
  if (choices.size() == 1) return {};  // it is whole already
  std::string out = "\r\n";
  for (const std::string& choice : choices) out += std::string(last_word(choice)) + "  ";
  return out + "\r\n" + redraw();
}

std::string CodePrompt::on_key(char key) {
  constexpr char kEscape = '\x1b', kCtrlC = '\x03', kCtrlD = '\x04', kCtrlU = '\x15', kDelete = '\x7f';
  if (state_ != State::Typing) return {};
  if (escape_ == Escape::Started) {
    escape_ = key == '[' || key == 'O' ? Escape::Sequence : Escape::None;
    return {};
  }
  if (escape_ == Escape::Sequence) {
    if (key >= '@' && key <= '~') escape_ = Escape::None;
    return {};
  }
  switch (key) {
    case kEscape:
      escape_ = Escape::Started;
      return {};
    case '\r':
    case '\n':
      state_ = State::Done;
      return "\r\n";
    case kCtrlC:
      state_ = State::Cancelled;
      return "\r\n";
    case kCtrlD:
      if (text_.empty()) state_ = State::Cancelled;
      return text_.empty() ? "\r\n" : "";
    case kCtrlU:
      text_.clear();
      return redraw();
    case '\b':
    case kDelete:
      if (text_.empty()) return {kBell};
      text_.pop_back();
      return "\b \b";
    case '\t':
      return complete();
    default:
      break;
  }
  if (key < ' ' || key > '~') return {};
  if (text_.size() >= kMaxText) return {kBell};
  text_ += key;
  return {key};
}

}  // namespace dh::session
