#include <map>
#include <set>

#include <fmt/format.h>
#include <unistd.h>

#include "base/overloaded.hh"
#include "base/printable.hh"
#include "commands.hh"
#include "io/clock.hh"
#include "io/resolve.hh"
#include "io/share_driver.hh"
#include "one_shot.hh"
#include "path_words.hh"

namespace dh::app {
namespace {

constexpr auto kForever = std::chrono::hours(24) * 3650;  // the process ends before the token does
constexpr Duration kResolveLimit = 10s;

// Where cloud machines hand out their credentials; 169.254.169.254 is link-local anyway.
bool tells_secrets(const IpAddress& address) {
  return address.is_link_local() || address == IpAddress::parse("fd00:ec2::254") ||
         address == IpAddress::parse("100.100.100.200");
}

io::ShareTarget parse_target(SessionCommand& command, const ShareOptions& options) {
  io::ShareTarget out;
  const std::string& text = options.target;
  out.name = text;
  if (text.starts_with("unix:")) {
    out.unix_path = text.substr(5);
    if (out.unix_path.empty() || out.unix_path.size() > 100)
      throw CommandError(Exit::Usage, "a Unix socket's path has 1 to 100 characters");
    return out;
  }
  const std::size_t colon = text.rfind(':');
  const auto port = colon == std::string::npos ? std::nullopt : parse_port(text.substr(colon + 1));
  if (!port)
    throw CommandError(Exit::Usage, fmt::format("not HOST:PORT, :PORT or unix:PATH: {}", printable(text)));
  std::string host = text.substr(0, colon);
  if (host.empty()) host = "127.0.0.1";
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  std::vector<IpAddress> addresses;
  if (const auto literal = IpAddress::parse(host)) {
    addresses = {*literal};
  } else {
    auto found = command.run(io::resolve(host, io::now() + kResolveLimit));
    if (!found)
      throw CommandError(Exit::Failure, fmt::format("cannot look up {}: {}", printable(host), found.error()));
    addresses = std::move(*found);
  }
  for (const IpAddress& address : addresses) {
    if (tells_secrets(address) && !options.allow_link_local)
      throw CommandError(Exit::Usage,
                         fmt::format("{} is a link-local or metadata address, where machines keep secrets. "
                                     "--allow-link-local shares it all the same.",
                                     address.to_string()));
    out.endpoints.push_back({address, *port});
  }
  if (out.endpoints.empty())
    throw CommandError(Exit::Failure, fmt::format("{} has no address", printable(host)));
  return out;
}

class ShareCommand final : public io::ShareObserver {
public:
  explicit ShareCommand(SessionCommand& command) : command_(command), reporter_(command.reporter()) {}

