// `ssh invite`, `ssh accept`, `ssh revoke`, `ssh list`: access by a key that neither side typed.
// Spec: docs/protocol/ssh-invite.md.

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/printable.hh"
#include "commands.hh"
#include "io/authorized_keys_file.hh"
#include "io/clock.hh"
#include "io/memory_ends.hh"
#include "io/ssh_agent.hh"
#include "io/ssh_host.hh"
#include "one_shot.hh"
#include "question.hh"
#include "session/ssh_exchange.hh"

namespace dh::app {
namespace {

namespace asio = boost::asio;

bool at_terminal() {
  return isatty(STDIN_FILENO) == 1;
}

io::SystemUser user_named(const std::string& name) {
  auto user = io::system_user(name);
  if (!user) throw CommandError(Exit::LocalFile, user.error().message);
  return *user;
}

std::string home() {
  return user_named({}).home;
}

// The keys of that user; empty: of whoever runs this.
io::AuthorizedKeysFile keys_of(const std::string& name) {
  const io::SystemUser user = user_named(name);
  if (user.user != ::geteuid() && ::geteuid() != 0)
    throw CommandError(Exit::Usage,
                       fmt::format("only {0} and root can decide who logs in as {0}: run this as one of them",
                                   printable(user.name)));
  return {user.home, user.user, user.group};
}

std::string date_of(UnixSeconds when) {
  return fmt::format("{:%Y-%m-%d %H:%M} UTC", fmt::gmtime(when.time_since_epoch().count()));
}

std::string hex_id(const ByteArray<8>& id) {
  return to_hex(id);
}

// What both commands leave to the session: no progress, and their own last line.
class Hooks : public CommandHooks {
public:
  bool show_progress(std::uint64_t, const std::string&) override { return true; }
};

// ---- invite -----------------------------------------------------------------------------------------------

class Invite final : public Hooks {
public:
  explicit Invite(const SshInviteOptions& options)
      : options_(options),
        command_(options.common, session::Direction::Send),
        reporter_(command_.reporter()),
        file_(keys_of(options.user)),
        answer_(std::make_shared<io::LateBytes>()),
        input_(command_.context()) {}

  Exit run() {
    if (!options_.yes && !at_terminal())
      throw CommandError(Exit::Usage,
                         "there is no terminal to ask at whether the key may log in; -y lets it in unasked");
    auto access = io::describe_ssh_host({.user = options_.user, .port = options_.port});
    if (!access) throw CommandError(Exit::LocalFile, access.error());
    access_ = std::move(*access);
    const ChosenRelays chosen = choose_relays(command_, options_.common);
    io::SessionDriverOptions driver;
    prepare_listener(command_, chosen, session::Capability::SshInvite, driver);
    driver.session.direction = session::Direction::Send;
    driver.make_source = io::late_source(answer_);
    announce(driver.session.token);
    command_.set_hooks(*this);
    command_.run_session(std::move(driver));
    return Exit::Ok;
  }

  void on_message(ByteView message) override {
    auto offer = reader_.on_message(message);
    if (!offer) return;
    if (!*offer) {
      problem_ = EndWords{Exit::Refused, fmt::format("the other side sent no key that can be used: {}",
                                                     session::to_string(offer->error()))};
      return command_.decline(fmt::format("the key cannot be used: {}", session::to_string(offer->error())));
    }
    key_ = std::move(**offer);
    const std::string fingerprint = session::ssh_fingerprint(*key_);
    expires_ = io::wall_now() + std::chrono::duration_cast<std::chrono::seconds>(options_.life);
    reporter_.event("ssh-key", {{"type", Reporter::text(key_->type)},
                                {"fingerprint", Reporter::text(fingerprint)},
                                {"comment", Reporter::text(key_->comment)}});
    reporter_.essential(fmt::format("\nA key asks for access as {}:\n\n  {} {} {}\n", access_.user,
                                    key_->type, fingerprint, printable(key_->comment)));
    if (options_.yes) return let_in();
    ask(fmt::format("Compare the fingerprint with the other screen.\nLet it log in until {}? [y/N] ",
                    date_of(expires_)));
  }

  std::string done_line(Duration, const std::string&) override {
    return added_ ? fmt::format("{} can log in as {} until {}. `derphole ssh revoke {}` ends it.",
                                key_->comment.empty() ? "The key" : printable(key_->comment), access_.user,
                                date_of(expires_), hex_id(access_.grant_id))
                  : fmt::format("That key could log in as {} already; nothing was changed.", access_.user);
  }

