#pragma once

// What listen and pipe share: relays, the running session, signals, and the words for how it ended.

#include <atomic>
#include <functional>
#include <optional>
#include <string>

#include <boost/asio.hpp>

#include "exit_status.hh"
#include "io/session_driver.hh"
#include "io/system_rng.hh"
#include "options.hh"
#include "reporter.hh"

namespace dh::app {

/// The exit status and the sentence for how a session ended.
struct EndWords {
  Exit status;
  std::string sentence;
};

/// What a command adds to its session. Called on the session's executor.
class CommandHooks {
public:
  virtual ~CommandHooks() = default;
  /// Somebody has the session now.
  virtual void on_claimed(const ByteArray<32>& /*binding*/) {}
  /// The peer's command said something.
  virtual void on_message(ByteView) {}
  /// Twice a second: shows the progress. false: show the stream's bytes.
  virtual bool show_progress(std::uint64_t stream_bytes, const std::string& badge) = 0;
  /// The last line of success, from what the session knows; empty: the usual one.
  virtual std::string done_line(Duration open_for, const std::string& shares) = 0;
  /// More about it in the `done` event.
  virtual Reporter::Fields done_fields() { return {}; }
  /// Better words than the usual ones.
  virtual std::optional<EndWords> end_words(const session::SessionEnded&) { return std::nullopt; }
};

/// One session command: owns the event loop and the observer of its session.
class SessionCommand final : public io::SessionObserver {
public:
  SessionCommand(const CommonOptions& common, session::Direction direction);
  ~SessionCommand() override;

  boost::asio::io_context& context() { return context_; }
  io::SystemRng& rng() { return rng_; }
  Reporter& reporter() { return reporter_; }
  io::DialOptions dial_options() const;

  /// Runs an awaitable to its end on the loop; Ctrl-C meanwhile throws CommandError(Interrupted).
  template <class T>
  T run(boost::asio::awaitable<T> work);

  /// Runs the session until it is over. Errors: CommandError with the sentence and exit status for every bad
  /// end.
  Exit run_session(io::SessionDriverOptions options);

  /// Before run_session; outlives the session.
  void set_hooks(CommandHooks& hooks) { hooks_ = &hooks; }
  /// Ends the running session from this side; `reason` is for the peer.
  void cancel(std::string reason);
  /// The same because a person or the machine does not want what the peer asks for.
  void decline(std::string reason);
  /// To the peer's command; while the session runs.
  void send_message(Bytes message);
  /// For commands that drive something else than a session: runs the loop until stop(); the first Ctrl-C
  /// calls `on_interrupt`, which shall lead there. True: it was interrupted.
  bool run_until_stopped(std::function<void()> on_interrupt);
  /// For what may take long before there is a session: does `work` on a thread, says `while_waiting` after
  /// two seconds, and passes on what it throws. Ctrl-C sets the flag that `work` watches, and is a
  /// CommandError(Interrupted) once it has returned.
  void run_aside(const std::function<void(const std::atomic<bool>& stop)>& work, std::string while_waiting);
  void stop();
  session::PathPolicy policy() const { return policy_; }
  io::UdpOffload udp_offload() const { return udp_offload_; }

  // io::SessionObserver
  void on_claimed(const ByteArray<32>& binding) override;
  void on_relay_path(std::size_t relay, const session::RelayRef& ref) override;
  void on_direct_path(const path::Route& route) override;
  void on_direct_lost(const std::string& why) override;
  void on_relay_trouble(std::size_t relay, const std::string& why) override;
  void on_silent(Duration for_how_long) override;
  void on_back(Duration silent_for) override;
  void on_progress(std::uint64_t bytes, std::uint64_t total) override;
  void on_path_check(session::Session& session) override;
  void on_message(ByteView message) override;
  void on_ended(const session::SessionEnded& end, const io::SessionReport& report) override;

private:
  void watch_signals();
  void report_done(const io::SessionReport& report);
  void report_stopped(const bulk::StreamCounters& stream);
  void hint_at_small_buffers(const io::UdpCounters& udp);

  Reporter reporter_;
  session::Direction direction_;
  session::PathPolicy policy_;
  io::UdpOffload udp_offload_;
  // Never destroyed: its resolver thread may sit in a dead DNS for half a minute, and nobody should wait for
  // that at the end.
  boost::asio::io_context& context_ = *new boost::asio::io_context;
  boost::asio::signal_set signals_;
  io::SystemRng rng_;
  CommandHooks* hooks_ = nullptr;
  std::function<void()> on_interrupt_;
  std::optional<io::SessionDriver> driver_;
  std::optional<session::SessionEnded> ended_;
  std::string last_trouble_, relay_host_, obstacle_, badge_ = "relay";
  std::optional<Instant> claimed_at_;
  bool hint_told_ = false;
  bool path_told_ = false, interrupted_ = false, silence_told_ = false;
};

template <class T>
T SessionCommand::run(boost::asio::awaitable<T> work) {
  std::optional<T> result;
  std::exception_ptr failure;
  boost::asio::co_spawn(context_, std::move(work), [&](std::exception_ptr error, T value) {
    failure = error;
    if (!error) result.emplace(std::move(value));
    context_.stop();
  });
  context_.restart();
  context_.run();
  if (interrupted_) throw CommandError(Exit::Interrupted, "interrupted");
  if (failure) std::rethrow_exception(failure);
  return std::move(*result);
}

EndWords words_for(const session::SessionEnded& end, const std::string& last_trouble);

}  // namespace dh::app
