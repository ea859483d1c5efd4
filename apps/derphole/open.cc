#include <cstdio>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/overloaded.hh"
#include "base/printable.hh"
#include "commands.hh"
#include "io/clock.hh"
#include "io/open_driver.hh"
#include "one_shot.hh"
#include "path_words.hh"
#include "session_command.hh"
#include "tunnel/codes.hh"

namespace dh::app {
namespace {

io::OpenBind parse_bind(const std::string& text) {
  io::OpenBind out;
  if (text.starts_with("unix:")) {
    out.unix_path = text.substr(5);
    if (out.unix_path.empty() || out.unix_path.size() > 100)
      throw CommandError(Exit::Usage, "a Unix socket's path has 1 to 100 characters");
    struct stat found {};
    if (::lstat(out.unix_path.c_str(), &found) == 0)
      throw CommandError(Exit::LocalFile, fmt::format("{} exists already", printable(out.unix_path)));
    return out;
  }
  std::string host = text, port_text;
  if (const std::size_t colon = text.rfind(':'); colon != std::string::npos) {
    host = text.substr(0, colon);
    port_text = text.substr(colon + 1);
  }
  if (host.empty() || host == "localhost") host = "127.0.0.1";
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  const auto address = IpAddress::parse(host);
  const auto port = parse_port(port_text, true);
  if (!address || !port)
    throw CommandError(Exit::Usage, fmt::format("not an address to listen at: {} (ADDRESS:PORT or unix:PATH)",
                                                printable(text)));
  out.endpoint = {*address, *port};
  return out;
}

EndWords words_for_failure(const session::DialFailed& failed, const std::string& trouble) {
  switch (failed.end) {
    case session::SessionEnd::NobodyThere:
      return {Exit::PeerAbsent,
              "nobody shares with this token. Is `derphole share` still running there? (--wait 2m "
              "waits longer)"};
    case session::SessionEnd::Rejected:
      if (failed.reject == session::RejectReason::Busy)
        return {Exit::PeerAbsent, "the share has as many openers as it takes. Try again later."};
      break;
    default:
      break;
  }
  session::SessionEnded end{};
  end.end = failed.end;
  end.reject = failed.reject;
  return words_for(end, trouble);
}

class OpenCommand final : public io::OpenObserver {
public:
  OpenCommand(SessionCommand& command, const std::vector<session::RelayRef>& relays)
      : command_(command), reporter_(command.reporter()) {
    for (const session::RelayRef& relay : relays) relay_hosts_.push_back(relay.host);
  }

  void on_relay_trouble(std::size_t relay, const std::string& why) override {
    last_trouble = why;
    reporter_.event("relay-trouble",
                    {{"relay", Reporter::number(std::uint64_t{relay})}, {"message", Reporter::text(why)}});
    reporter_.detail(fmt::format("relay{}-trouble", relay), why);
  }
  void on_listening(const std::string& address) override {
    reporter_.state("claimed");
    reporter_.event("listening", {{"address", Reporter::text(address)}});
    std::fputs(fmt::format("listening on {}\n", address).c_str(), stdout);
    std::fflush(stdout);
  }
  void on_event(const session::TunnelEvent& event) override {
    std::visit(Overloaded{
                   [&](const session::RelayInUse& use) {
                     relay_ = use.relay;
                     if (!direct_) relay();  // else it is only the one behind the direct path
                   },
                   [&](const session::DirectInUse& use) {
                     on_relay_ = false;
                     direct_ = true;
                     const std::string address = use.route.remote.to_string();
                     reporter_.state("connected-direct",
                                     {{"address", Reporter::text(address)},
                                      {"path", Reporter::text(badge_for(use.route))},
                                      {"rtt_ms", Reporter::number(to_seconds(use.route.rtt) * 1000)}});
                     reporter_.detail("direct", address);
                   },
                   [&](const session::DirectLost& lost) {
                     direct_ = false;
                     reporter_.detail("direct-lost", lost.why);
                     reporter_.event("direct-lost", {{"message", Reporter::text(lost.why)}});
                     relay();
                   },
                   [&](const session::PeerSilent& silent) {
                     reporter_.event("silent",
                                     {{"seconds", Reporter::number(to_seconds(io::now() - silent.since))}});
                     reporter_.line("Nothing heard from the other side; waiting for it (up to 30 minutes).");
                   },
                   [&](const session::PeerBack& back) {
                     reporter_.event("back", {{"seconds", Reporter::number(to_seconds(back.silent_for))}});
                     reporter_.line(
                         fmt::format("The other side is back after {}.", human_duration(back.silent_for)));
                   },
                   [](const auto&) {},
               },
               event);
  }
  void on_connection_reset(std::uint64_t code) override {
    if (code == static_cast<std::uint64_t>(tunnel::StreamCode::Reset)) return;  // TCP does that all day
    tell("connection-refused", std::string(tunnel::describe(code)));
  }
  void on_turned_away(const std::string& why) override { tell("turned-away", why); }
  void on_ended(const std::optional<session::DialFailed>& failed_in,
                const std::optional<session::TunnelEnded>& ended_in) override {
    failed = failed_in;
    ended = ended_in;
    command_.stop();
  }