  void on_relay_trouble(std::size_t relay, const std::string& why) override {
    reporter_.event("relay-trouble",
                    {{"relay", Reporter::number(std::uint64_t{relay})}, {"message", Reporter::text(why)}});
    reporter_.detail(fmt::format("relay{}-trouble", relay), why);
  }
  void on_client(session::PeerId peer, const PublicKey& key) override {
    names_[peer] = fmt::format("client{}", ++count_);
    reporter_.event("client",
                    {{"client", Reporter::text(names_[peer])}, {"key", Reporter::text(key.short_name())}});
    reporter_.state("claimed");
    reporter_.detail("client", names_[peer]);
    reporter_.line(fmt::format("{} is connected.", names_[peer]));
  }
  void on_client_event(session::PeerId peer, const session::TunnelEvent& event) override {
    const std::string name = names_[peer];
    std::visit(Overloaded{
                   [&](const session::RelayInUse&) {
                     if (!direct_.contains(peer)) path(name, "relay", "");
                   },
                   [&](const session::DirectInUse& use) {
                     direct_.insert(peer);
                     path(name, std::string(badge_for(use.route)), use.route.remote.to_string());
                   },
                   [&](const session::DirectLost& lost) {
                     direct_.erase(peer);
                     reporter_.detail(name + "-direct-lost", lost.why);
                     path(name, "relay", "");
                   },
                   [&](const session::PeerSilent&) { reporter_.detail(name, "silent"); },
                   [&](const session::PeerBack&) { reporter_.detail(name, "back"); },
                   [&](const session::TunnelEnded& ended) {
                     names_.erase(peer);
                     direct_.erase(peer);
                     const std::string why(to_string(ended.end));
                     reporter_.event("client-gone",
                                     {{"client", Reporter::text(name)}, {"why", Reporter::text(why)}});
                     reporter_.line(ended.end == session::TunnelEnd::ClosedByPeer
                                        ? fmt::format("{} has left.", name)
                                        : fmt::format("{} is gone ({}).", name, why));
                   },
                   [](const auto&) {},
               },
               event);
  }
  void on_connection(session::PeerId peer, std::size_t open) override {
    reporter_.event("connection", {{"client", Reporter::text(names_[peer])},
                                   {"open", Reporter::number(static_cast<std::uint64_t>(open))}});
    reporter_.detail("connection", fmt::format("{} open={}", names_[peer], open));
  }
  void on_target_trouble(session::PeerId peer, tunnel::StreamCode code, const std::string& why) override {
    reporter_.event("target-trouble", {{"client", Reporter::text(names_[peer])},
                                       {"code", Reporter::number(static_cast<std::uint64_t>(code))},
                                       {"message", Reporter::text(why)}});
    if (last_trouble_ == why) return;  // once, not for each of a thousand connections
    last_trouble_ = why;
    reporter_.line(fmt::format("A connection to the shared address failed: {}.", why));
  }
  void on_stopped() override { command_.stop(); }

private:
  void path(const std::string& name, const std::string& badge, const std::string& address) {
    if (badge == "relay") {
      reporter_.state("connected-relay", {{"client", Reporter::text(name)}});
    } else {
      reporter_.state("connected-direct", {{"client", Reporter::text(name)},
                                           {"path", Reporter::text(badge)},
                                           {"address", Reporter::text(address)}});
    }
    reporter_.detail(name, badge == "relay" ? badge : badge + " " + address);
  }

  SessionCommand& command_;
  Reporter& reporter_;
  std::map<session::PeerId, std::string> names_;
  std::set<session::PeerId> direct_;  // whose bytes do not use the relay
  std::uint64_t count_ = 0;
  std::string last_trouble_;
};

}  // namespace

Exit run_share(const ShareOptions& options) {
  SessionCommand command(options.common, session::Direction::Receive);
  Reporter& reporter = command.reporter();
  io::ShareDriverOptions driver;
  driver.target = parse_target(command, options);
  const ChosenRelays chosen = choose_relays(command, options.common);

  session::TunnelListenerConfig& listener = driver.listener;
  const KeyPair derp_key = KeyPair::generate(command.rng());
  listener.noise_key = KeyPair::generate(command.rng());
  listener.max_clients = options.max_clients;
  listener.paths = command.policy();
  session::Token& token = listener.token;
  command.rng().fill(token.session_id);
  command.rng().fill(token.psk.expose_mutable());
  token.expires = io::wall_now() + kForever;
  token.capabilities = static_cast<std::uint32_t>(session::Capability::Share);
  token.relays = chosen.relays;
  token.listener_derp = derp_key.pub;
  token.listener_noise = listener.noise_key.pub;

  io::TunnelTransportOptions& transport = driver.transport;
  transport.relays = token.relays;
  transport.derp_key = derp_key;
  transport.dial = command.dial_options();
  transport.udp_offload = command.udp_offload();
  if (chosen.own) {
    transport.own_relay = token.relays.size() - 1;
    transport.own_relay_endpoint = chosen.own->loopback();
  }

  const std::string text = session::format_token(token);
  if (options.print_token_only) {
    const std::string line = text + "\n";
    if (::write(STDOUT_FILENO, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
      throw CommandError(Exit::LocalFile, "cannot write the token to the output");
  }
  reporter.event("token",
                 {{"token", Reporter::text(text)}, {"command", Reporter::text("derphole open " + text)}});
  if (!options.print_token_only) {
    reporter.line(fmt::format("Sharing {}. On the other machine, run:\n", printable(driver.target.name)));
    reporter.essential("derphole open " + text);
    reporter.line(
        fmt::format("\nThe token is good for as long as this runs, for up to {} at once. Ctrl-C stops.",
                    options.max_clients));
  }
  reporter.state("waiting-for-claim");

  ShareCommand observer(command);
  io::ShareDriver share(command.context().get_executor(), std::move(driver), command.rng(), observer);
  share.start();
  command.run_until_stopped([&] { share.stop(); });
  return Exit::Ok;
}

}  // namespace dh::app