  std::optional<EndWords> end_words(const session::SessionEnded&) override { return problem_; }

private:
  void announce(const session::Token& token) {
    const std::string line = "derphole ssh accept " + session::format_token(token);
    reporter_.event(
        "token", {{"token", Reporter::text(session::format_token(token))},
                  {"command", Reporter::text(line)},
                  {"expires",
                   Reporter::number(static_cast<std::uint64_t>(token.expires.time_since_epoch().count()))}});
    reporter_.line("On the other machine, run:\n");
    reporter_.essential(line);
    reporter_.line(
        fmt::format("\nWaiting. The token is good for one use within 1 hour (until {}). Ctrl-C cancels.",
                    local_time(token.expires)));
    reporter_.state("waiting-for-claim");
  }

  // The session goes on while the person thinks.
  void ask(const std::string& question) {
    reporter_.ask(question);
    input_.assign(::dup(STDIN_FILENO));
    asio::async_read_until(input_, asio::dynamic_buffer(typed_, 1024), '\n',
                           [this](boost::system::error_code error, std::size_t size) {
                             const std::string answer = error ? "" : typed_.substr(0, size - 1);
                             if (is_yes(answer)) return let_in();
                             problem_ = EndWords{Exit::Refused, "you said no; nothing was changed"};
                             command_.decline("the host said no");
                           });
  }

  void let_in() {
    session::SshGrant grant;
    command_.rng().fill(grant.id);
    grant.expires = expires_;
    grant.terminal = !options_.restrict;
    grant.key = *key_;
    const auto done = file_.add(grant);
    if (!done && done.error().error != io::KeyFileError::AlreadyThere) {
      problem_ = EndWords{Exit::LocalFile, done.error().message};
      return command_.decline("the host cannot write its authorized_keys");
    }
    added_ = done.has_value();
    if (added_) {
      access_.grant_id = grant.id;
      access_.expires = expires_;
    }
    answer_->give(access_.serialize());
  }

  const SshInviteOptions& options_;
  SessionCommand command_;
  Reporter& reporter_;
  io::AuthorizedKeysFile file_;
  std::shared_ptr<io::LateBytes> answer_;
  asio::posix::stream_descriptor input_;
  std::string typed_;
  session::SshAccess access_;
  session::SshOfferReader reader_;
  std::optional<session::SshKey> key_;
  UnixSeconds expires_{};
  bool added_ = false;
  std::optional<EndWords> problem_;
};

// ---- accept -----------------------------------------------------------------------------------------------

class Accept final : public Hooks {
public:
  explicit Accept(const SshAcceptOptions& options)
      : options_(options),
        command_(options.common, session::Direction::Receive),
        reporter_(command_.reporter()),
        home_(home()),
        received_(std::make_shared<io::ReceivedBytes>()) {}

  Exit run(session::Token token) {
    key_ = own_key();
    const std::string fingerprint = session::ssh_fingerprint(key_);
    reporter_.event("ssh-key", {{"type", Reporter::text(key_.type)},
                                {"fingerprint", Reporter::text(fingerprint)},
                                {"comment", Reporter::text(key_.comment)}});
    reporter_.essential(
        fmt::format("Your public key:\n\n  {} {} {}\n", key_.type, fingerprint, printable(key_.comment)));
    if (!options_.yes && !agrees("Show it to the other side and ask for access? [y/N] "))
      throw CommandError(Exit::Refused, "you said no; nothing was sent");
    io::SessionDriverOptions driver;
    prepare_dialer(command_, options_.common, std::move(token), session::Capability::SshInvite, driver);
    driver.session.direction = session::Direction::Receive;
    driver.make_sink = io::memory_sink(received_, session::kMaxSshAccess);
    command_.set_hooks(*this);
    command_.run_session(std::move(driver));
    return finish();
  }

  void on_claimed(const ByteArray<32>&) override {
    for (Bytes& message : session::ssh_offer_messages(key_)) command_.send_message(std::move(message));
    reporter_.line("Waiting for the other side to say yes.");
  }

  std::string done_line(Duration, const std::string&) override { return "Access granted."; }

private:
  // The one that was named, else the agent's best, else a file's.
  session::SshKey own_key() {
    const char* agent = std::getenv("SSH_AUTH_SOCK");
    if (options_.key_file.empty() && agent != nullptr && *agent != '\0') {
      const auto keys = io::ssh_agent_keys(agent);
      if (keys && !keys->empty()) return keys->front();
      if (!keys) reporter_.detail("ssh-agent", keys.error());
    }
    auto key = io::read_own_ssh_key(options_.key_file, home_);
    if (!key) throw CommandError(Exit::LocalFile, key.error());
    return *key;
  }