  std::optional<session::DialFailed> failed;
  std::optional<session::TunnelEnded> ended;
  std::string last_trouble;

private:
  void relay() {
    if (on_relay_) return;
    on_relay_ = true;
    reporter_.state("connected-relay", {{"relay", Reporter::text(relay_hosts_[relay_])}});
  }
  void tell(std::string_view event, const std::string& why) {
    reporter_.event(event, {{"message", Reporter::text(why)}});
    if (last_told_ == why) return;  // once, not for each of a thousand connections
    last_told_ = why;
    reporter_.line(fmt::format("A connection failed: {}.", why));
  }

  SessionCommand& command_;
  Reporter& reporter_;
  std::vector<std::string> relay_hosts_;  // of the token, by index
  std::size_t relay_ = 0;
  bool on_relay_ = false, direct_ = false;
  std::string last_told_;
};

EndWords words_for_end(const session::TunnelEnded& ended, const std::string& trouble) {
  switch (ended.end) {
    case session::TunnelEnd::ClosedByUs:
      return {Exit::Ok, ""};
    case session::TunnelEnd::ClosedByPeer:
    case session::TunnelEnd::Replaced:
      return {Exit::PeerAbsent, "the other side stopped sharing"};
    case session::TunnelEnd::NetworkLost:
      return words_for({session::SessionEnd::NetworkLost, std::nullopt, std::nullopt}, trouble);
    case session::TunnelEnd::NoDirectPath:
      return words_for({session::SessionEnd::NoDirectPath, std::nullopt, std::nullopt}, trouble);
    case session::TunnelEnd::Broken:
      return {Exit::Failure,
              "the connection to the other side failed; are both on the same version of derphole?"};
  }
  return {Exit::Failure, "the tunnel ended"};
}

}  // namespace

Exit run_open(const OpenOptions& options, int argc, char** argv) {
  const io::OpenBind bind = parse_bind(options.bind);
  const std::string text = read_token_text(options.token, false);
  if (!options.token.argument.empty()) wipe_from_arguments(argc, argv, options.token.argument);
  session::Token token = parse_one_shot(text, session::Capability::Share);

  SessionCommand command(options.common, session::Direction::Send);
  if (bind.unix_path.empty() && !bind.endpoint.address.is_loopback())
    command.reporter().line("Other machines can reach this address: everybody there can use what is shared.");
  io::OpenDriverOptions driver;
  driver.bind = bind;
  driver.dialer.derp_key = KeyPair::generate(command.rng());
  driver.dialer.wait = options.common.wait;
  driver.dialer.paths = command.policy();
  driver.transport.relays = token.relays;
  driver.transport.derp_key = driver.dialer.derp_key;
  driver.transport.dial = command.dial_options();
  driver.transport.udp_offload = command.udp_offload();
  OpenCommand observer(command, token.relays);
  driver.dialer.token = std::move(token);

  std::optional<io::OpenDriver> open;
  try {
    open.emplace(command.context().get_executor(), std::move(driver), command.rng(), observer);
  } catch (const boost::system::system_error& error) {
    throw CommandError(
        bind.unix_path.empty() ? Exit::Failure : Exit::LocalFile,
        fmt::format("cannot listen at {}: {}", printable(options.bind), error.code().message()));
  }
  open->start();
  const bool interrupted = command.run_until_stopped([&] { open->stop(); });
  if (interrupted) return Exit::Ok;
  EndWords words{Exit::Ok, ""};
  if (observer.failed) {
    words = words_for_failure(*observer.failed, observer.last_trouble);
  } else if (observer.ended) {
    words = words_for_end(*observer.ended, observer.last_trouble);
  }
  if (words.status != Exit::Ok) throw CommandError(words.status, words.sentence);
  return Exit::Ok;
}

}  // namespace dh::app
