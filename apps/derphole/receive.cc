#include <cerrno>
#include <cstring>
#include <iostream>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/printable.hh"
#include "code_entry.hh"
#include "commands.hh"
#include "io/clock.hh"
#include "io/text_file.hh"
#include "io/transfer_sink.hh"
#include "one_shot.hh"
#include "question.hh"
#include "transfer/name_rules.hh"
#include "transfer_words.hh"

namespace dh::app {
namespace {

constexpr std::uint32_t kListShown = 40;  // entries of --ask

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t size = ::write(fd, text.data(), text.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0)
      throw io::DiskError(fmt::format("cannot write the text to the output: {}", std::strerror(errno)));
    text.remove_prefix(static_cast<std::size_t>(size));
  }
}

// Lines and tabs are kept, everything else that a terminal would obey is shown instead.
std::string safe_for_terminal(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t plain = std::min(text.find_first_of("\n\t"), text.size());
    out += printable(text.substr(0, plain), text.size());
    text.remove_prefix(plain);
    if (text.empty()) break;
    out += text.front();
    text.remove_prefix(1);
  }
  if (!out.empty() && out.back() != '\n') out += '\n';
  return out;
}

bool can_ask() {
  return isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1;
}

io::ReceiveProblem declined(io::ReceiveProblem::Kind kind, std::string sentence) {
  return {kind, std::move(sentence)};
}

class ReceiveCommand final : public CommandHooks, public io::ReceivingHooks {
public:
  explicit ReceiveCommand(const ReceiveOptions& options)
      : options_(options),
        command_(options.common, session::Direction::Receive),
        reporter_(command_.reporter()) {}

  ~ReceiveCommand() override {
    if (receiving_) receiving_->close();  // others may hold it until the process ends
  }

  Exit run(const session::Code& code) {
    reporter_.state("looking-for-code");
    session::Token token = token_for_code(command_, options_.common, code);
    if (!token.allows(session::Capability::Transfer))
      throw CommandError(Exit::BadToken, "this code is for another command");
    return run(std::move(token));
  }

  Exit run(session::Token token) {
    io::ReceivingOptions receiving_options;
    receiving_options.allow_hidden = options_.allow_hidden;
    command_.rng().fill(receiving_options.nonce);
    receiving_ = std::make_shared<io::Receiving>(
        command_.context().get_executor(),
        [this](Bytes message) { command_.send_message(std::move(message)); },
        static_cast<io::ReceivingHooks&>(*this), receiving_options);
    io::SessionDriverOptions driver;
    prepare_dialer(command_, options_.common, std::move(token), session::Capability::Transfer, driver);
    driver.session.direction = session::Direction::Receive;
    driver.make_sink = receiving_->sink();
    command_.set_hooks(*this);
    try {
      command_.run_session(std::move(driver));
    } catch (const CommandError& error) {
      if (!receiving_->report().in_place || error.status() == Exit::Interrupted) {
        tell_what_is_kept();
        throw;
      }
      reporter_.line("Everything is here; only the last word to the sender may be lost.");
    }
    return finish();
  }

  // CommandHooks, on the session's executor.
  void on_claimed(const ByteArray<32>& binding) override { receiving_->bind(binding); }

  bool show_progress(std::uint64_t, const std::string& badge) override {
    if (receiving_->is_asking()) return true;
    const transfer::Manifest* manifest = receiving_->manifest();
    if (manifest == nullptr) {
      stalls_.tell(reporter_, "Waiting for the list of what is offered.");
      return true;
    }
    if (!accepted_) {
      stalls_.tell(reporter_, "Checking what is here from an earlier try.");
      if (const std::uint64_t checked = receiving_->bytes_checked(); checked > 0) {
        Reporter::ProgressDetail detail;
        detail.count = "checking what is here, ";
        reporter_.progress(checked, 0, badge, io::now(), detail);
      }
      return true;
    }
    if (receiving_->is_placing())
      stalls_.tell(reporter_, "All is here; writing it to the disk.");
    else
      stalls_.moves();
    if (const std::string why = receiving_->paused(); why != paused_) {
      paused_ = why;
      reporter_.event(why.empty() ? "resumed" : "paused", {{"message", Reporter::text(why)}});
      reporter_.line(why.empty() ? "There is space again; going on."
                                 : fmt::format("Cannot write: {}. Free some space; this goes on by itself "
                                               "(Ctrl-C keeps what is here for the next try).",
                                               why));
    }
    show_transfer(reporter_, *manifest, receiving_->progress(), badge);
    return true;
  }

  std::string done_line(Duration open_for, const std::string& shares) override {
    const transfer::Manifest& manifest = *receiving_->manifest();
    const std::uint64_t moved = manifest.bytes() - std::min(manifest.bytes(), receiving_->bytes_kept());
    return "received " + transfer_line(manifest, moved, open_for, shares);
  }

  Reporter::Fields done_fields() override {
    return {{"files", Reporter::number(std::uint64_t{receiving_->manifest()->files()})},
            {"content_bytes", Reporter::number(receiving_->manifest()->bytes())},
            {"kept_bytes", Reporter::number(receiving_->bytes_kept())}};
  }

