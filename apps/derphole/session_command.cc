#include "session_command.hh"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <string_view>
#include <thread>

#include <fmt/format.h>
#include <unistd.h>

#include "base/printable.hh"
#include "congestion.hh"
#include "io/clock.hh"
#include "path_words.hh"
#include "udp_choice.hh"

namespace dh::app {
namespace {

EndWords words_for_abort(const bulk::StreamAborted& abort) {
  const std::string reason = printable(abort.reason);
  if (!abort.by_peer) {
    switch (abort.code) {
      case bulk::AbortCode::Cancelled:
        return {Exit::Interrupted, "interrupted"};
      case bulk::AbortCode::ReadFailed:
      case bulk::AbortCode::WriteFailed:
        return {Exit::LocalFile, reason};
      case bulk::AbortCode::DigestMismatch:
        return {Exit::Integrity,
                "what arrived is not what was sent; nothing of it should be used. Try again."};
      case bulk::AbortCode::ProtocolError:
        return {Exit::Failure,
                "the other side breaks the protocol; are both on the same version of derphole?"};
      case bulk::AbortCode::Internal:
        return {Exit::Failure, reason};
      case bulk::AbortCode::Declined:
        return {Exit::Refused, reason};
    }
  }
  switch (abort.code) {
    case bulk::AbortCode::Cancelled:
      return {Exit::Refused, "the other side cancelled"};
    case bulk::AbortCode::ReadFailed:
    case bulk::AbortCode::WriteFailed:
      return {Exit::Failure, "the other side " + reason};
    case bulk::AbortCode::DigestMismatch:
      return {Exit::Integrity, "the other side got something else than was sent. Try again."};
    case bulk::AbortCode::ProtocolError:
      return {Exit::Failure,
              "the other side says we break the protocol; are both on the same version of derphole?"};
    case bulk::AbortCode::Internal:
      return {Exit::Failure, "the other side failed: " + reason};
    case bulk::AbortCode::Declined:
      return {Exit::Refused, "the other side did not take it: " + reason};
  }
  return {Exit::Failure, "the stream was aborted"};
}

EndWords words_for_reject(session::RejectReason reason) {
  switch (reason) {
    case session::RejectReason::AlreadyClaimed:
      return {Exit::BadToken, "somebody else has already used this token. Ask for a new one."};
    case session::RejectReason::Expired:
      return {Exit::BadToken, "the token has expired. Ask for a new one."};
    case session::RejectReason::WrongCapability:
      return {Exit::BadToken, "the token was made for another command. Ask which one, or for a new token."};
    case session::RejectReason::WrongVersion:
      return {Exit::Failure,
              "the other side speaks another version of the protocol. Update derphole on both sides."};
    case session::RejectReason::Declined:
      return {Exit::Refused, "the other side said no"};
    case session::RejectReason::Busy:
      return {Exit::PeerAbsent, "the other side is busy. Try again in a moment."};
  }
  return {Exit::Failure, "the other side refused"};
}

constexpr Duration kPatience = 2s;    // no longer without a word
constexpr Duration kHintAfter = 10s;  // on the relay: then the person is told why, once

// `direct 97%, relay 3%`; never rounds a share that exists to nothing.
std::string share_words(double relay_share) {
  if (relay_share >= 1) return "relay 100%";
  if (relay_share <= 0) return "direct 100%";
  const int relay = std::clamp(static_cast<int>(std::lround(relay_share * 100)), 1, 99);
  return fmt::format("direct {}%, relay {}%", 100 - relay, relay);
}

session::PathPolicy policy_of(const CommonOptions& common) {
  if (common.force_relay && common.require_direct)
    throw CommandError(Exit::Usage, "--force-relay and --require-direct exclude each other");
  if (common.force_relay) return session::PathPolicy::ForceRelay;
  return common.require_direct ? session::PathPolicy::RequireDirect : session::PathPolicy::Best;
}

}  // namespace

EndWords words_for(const session::SessionEnded& end, const std::string& last_trouble) {
  const std::string trouble = last_trouble.empty() ? "" : fmt::format(" ({})", printable(last_trouble));
  switch (end.end) {
    case session::SessionEnd::Complete:
      return {Exit::Ok, ""};
    case session::SessionEnd::Rejected:
      return words_for_reject(end.reject.value_or(session::RejectReason::Busy));
    case session::SessionEnd::NobodyThere:
      return {Exit::PeerAbsent,
              "nobody is listening for this token. Is `derphole listen` still running there? "
              "(--wait 2m waits longer)"};
    case session::SessionEnd::NoRelay:
      return {Exit::PeerAbsent, "none of the token's relays can be reached from here" + trouble};
    case session::SessionEnd::TokenRefused:
      return {Exit::BadToken, "the listener does not accept this token. Copy it again, whole."};
    case session::SessionEnd::ListenerSilent:
      return {Exit::BadToken,
              "the listener's relay address is in use, but does not answer to this token. Copy it again, "
              "whole, or ask for a new one."};
    case session::SessionEnd::Expired:
      return {Exit::BadToken, "the token has expired. Ask for a new one."};
    case session::SessionEnd::Aborted:
      return words_for_abort(*end.abort);
    case session::SessionEnd::NetworkLost:
      return {Exit::NetworkLost, "nothing was heard from the other side for 30 minutes; giving up" + trouble};
    case session::SessionEnd::NoDirectPath:
      return {Exit::NetworkLost, "no direct path was found, and --require-direct forbids the relay"};
  }
  return {Exit::Failure, "the session ended"};
}

SessionCommand::SessionCommand(const CommonOptions& common, session::Direction direction)
    : reporter_(common.reporter()),
      direction_(direction),
      policy_(policy_of(common)),
      udp_offload_(udp_offload_from_environment()),
      signals_(context_, SIGINT, SIGTERM, SIGHUP) {
  std::signal(SIGPIPE, SIG_IGN);
  watch_signals();
}

SessionCommand::~SessionCommand() = default;

io::DialOptions SessionCommand::dial_options() const {
  io::DialOptions options;
  options.proxy = io::ProxyConfig::from_environment();
  return options;
}

// The first signal says goodbye to the peer, the second one quits at once.
void SessionCommand::watch_signals() {
  signals_.async_wait([this](boost::system::error_code error, int) {
    if (error) return;
    if (interrupted_) ::_exit(static_cast<int>(Exit::Interrupted));
    interrupted_ = true;
    if (driver_) {
      driver_->cancel("interrupted");
    } else if (on_interrupt_) {
      on_interrupt_();
    } else {
      context_.stop();
    }
    watch_signals();
  });
}

bool SessionCommand::run_until_stopped(std::function<void()> on_interrupt) {
  on_interrupt_ = std::move(on_interrupt);
  context_.restart();
  context_.run();
  on_interrupt_ = nullptr;
  return interrupted_;
}

void SessionCommand::run_aside(const std::function<void(const std::atomic<bool>& stop)>& work,
                               std::string while_waiting) {
  std::atomic<bool> stop = false;
  std::exception_ptr failed;
  on_interrupt_ = [&stop] { stop = true; };
  boost::asio::steady_timer patience(context_, kPatience);
  // Its own copy: a handler that is due when the loop stops runs with the next one.
  patience.async_wait([this, text = std::move(while_waiting)](boost::system::error_code error) {
    if (!error) reporter_.line(text);
  });
  const auto busy = boost::asio::make_work_guard(context_);
  std::thread worker([&] {
    try {
      work(stop);
    } catch (...) {
      failed = std::current_exception();
    }
    boost::asio::post(context_, [this] { context_.stop(); });
  });
  context_.restart();
  context_.run();
  worker.join();
  on_interrupt_ = nullptr;
  if (interrupted_) throw CommandError(Exit::Interrupted, "interrupted");
  if (failed) std::rethrow_exception(failed);
}

void SessionCommand::stop() {
  signals_.cancel();
  context_.stop();
}

Exit SessionCommand::run_session(io::SessionDriverOptions options) {
  const bool listens = options.session.role == session::Role::Listener;
  options.session.paths = policy_;
  options.udp_offload = for_session(udp_offload_, options.session);
  driver_.emplace(context_.get_executor(), std::move(options), rng_, *this);
  driver_->start();
  context_.restart();
  context_.run();
  reporter_.clear_progress();
  EndWords words = words_for(*ended_, last_trouble_);
  if (ended_->end == session::SessionEnd::Expired && listens)
    words = {Exit::PeerAbsent, "nobody came while the token was valid. Run the command again for a new one."};
  if (ended_->end == session::SessionEnd::NoDirectPath && !obstacle_.empty())
    words.sentence += ": " + obstacle_;
  if (hooks_ != nullptr && !interrupted_) {
    if (auto better = hooks_->end_words(*ended_)) words = std::move(*better);
  }
  if (words.status != Exit::Ok) throw CommandError(words.status, words.sentence);
  return Exit::Ok;
}

void SessionCommand::cancel(std::string reason) {
  if (driver_) driver_->cancel(std::move(reason));
}

void SessionCommand::decline(std::string reason) {
  if (driver_) driver_->abort(bulk::AbortCode::Declined, std::move(reason));
}

void SessionCommand::on_claimed(const ByteArray<32>& binding) {
  claimed_at_ = io::now();
  if (hooks_ != nullptr) hooks_->on_claimed(binding);
  reporter_.state("claimed");
  if (policy_ != session::PathPolicy::ForceRelay) reporter_.state("probing-direct");
}

void SessionCommand::on_relay_path(std::size_t relay, const session::RelayRef& ref) {
  relay_host_ = ref.host;
  if (!path_told_ && policy_ != session::PathPolicy::RequireDirect)
    reporter_.state("connected-relay", {{"relay", Reporter::text(ref.host)}});
  path_told_ = true;
  reporter_.detail("relay", fmt::format("{} {}:{}", relay, ref.host, ref.port));
}

void SessionCommand::on_direct_path(const path::Route& route) {
  const std::string address = route.remote.to_string();
  if (badge_ == "relay")
    reporter_.state("connected-direct", {{"address", Reporter::text(address)},
                                         {"path", Reporter::text(badge_for(route))},
                                         {"rtt_ms", Reporter::number(to_seconds(route.rtt) * 1000)}});
  badge_ = badge_for(route);
  reporter_.detail("direct",
                   fmt::format("{} {} rtt={:.1f}ms", badge_, address, to_seconds(route.rtt) * 1000));
}

void SessionCommand::on_direct_lost(const std::string& why) {
  badge_ = "relay";
  reporter_.detail("direct-lost", why);
  reporter_.event("direct-lost", {{"message", Reporter::text(why)}});
  if (policy_ != session::PathPolicy::RequireDirect)
    reporter_.state("connected-relay", {{"relay", Reporter::text(relay_host_)}});
}

void SessionCommand::on_path_check(session::Session& session) {
  if (reporter_.json() && reporter_.verbose())
    if (const auto report = session.controller_report())
      reporter_.event("congestion", congestion_fields(*report));
  if (policy_ == session::PathPolicy::ForceRelay || session.paths() == nullptr) return;
  if (!session.paths()->current()) obstacle_ = words_for(session.paths()->obstacle());
  if (hint_told_ || badge_ != "relay" || !claimed_at_ || io::now() - *claimed_at_ < kHintAfter) return;
  hint_told_ = true;
  reporter_.event("relay-hint", {{"message", Reporter::text(obstacle_)}});
  reporter_.line("Still on the relay: " + obstacle_ + ".");
}

void SessionCommand::on_relay_trouble(std::size_t relay, const std::string& why) {
  last_trouble_ = why;
  reporter_.event("relay-trouble",
                  {{"relay", Reporter::number(std::uint64_t{relay})}, {"message", Reporter::text(why)}});
  reporter_.detail(fmt::format("relay{}-trouble", relay), why);
}

void SessionCommand::on_silent(Duration for_how_long) {
  if (silence_told_) return;  // once per silence
  silence_told_ = true;
  reporter_.event("silent", {{"seconds", Reporter::number(to_seconds(for_how_long))}});
  reporter_.line("Nothing heard from the other side; waiting for it (up to 30 minutes, Ctrl-C gives up).");
}

void SessionCommand::on_back(Duration silent_for) {
  silence_told_ = false;
  reporter_.event("back", {{"seconds", Reporter::number(to_seconds(silent_for))}});
  reporter_.line(fmt::format("The other side is back after {}.", human_duration(silent_for)));
}

void SessionCommand::send_message(Bytes message) {
  if (driver_) driver_->send_message(std::move(message));
}

void SessionCommand::on_message(ByteView message) {
  if (hooks_ != nullptr) hooks_->on_message(message);
}

void SessionCommand::on_progress(std::uint64_t bytes, std::uint64_t total) {
  if (hooks_ != nullptr && hooks_->show_progress(bytes, badge_)) return;
  reporter_.progress(bytes, total, badge_, io::now());
}

void SessionCommand::on_ended(const session::SessionEnded& end, const io::SessionReport& report) {
  ended_ = end;
  if (end.end == session::SessionEnd::Complete) {
    hint_at_small_buffers(report.udp);
    report_done(report);
  } else {
    report_stopped(report.counters.stream);
  }
  signals_.cancel();
  context_.stop();
}

void SessionCommand::report_done(const io::SessionReport& report) {
  const session::SessionCounters& counters = report.counters;
  const std::uint64_t bytes = counters.stream.stream_bytes;
  const double seconds = std::max(1e-9, to_seconds(report.open_for));
  const double rate = static_cast<double>(bytes) / seconds;
  std::uint64_t by_relay = 0;
  for (const std::uint64_t relay : counters.relay_bytes) by_relay += relay;
  const double all = static_cast<double>(std::max<std::uint64_t>(1, by_relay + counters.direct_bytes));
  const double relay_share = counters.direct_bytes == 0 ? 1.0 : static_cast<double>(by_relay) / all;
  reporter_.state("stream-complete");
  reporter_.detail("resent-bytes", fmt::format("{}", counters.stream.resent_bytes));
  reporter_.detail("packets-lost", fmt::format("{}", counters.stream.packets_lost));
  reporter_.detail("forged-packets", fmt::format("{}", counters.stream.forged));
  Reporter::Fields fields = {
      {"bytes", Reporter::number(bytes)},
      {"seconds", Reporter::number(seconds)},
      {"bytes_per_second", Reporter::number(static_cast<std::uint64_t>(rate))},
      {"resent_bytes", Reporter::number(counters.stream.resent_bytes)},
      {"wire_bytes_sent", Reporter::number(counters.stream.bytes_on_wire_sent)},
      {"wire_bytes_received", Reporter::number(counters.stream.bytes_on_wire_received)},
      {"packets_sent", Reporter::number(counters.stream.packets_sent)},
      {"packets_received", Reporter::number(counters.stream.packets_received)},
      {"packets_lost", Reporter::number(counters.stream.packets_lost)},
      {"spurious_losses", Reporter::number(counters.stream.spurious_losses)},
      {"relay_bytes", Reporter::number(by_relay)},
      {"direct_bytes", Reporter::number(counters.direct_bytes)},
      {"relay_share", Reporter::number(relay_share)},
      {"lanes", Reporter::number(counters.lanes)},
      {"min_rtt_seconds",
       Reporter::number(to_seconds(report.congestion ? report.congestion->min_rtt : Duration{}))},
      {"socket_drops", Reporter::number(report.udp.receive_dropped)},
      {"socket_buffer_bytes", Reporter::number(report.udp.receive_buffer_bytes)}};
  if (direction_ == session::Direction::Send) {
    const auto held = [&](bulk::HeldBy by) {
      return to_seconds(counters.held[static_cast<std::size_t>(by)]);
    };
    const Reporter::Fields waits = {
        {"source_limited_seconds", Reporter::number(held(bulk::HeldBy::Source))},
        {"receiver_limited_seconds", Reporter::number(held(bulk::HeldBy::Receiver))},
        {"path_limited_seconds", Reporter::number(held(bulk::HeldBy::Path))},
        {"rate_limited_seconds", Reporter::number(held(bulk::HeldBy::Limit))},
        {"host_limited_seconds", Reporter::number(held(bulk::HeldBy::Host))}};
    fields.insert(fields.end(), waits.begin(), waits.end());
    reporter_.detail(
        "waited", fmt::format("input {:.1f} s, reader {:.1f} s, network {:.1f} s, rate limit {:.1f} s, "
                              "this machine {:.1f} s",
                              held(bulk::HeldBy::Source), held(bulk::HeldBy::Receiver),
                              held(bulk::HeldBy::Path), held(bulk::HeldBy::Limit), held(bulk::HeldBy::Host)));
    if (report.congestion) {
      const Reporter::Fields control = congestion_fields(*report.congestion);
      fields.insert(fields.end(), control.begin(), control.end());
      reporter_.detail("congestion", congestion_words(*report.congestion));
    }
  }
  std::string line;
  if (hooks_ != nullptr) {
    const Reporter::Fields more = hooks_->done_fields();
    fields.insert(fields.end(), more.begin(), more.end());
    line = hooks_->done_line(report.open_for, share_words(relay_share));
  }
  reporter_.event("done", fields);
  if (!line.empty()) return reporter_.line(line);
  reporter_.line(fmt::format("{} {} in {}, {}, {}",
                             direction_ == session::Direction::Send ? "sent" : "received", human_bytes(bytes),
                             human_duration(report.open_for), human_rate(rate), share_words(relay_share)));
}

// What a try that did not come to its end has moved: whoever counts what is sent twice needs it.
void SessionCommand::report_stopped(const bulk::StreamCounters& stream) {
  reporter_.event("stopped", {{"bytes", Reporter::number(stream.stream_bytes)},
                              {"wire_bytes_sent", Reporter::number(stream.bytes_on_wire_sent)},
                              {"wire_bytes_received", Reporter::number(stream.bytes_on_wire_received)},
                              {"resent_bytes", Reporter::number(stream.resent_bytes)}});
}

void SessionCommand::hint_at_small_buffers(const io::UdpCounters& udp) {
  constexpr std::uint64_t kWanted = io::UdpSockets::kBufferBytes;
  if (udp.receive_dropped == 0 || udp.receive_buffer_bytes >= kWanted) return;
  const std::string words = fmt::format(
      "{} datagrams found this machine's UDP buffer full and were sent again. For more speed, as root: "
      "sysctl -w "
      "net.core.rmem_max={}",
      udp.receive_dropped, kWanted);
  reporter_.event("buffer-hint", {{"message", Reporter::text(words)}});
  reporter_.line(words);
}

}  // namespace dh::app
