#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/printable.hh"
#include "code_entry.hh"
#include "commands.hh"
#include "io/clock.hh"
#include "io/transfer_source.hh"
#include "one_shot.hh"
#include "qr.hh"
#include "transfer/limits.hh"
#include "transfer_words.hh"

namespace dh::app {
namespace {

constexpr Duration kScanStaysFresh = 2s;  // later the files are looked at once more before they are sent

// Has a slash, starts with . or ~, or ends in an extension: what people do not write by accident.
bool looks_like_path(const std::string& text) {
  if (text.find('/') != std::string::npos || text.starts_with('.') || text.starts_with('~')) return true;
  if (text.find_first_of(" \t\n") != std::string::npos) return false;
  const auto dot = text.rfind('.');
  if (dot == std::string::npos || dot == 0 || text.size() - dot < 2 || text.size() - dot > 6) return false;
  return std::all_of(text.begin() + static_cast<std::ptrdiff_t>(dot) + 1, text.end(),
                     [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; });
}

bool exists(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0;
}

std::string text_of_stdin() {
  std::string out;
  std::vector<char> buffer(65'536);
  for (;;) {
    const ssize_t size = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0)
      throw CommandError(Exit::LocalFile, fmt::format("cannot read stdin: {}", std::strerror(errno)));
    if (size == 0) return out;
    out.append(buffer.data(), static_cast<std::size_t>(size));
    if (out.size() > transfer::kMaxTextBytes)
      throw CommandError(Exit::Usage,
                         "a text may have at most 16 MiB; `derphole pipe` and `listen` carry any stream");
  }
}

// The text to send, or nothing when the arguments are paths.
std::optional<std::string> text_of(const SendOptions& options) {
  const auto& what = options.what;
  if (what.size() == 1 && what[0] == "-" && !exists("-")) return text_of_stdin();
  std::string joined;
  for (const std::string& word : what) joined += (joined.empty() ? "" : " ") + word;
  if (joined.size() > transfer::kMaxTextBytes)
    throw CommandError(Exit::Usage, "a text may have at most 16 MiB");
  if (options.text) return joined;
  const auto missing = std::find_if_not(what.begin(), what.end(), exists);
  if (missing == what.end()) return std::nullopt;
  const bool any_path = std::any_of(what.begin(), what.end(), [](const std::string& word) {
    return exists(word) || looks_like_path(word);
  });
  if (!any_path) return joined;
  const auto shown =
      std::find_if(what.begin(), what.end(), [](const std::string& word) { return !exists(word); });
  throw CommandError(
      Exit::LocalFile,
      fmt::format("{} does not exist here. If it is meant as text, add --text.", printable(*shown, 1000)));
}

class SendCommand final : public CommandHooks {
public:
  explicit SendCommand(const SendOptions& options)
      : options_(options),
        command_(options.common, session::Direction::Send),
        reporter_(command_.reporter()) {}

  Exit run() {
    text_ = text_of(options_);
    if (!text_) scan();
    const ChosenRelays chosen = choose_relays(command_, options_.common);
    io::SessionDriverOptions driver;
    prepare_listener(command_, chosen, session::Capability::Transfer, driver);
    prepare_sender(options_.common, driver.session);
    sending_options_.verify = options_.verify;
    command_.rng().fill(sending_options_.nonce);
    driver.make_source = [this](io::PumpNotify notify) {
      make_sending();
      return sending_->source()(std::move(notify));
    };
    announce(driver.session.token, chosen);
    command_.set_hooks(*this);
    try {
      command_.run_session(std::move(driver));
    } catch (const CommandError&) {
      report_failures();
      throw;
    }
    return finish();
  }

  void on_claimed(const ByteArray<32>& binding) override {
    sending_options_.binding = binding;
    if (code_) code_->stop();
  }

  std::optional<EndWords> end_words(const session::SessionEnded&) override {
    return code_ ? code_->end_words() : std::nullopt;
  }

  void on_message(ByteView message) override {
    if (!sending_) return;
    const auto paused = sending_->on_message(message);
    if (!paused) return;
    reporter_.event(paused->empty() ? "resumed" : "paused", {{"message", Reporter::text(*paused)}});
    reporter_.line(paused->empty()
                       ? "The other side goes on."
                       : fmt::format("The other side cannot write at the moment: {}. It waits until it can.",
                                     printable(*paused)));
  }

  bool show_progress(std::uint64_t stream_bytes, const std::string& badge) override {
    if (!sending_) return true;
    if (!sending_->is_ready()) {
      stalls_.tell(reporter_, "Looking at the files once more, since time has passed.");
    } else if (!sending_->answered()) {
      stalls_.tell(reporter_, "Waiting for the other side to look at what it has, and to accept.");
    } else {
      const transfer::Progress progress = sending_->progress(stream_bytes);
      const std::uint64_t compared = sending_->bytes_compared();
      if (compared > compared_ && progress == shown_) {
        stalls_.tell(reporter_, "Comparing what the other side has already.");
      } else if (progress.bytes >= sending_->manifest().bytes() && progress == shown_) {
        stalls_.tell(reporter_, "All is sent; the other side writes it to its disk.");
      } else {
        stalls_.moves();
      }
      compared_ = compared;
      shown_ = progress;
      show_transfer(reporter_, sending_->manifest(), progress, badge);
    }
    return true;
  }

  std::string done_line(Duration open_for, const std::string& shares) override {
    return "sent " + transfer_line(sending_->manifest(), moved(), open_for, shares);
  }

