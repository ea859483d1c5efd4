#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.hh"

namespace dh::app {

enum class Level : std::uint8_t { Silent, Quiet, Normal, Verbose };

struct ReporterOptions {
  Level level = Level::Normal;
  bool json = false;
  bool hide_progress = false;
};

/// Everything a person or a script sees besides the payload: all of it on stderr (docs/json-events.md has the
/// schema of --json). One object per process. Any thread: the one that receives asks while the session goes
/// on.
class Reporter {
public:
  using Fields =
      std::vector<std::pair<std::string, std::string>>;  // values are JSON text already; see text(), number()

  explicit Reporter(const ReporterOptions& options);

  /// One JSON object line in --json mode; nothing otherwise.
  void event(std::string_view name, const Fields& fields = {});
  /// A line for a person at the default level; not in --json. On a terminal it is wrapped at spaces.
  void line(const std::string& text);
  /// As line(), also with --silent, and never wrapped: what a command exists to say.
  void essential(const std::string& text);
  /// A question: on the screen whatever the level, and without a newline. Forgets what was typed before it.
  void ask(const std::string& question);
  /// One bare state word with --verbose (cli contract), an event in --json.
  void state(std::string_view word, const Fields& fields = {});
  /// `key=value` with --verbose.
  void detail(std::string_view key, std::string_view value);
  void error(const std::string& sentence, int exit_status);

  /// What a transfer adds to the progress: in front of the line, and in the event. Fit for a terminal
  /// already.
  struct ProgressDetail {
    std::string name;   // shortened to the room there is
    std::string count;  // "3/120 files, "
    Fields fields;
  };
  /// The progress line: redrawn in place on a terminal, a plain line every 10 s otherwise.
  void progress(std::uint64_t bytes, std::uint64_t total, std::string_view badge, Instant now,
                const ProgressDetail& detail);
  void progress(std::uint64_t bytes, std::uint64_t total, std::string_view badge, Instant now) {
    progress(bytes, total, badge, now, ProgressDetail());
  }
  void clear_progress();

  bool json() const { return options_.json; }
  bool verbose() const { return options_.level == Level::Verbose; }

  static std::string text(std::string_view value);  // a JSON string
  static std::string number(std::uint64_t value);
  static std::string number(double value);

private:
  // With mutex_ held.
  void write(const std::string& text);
  void write_event(std::string_view name, const Fields& fields);
  void clear();

  std::string fitted(const std::string& text) const;

  const ReporterOptions options_;
  const bool terminal_;
  std::mutex mutex_;  // all below, and that lines stay whole
  bool progress_shown_ = false;
  std::optional<Instant> progress_started_, last_plain_;
  Instant rate_from_{};
  std::uint64_t rate_bytes_ = 0;
  double rate_ = 0;
};

/// `1.5 MB`, `12 bytes`; powers of 1000, as networks count.
std::string human_bytes(std::uint64_t bytes);
std::string human_rate(double bytes_per_second);
std::string human_duration(Duration duration);

}  // namespace dh::app
