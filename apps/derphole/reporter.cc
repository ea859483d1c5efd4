#include "reporter.hh"

#include <cmath>
#include <cstdlib>
#include <termios.h>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/printable.hh"
#include "transfer/terminal_text.hh"

namespace dh::app {
namespace {

constexpr Duration kPlainProgressInterval = 10s;
constexpr Duration kRateWindow = 1s;

bool stderr_is_terminal() {
  const char* term = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && term != nullptr && std::string_view(term) != "dumb";
}

std::size_t terminal_columns() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

constexpr std::size_t kPlainNameColumns = 32;  // of a name in a progress line that goes to no terminal
constexpr std::size_t kLeastNameColumns = 8;

}  // namespace

Reporter::Reporter(const ReporterOptions& options) : options_(options), terminal_(stderr_is_terminal()) {}

void Reporter::write(const std::string& text) {
  // One write per line keeps lines of two processes on one terminal apart.
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t size = ::write(STDERR_FILENO, rest.data(), rest.size());
    if (size <= 0) return;
    rest.remove_prefix(static_cast<std::size_t>(size));
  }
}

void Reporter::event(std::string_view name, const Fields& fields) {
  if (!options_.json) return;
  const std::lock_guard lock(mutex_);
  write_event(name, fields);
}

void Reporter::write_event(std::string_view name, const Fields& fields) {
  std::string out = fmt::format("{{\"event\":{}", text(name));
  for (const auto& [key, value] : fields) out += fmt::format(",{}:{}", text(key), value);
  write(out + "}\n");
}

void Reporter::line(const std::string& text) {
  if (options_.json || options_.level == Level::Silent) return;
  const std::lock_guard lock(mutex_);
  clear();
  write(fitted(text) + "\n");
}

void Reporter::essential(const std::string& text) {
  if (options_.json) return;
  const std::lock_guard lock(mutex_);
  clear();
  write(text + "\n");
}

void Reporter::ask(const std::string& question) {
  const std::lock_guard lock(mutex_);
  clear();
  // What was typed before the question is no answer to it.
  if (isatty(STDIN_FILENO) == 1) tcflush(STDIN_FILENO, TCIFLUSH);
  write(fitted(question));
}

void Reporter::state(std::string_view word, const Fields& fields) {
  if (options_.json) {
    Fields all = {{"state", text(word)}};
    all.insert(all.end(), fields.begin(), fields.end());
    event("state", all);
  } else if (verbose()) {
    const std::lock_guard lock(mutex_);
    clear();
    write(std::string(word) + "\n");
  }
}

void Reporter::detail(std::string_view key, std::string_view value) {
  if (options_.json || !verbose()) return;
  const std::lock_guard lock(mutex_);
  clear();
  write(fmt::format("{}={}\n", key, printable(value, 1000)));
}

void Reporter::error(const std::string& sentence, int exit_status) {
  const std::lock_guard lock(mutex_);
  clear();
  if (options_.json) {
    write_event("error", {{"message", text(sentence)},
                          {"exit_status", number(static_cast<std::uint64_t>(exit_status))}});
  } else {
    write(fitted("derphole: " + sentence) + "\n");
  }
}

void Reporter::progress(std::uint64_t bytes, std::uint64_t total, std::string_view badge, Instant now,
                        const ProgressDetail& detail) {
  const std::lock_guard lock(mutex_);
  if (!progress_started_) {
    progress_started_ = last_plain_ = rate_from_ = now;
    rate_bytes_ = bytes;
  }
  if (now - rate_from_ >= kRateWindow) {
    // A resumed transfer may find out that it has less than it thought.
    rate_ = bytes < rate_bytes_ ? 0 : static_cast<double>(bytes - rate_bytes_) / to_seconds(now - rate_from_);
    rate_from_ = now;
    rate_bytes_ = bytes;
  }
  if (options_.json) {
    Fields fields = {
        {"bytes", number(bytes)}, {"total", total == 0 ? "null" : number(total)}, {"path", text(badge)}};
    fields.insert(fields.end(), detail.fields.begin(), detail.fields.end());
    write_event("progress", fields);
    return;
  }
  if (options_.hide_progress || options_.level <= Level::Quiet) return;
  std::string shown = detail.count + human_bytes(bytes);
  if (total > 0) {
    shown +=
        fmt::format(" of {}, {}%", human_bytes(total), std::min<std::uint64_t>(100, bytes * 100 / total));
  }
  if (rate_ > 0) shown += ", " + human_rate(rate_);
  if (total > bytes && rate_ > 0) {
    const double left = std::ceil(static_cast<double>(total - bytes) / rate_);
    shown += left < 10 ? fmt::format(", {:.0f} s left", left)
                       : fmt::format(", {} left", human_duration(from_seconds(left)));
  }
  shown += fmt::format(" [{}]", badge);
  std::size_t room = kPlainNameColumns;
  if (terminal_) {
    const std::size_t taken = transfer::columns_of(shown) + std::size_t{3};  // ", " and the cursor
    room = std::max(terminal_columns() - std::min(terminal_columns(), taken), kLeastNameColumns);
  }
  if (!detail.name.empty()) shown = transfer::shortened(detail.name, room) + ", " + shown;
  if (terminal_) {
    write("\r\x1b[K" + transfer::shortened(shown, terminal_columns() - 1));
    progress_shown_ = true;
  } else if (now - *last_plain_ >= kPlainProgressInterval) {
    last_plain_ = now;
    write(shown + "\n");
  }
}

std::string Reporter::fitted(const std::string& text) const {
  return terminal_ ? transfer::wrapped(text, terminal_columns()) : text;
}

void Reporter::clear_progress() {
  const std::lock_guard lock(mutex_);
  clear();
}

void Reporter::clear() {
  if (!progress_shown_) return;
  write("\r\x1b[K");
  progress_shown_ = false;
}

std::string Reporter::text(std::string_view value) {
  std::string out = "\"";
  for (char c : printable(value, 4096)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string Reporter::number(std::uint64_t value) {
  return fmt::format("{}", value);
}
std::string Reporter::number(double value) {
  return fmt::format("{:.3f}", value);
}

std::string human_bytes(std::uint64_t bytes) {
  if (bytes == 1) return "1 byte";
  if (bytes < 1000) return fmt::format("{} bytes", bytes);
  constexpr std::string_view kUnits[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
  double value = static_cast<double>(bytes) / 1000;
  std::size_t unit = 0;
  for (; value >= 999.5 && unit + 1 < std::size(kUnits); ++unit) value /= 1000;
  return fmt::format("{:.{}f} {}", value, value < 10 ? 2 : value < 100 ? 1 : 0, kUnits[unit]);
}

std::string human_rate(double bytes_per_second) {
  return human_bytes(static_cast<std::uint64_t>(std::max(0.0, bytes_per_second))) + "/s";
}

std::string human_duration(Duration duration) {
  const double seconds = to_seconds(duration);
  if (seconds < 10) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<std::uint64_t>(seconds);
  if (whole < 120) return fmt::format("{} s", whole);
  if (whole < 7200) return fmt::format("{} min", whole / 60);
  return fmt::format("{} h", whole / 3600);
}

}  // namespace dh::app