  std::optional<EndWords> end_words(const session::SessionEnded& end) override {
    if (const auto& problem = receiving_->report().problem) {
      switch (problem->kind) {
        case io::ReceiveProblem::Kind::Local:
          return EndWords{Exit::LocalFile, problem->sentence};
        case io::ReceiveProblem::Kind::Declined:
          return EndWords{Exit::Refused, problem->sentence};
        case io::ReceiveProblem::Kind::Unsafe:
          return EndWords{Exit::Refused, "refused what the other side offers: " + problem->sentence};
        case io::ReceiveProblem::Kind::Protocol:
          return EndWords{Exit::Failure, "the other side breaks the protocol: " + problem->sentence};
        case io::ReceiveProblem::Kind::Integrity:
          return EndWords{Exit::Integrity,
                          "what arrived is not what was sent: " + problem->sentence + ". Try again."};
      }
    }
    if (end.end == session::SessionEnd::NobodyThere)
      return EndWords{
          Exit::PeerAbsent,
          "nobody is sending for this token. Is `derphole send` still running there? (--wait 2m waits "
          "longer)"};
    return std::nullopt;
  }

  // io::ReceivingHooks, on the receiving thread.
  io::Destination destination(const transfer::Manifest& manifest) override {
    const std::string& output = options_.output;
    if (output.empty()) return {};
    std::uint32_t top = 0;
    for (std::uint32_t i = 0; i < manifest.size(); ++i) top += manifest[i].parent == transfer::kTop;
    if (output_is_directory(top)) return {.directory = output, .only_name = {}};
    const auto slash = output.rfind('/');
    io::Destination out;
    out.only_name = slash == std::string::npos ? output : output.substr(slash + 1);
    if (slash != std::string::npos) out.directory = slash == 0 ? "/" : output.substr(0, slash);
    if (auto good = transfer::check_component(out.only_name); !good)
      throw io::DiskError(
          fmt::format("cannot receive as {}: {}", printable(output, 1000), sentence(good.error())));
    return out;
  }

  std::expected<io::WritePlan, io::ReceiveProblem> decide(const transfer::Manifest& manifest,
                                                          const std::vector<std::uint32_t>& taken) override {
    if (options_.ask && !accepts(manifest))
      return std::unexpected(declined(io::ReceiveProblem::Kind::Declined, "you said no"));
    io::WritePlan plan;
    if (manifest.is_text() && !options_.output.empty()) {
      std::string path = options_.output;
      if (output_is_directory(1)) path.append(path.back() == '/' ? "" : "/").append(manifest.name(0));
      text_file_.emplace(path);
      if (text_file_->is_taken()) {
        const auto conflict = what_to_do(path);
        if (!conflict) return std::unexpected(conflict.error());
        text_file_->decide(*conflict);
      }
    }
    for (const std::uint32_t entry : taken) {
      const auto conflict = what_to_do(std::string(manifest.name(entry)));
      if (!conflict) return std::unexpected(conflict.error());
      plan.conflicts[entry] = *conflict;
    }
    return plan;
  }

  void accepted(std::uint64_t kept_bytes) override {
    accepted_ = true;
    const transfer::Manifest& manifest = *receiving_->manifest();
    reporter_.event("accepted", {{"files", Reporter::number(std::uint64_t{manifest.files()})},
                                 {"content_bytes", Reporter::number(manifest.bytes())},
                                 {"kept_bytes", Reporter::number(kept_bytes)}});
    if (kept_bytes > 0)
      reporter_.line(fmt::format("{} of {} are here already; going on from there.", human_bytes(kept_bytes),
                                 human_bytes(manifest.bytes())));
  }

