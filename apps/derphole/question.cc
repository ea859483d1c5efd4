#include "question.hh"

#include <cerrno>

#include <poll.h>
#include <unistd.h>

namespace dh::app {
namespace {

constexpr int kPollMs = 200;  // until `stop` is seen

}  // namespace

std::optional<std::string> ask_line(Reporter& reporter, const std::string& question,
                                    const std::atomic<bool>* stop) {
  reporter.ask(question);
  std::string line;
  for (;;) {
    if (stop != nullptr && *stop) return std::nullopt;
    pollfd waiting{STDIN_FILENO, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, stop != nullptr ? kPollMs : -1);
    if (ready < 0 && errno == EINTR && stop == nullptr) return "";
    if (ready <= 0) continue;
    char c = 0;
    if (::read(STDIN_FILENO, &c, 1) != 1 || c == '\n') return line;
    line += c;
  }
}

bool is_yes(std::string_view answer) {
  return answer == "y" || answer == "Y" || answer == "yes";
}

}  // namespace dh::app