  Exit finish() {
    const auto access = session::SshAccess::parse(received_->bytes);
    if (!access)
      throw CommandError(Exit::Failure,
                         "the other side's answer makes no sense; are both on the same version of derphole?");
    const std::string line = session::ssh_command(*access);
    reporter_.event("ssh-access", {{"command", Reporter::text(line)},
                                   {"user", Reporter::text(access->user)},
                                   {"known_hosts", Reporter::text(session::known_hosts_lines(*access))},
                                   {"expires", Reporter::number(static_cast<std::uint64_t>(
                                                   access->expires.time_since_epoch().count()))}});
    std::string told = "\nThe host's keys:\n\n";
    for (const session::SshKey& key : access->host_keys)
      told += fmt::format("  {} {}\n", key.type, session::ssh_fingerprint(key));
    reporter_.line(told);
    remember(*access);
    if (access->expires.time_since_epoch().count() != 0)
      reporter_.line(fmt::format("Until {} you can log in with:\n", date_of(access->expires)));
    const std::string out = line + "\n";
    if (::write(STDOUT_FILENO, out.data(), out.size()) != static_cast<ssize_t>(out.size()))
      throw CommandError(Exit::LocalFile, "cannot write to the output");
    return Exit::Ok;
  }

  bool agrees(const std::string& question) { return is_yes(ask_line(reporter_, question).value_or("")); }

  // So that ssh knows the host at the first login.
  void remember(const session::SshAccess& access) {
    const std::string lines = session::known_hosts_lines(access);
    const std::string path = home_ + "/.ssh/known_hosts";
    if (!options_.yes && !at_terminal()) return;
    if (!options_.yes && !agrees("Add them to ~/.ssh/known_hosts? [y/N] ")) {
      reporter_.line("\nThe lines for it:\n\n" + lines);
      return;
    }
    const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    const bool written =
        fd >= 0 && ::write(fd, lines.data(), lines.size()) == static_cast<ssize_t>(lines.size());
    const int error = errno;
    if (fd >= 0) ::close(fd);
    if (!written)
      reporter_.line(
          fmt::format("Cannot write {} ({}). The lines for it:\n\n{}", path, std::strerror(error), lines));
  }

  const SshAcceptOptions& options_;
  SessionCommand command_;
  Reporter& reporter_;
  std::string home_;
  std::shared_ptr<io::ReceivedBytes> received_;
  session::SshKey key_;
};

}  // namespace

Exit run_ssh_invite(const SshInviteOptions& options) {
  return Invite(options).run();
}

Exit run_ssh_accept(const SshAcceptOptions& options, int argc, char** argv) {
  const std::string text = read_token_text(options.token, false);
  if (!options.token.argument.empty()) wipe_from_arguments(argc, argv, options.token.argument);
  session::Token token = parse_one_shot(text, session::Capability::SshInvite);
  if (!options.yes && !at_terminal())
    throw CommandError(Exit::Usage,
                       "there is no terminal to ask at; -y shows your key to the other side unasked");
  return Accept(options).run(std::move(token));
}

Exit run_ssh_revoke(const SshRevokeOptions& options) {
  io::AuthorizedKeysFile file = keys_of(options.user);
  const auto granted = file.list();
  if (!granted) throw CommandError(Exit::LocalFile, granted.error().message);
  std::vector<std::string> ids;
  for (const session::GrantedLine& line : *granted)
    if (options.name == "all" || line.id == options.name || line.comment == options.name)
      ids.push_back(line.id);
  if (ids.empty())
    throw CommandError(
        Exit::LocalFile,
        fmt::format("no access with the name or number {} was granted here; `derphole ssh list` shows all",
                    printable(options.name)));
  std::size_t removed = 0;
  for (const std::string& id : ids) {
    const auto done = file.revoke(id);
    if (!done) throw CommandError(Exit::LocalFile, done.error().message);
    removed += *done;
  }
  Reporter(options.common.reporter())
      .line(fmt::format("{} removed from authorized_keys. Sessions that are open stay open.",
                        removed == 1 ? std::string("One key") : fmt::format("{} keys", removed)));
  return Exit::Ok;
}

Exit run_ssh_list(const std::string& user) {
  const auto granted = keys_of(user).list();
  if (!granted) throw CommandError(Exit::LocalFile, granted.error().message);
  for (const session::GrantedLine& line : *granted)
    fmt::print("{}  {:20}  {}  until {}\n", line.id, line.type, line.comment.empty() ? "-" : line.comment,
               line.expires);
  return Exit::Ok;
}

}  // namespace dh::app