  Reporter::Fields done_fields() override {
    return {{"files", Reporter::number(std::uint64_t{sending_->manifest().files()})},
            {"content_bytes", Reporter::number(sending_->manifest().bytes())},
            {"kept_bytes", Reporter::number(sending_->bytes_skipped())}};
  }

private:
  void scan() {
    command_.run_aside(
        [this](const std::atomic<bool>& stop) {
          auto tree = io::scan_tree(
              options_.what, {.excludes = options_.excludes, .follow = options_.follow, .stop = &stop});
          if (!tree) throw CommandError(Exit::LocalFile, tree.error());
          tree_ = std::move(*tree);
        },
        "Still looking through what is to be sent.");
    scanned_ = io::now();
  }

  void announce(const session::Token& token, const ChosenRelays& chosen) {
    if (!text_) {
      for (const io::LeftOut& left : tree_.left_out) {
        reporter_.event("left-out",
                        {{"path", Reporter::text(left.path)}, {"message", Reporter::text(left.why)}});
        reporter_.line(fmt::format("not sent: {}: {}", printable(left.path, 1000), printable(left.why)));
      }
      reporter_.line("Sending " + describe(tree_.manifest) + ".");
    }
    if (options_.token) return announce_token(token);
    io::CodeHostOptions code;
    code.relay = token.relays.front();
    if (chosen.own) code.own_relay = chosen.own->loopback();
    code.words = options_.words;
    code.token_text = session::format_token(token);
    code.dial = command_.dial_options();
    code_.emplace(command_, std::move(code), options_.qr);
    code_->start();
  }

  void announce_token(const session::Token& token) {
    const std::string text = session::format_token(token);
    const std::string line = "derphole receive " + text;
    reporter_.event(
        "token", {{"token", Reporter::text(text)},
                  {"command", Reporter::text(line)},
                  {"expires",
                   Reporter::number(static_cast<std::uint64_t>(token.expires.time_since_epoch().count()))}});
    reporter_.line("On the other machine, run:\n");
    reporter_.essential(line);
    if (options_.qr) reporter_.line("\n" + qr_text(text));
    reporter_.line(
        fmt::format("\nWaiting. The token is good for one use within 1 hour (until {}). Ctrl-C cancels.",
                    local_time(token.expires)));
    reporter_.state("waiting-for-claim");
  }

  // When somebody has come. What changed since the first look is sent as it is now.
  void make_sending() {
    if (text_) {
      sending_ = std::make_shared<io::Sending>(std::move(*text_), sending_options_);
      return;
    }
    io::Sending::Rescan rescan;
    if (io::now() - scanned_ > kScanStaysFresh) {
      rescan = [this](const std::atomic<bool>& stop) -> std::optional<io::SourceTree> {
        auto again = io::scan_tree(options_.what,
                                   {.excludes = options_.excludes, .follow = options_.follow, .stop = &stop});
        if (!again) return std::nullopt;  // each file will say what is wrong with it
        return std::move(*again);
      };
    }
    sending_ = std::make_shared<io::Sending>(std::move(tree_), sending_options_, std::move(rescan));
  }

  std::uint64_t moved() const {
    return sending_->manifest().bytes() - std::min(sending_->manifest().bytes(), sending_->bytes_skipped());
  }

  void report_failures() {
    if (!sending_) return;
    for (const io::SendFailure& failure : sending_->failures()) {
      reporter_.event("file-failed",
                      {{"path", Reporter::text(failure.path)}, {"message", Reporter::text(failure.why)}});
      reporter_.line(fmt::format("not sent: {}: {}", printable(failure.path, 1000), printable(failure.why)));
    }
  }

  Exit finish() {
    show_digests(reporter_, sending_->digests(), sending_->check_string());
    report_failures();
    const auto& failures = sending_->failures();
    const bool changed = std::any_of(failures.begin(), failures.end(), [](const io::SendFailure& failure) {
      return failure.reason == transfer::FailReason::Changed;
    });
    if (changed)
      throw CommandError(Exit::Integrity,
                         fmt::format("{} changed while it was sent; everything else arrived. Send again.",
                                     count_files(failures.size())));
    if (!failures.empty())
      throw CommandError(Exit::LocalFile, fmt::format("{} could not be read; everything else arrived.",
                                                      count_files(failures.size())));
    if (const auto& result = sending_->receivers_result(); result.failed > 0)
      throw CommandError(Exit::Failure, fmt::format("the other side could not put {} in place: {}",
                                                    count_files(result.failed), printable(result.why)));
    const auto& left_out = sending_->left_out();
    if (std::any_of(left_out.begin(), left_out.end(),
                    [](const io::LeftOut& left) { return left.is_failure; }))
      throw CommandError(Exit::LocalFile,
                         "something could not be read and was not sent; everything else arrived.");
    return Exit::Ok;
  }

  const SendOptions& options_;
  SessionCommand command_;
  Reporter& reporter_;
  std::optional<HostedCode> code_;
  std::optional<std::string> text_;
  io::SourceTree tree_;
  io::SendingOptions sending_options_;
  std::shared_ptr<io::Sending> sending_;
  Instant scanned_{};
  Stalls stalls_;
  std::uint64_t compared_ = 0;
  transfer::Progress shown_;
};

}  // namespace

Exit run_send(const SendOptions& options) {
  return SendCommand(options).run();
}

}  // namespace dh::app