  void show_text(const std::string& text) override {
    if (text_file_) {
      text_path_ = text_file_->save(text);
      return;
    }
    const bool terminal = isatty(STDOUT_FILENO) == 1;
    write_all(STDOUT_FILENO, terminal && !options_.raw ? safe_for_terminal(text) : text);
  }

private:
  // Whether what comes goes into what the person named; makes the directory if it has to be one.
  bool output_is_directory(std::uint32_t things) const {
    const std::string& output = options_.output;
    struct stat info {};
    if (::stat(output.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return true;
    if (output.back() != '/' && things <= 1) return false;
    if (::mkdir(output.c_str(), 0777) != 0)
      throw io::DiskError(fmt::format("cannot create {}: {}", printable(output, 1000), std::strerror(errno)));
    return true;
  }

  std::string ask(const std::string& question) {
    auto answer = ask_line(reporter_, question, &receiving_->stopping());
    if (!answer) throw io::Stopped();
    return std::move(*answer);
  }

  bool accepts(const transfer::Manifest& manifest) {
    std::string list = "The other side offers " + describe(manifest) + "\n";
    for (std::uint32_t i = 0; i < manifest.size() && i < kListShown && !manifest.is_text(); ++i) {
      list += "  " + printable(manifest.path(i), 1000);
      if (manifest[i].kind == transfer::EntryKind::Directory) list += "/";
      if (manifest[i].kind == transfer::EntryKind::Symlink)
        list += " -> " + printable(manifest.target(i), 1000);
      if (manifest[i].has_content()) list += ", " + human_bytes(manifest[i].size);
      list += "\n";
    }
    if (manifest.size() > kListShown) list += fmt::format("  and {} more\n", manifest.size() - kListShown);
    return is_yes(ask(list + "Receive it? [y/N] "));
  }

  std::expected<io::Conflict, io::ReceiveProblem> what_to_do(const std::string& taken_name) {
    if (options_.overwrite) return io::Conflict::Overwrite;
    if (options_.rename) return io::Conflict::Rename;
    if (options_.skip) return io::Conflict::Skip;
    const std::string name = printable(taken_name, 1000);
    if (!can_ask())
      return std::unexpected(
          declined(io::ReceiveProblem::Kind::Local,
                   fmt::format("{} exists there. --overwrite replaces it, --rename takes another name, "
                               "--skip leaves it as it is; nothing was received.",
                               name)));
    for (;;) {
      const std::string answer = ask(fmt::format("{} exists. [o]verwrite, [r]ename, [s]kip, [q]uit? ", name));
      if (answer == "o") return io::Conflict::Overwrite;
      if (answer == "r") return io::Conflict::Rename;
      if (answer == "s") return io::Conflict::Skip;
      if (answer == "q" || answer.empty())
        return std::unexpected(
            declined(io::ReceiveProblem::Kind::Declined, name + " exists; nothing was received"));
    }
  }

  void tell_what_is_kept() {
    if (!receiving_->manifest() || receiving_->manifest()->is_text() || receiving_->report().problem) return;
    if (receiving_->progress().bytes == 0) return;
    reporter_.line("What arrived is kept: the same `send` and `receive` go on where this stopped.");
  }

  void tell_place(const std::string& path) {
    reporter_.event("placed", {{"path", Reporter::text(path)}});
    reporter_.line(printable(path, 5000));
  }

  Exit finish() {
    receiving_->forget();
    const io::ReceiveReport& report = receiving_->report();
    std::vector<io::FileDigest> digests;
    for (const auto& [path, sha256] : report.digests) digests.push_back({path, sha256});
    show_digests(reporter_, digests, report.check_string);
    for (const std::string& path : report.outcome.placed) tell_place(path);
    if (text_path_) tell_place(*text_path_);
    for (const std::string& failure : report.failures) {
      reporter_.event("file-failed", {{"message", Reporter::text(failure)}});
      reporter_.line("not received: " + failure);
    }
    if (report.outcome.failed > 0)
      throw CommandError(Exit::LocalFile,
                         fmt::format("{} could not be put in place: {}", count_files(report.outcome.failed),
                                     report.outcome.first_failure));
    if (report.failures.empty()) return Exit::Ok;
    throw CommandError(report.has_changed ? Exit::Integrity : Exit::LocalFile,
                       fmt::format("the other side could not send {}; everything else is here",
                                   count_files(report.failures.size())));
  }

  const ReceiveOptions& options_;
  SessionCommand command_;
  Reporter& reporter_;
  std::shared_ptr<io::Receiving> receiving_;
  std::string paused_;
  Stalls stalls_;
  bool accepted_ = false;
  // The receiving thread's, until it has ended.
  std::optional<io::TextFile> text_file_;
  std::optional<std::string> text_path_;  // where it was saved
};

}  // namespace

namespace {

constexpr std::size_t kShortestToken = 40;  // what is shorter was meant as a code

// What the person gave us: a code, or a token.
std::string read_code_or_token(const TokenSource& source) {
  const bool given = !source.argument.empty() || !source.file.empty() || source.from_stdin;
  if (given) return read_token_text(source, false);
  if (isatty(STDIN_FILENO) != 1)
    throw CommandError(Exit::Usage,
                       "no code: give the one that `derphole send` printed as argument, --token-file or "
                       "--token-stdin");
  return ask_for_code();
}

}  // namespace

Exit run_receive(const ReceiveOptions& options, int argc, char** argv) {
  if (options.overwrite + options.rename + options.skip > 1)
    throw CommandError(Exit::Usage, "only one of --overwrite, --rename and --skip");
  if (options.ask && !can_ask()) throw CommandError(Exit::Usage, "--ask needs a terminal to ask at");
  const std::string text = read_code_or_token(options.token);
  if (!options.token.argument.empty()) wipe_from_arguments(argc, argv, options.token.argument);
  const bool may_be_code = session::looks_like_code(text) || text.size() < kShortestToken;
  if (session::token_kind(text) || !may_be_code)
    return ReceiveCommand(options).run(parse_one_shot(text, session::Capability::Transfer));
  const auto code = session::parse_code(text);
  if (!code) throw CommandError(Exit::BadToken, code.error().sentence);
  return ReceiveCommand(options).run(*code);
}

}  // namespace dh::app
