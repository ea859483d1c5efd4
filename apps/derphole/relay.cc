#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include <boost/asio.hpp>
#include <fmt/format.h>

#include "commands.hh"
#include "io/clock.hh"
#include "io/derp_server.hh"
#include "io/local_addresses.hh"
#include "io/relay_state.hh"
#include "io/system_rng.hh"
#include "session/server_url.hh"

namespace dh::app {
namespace {

namespace asio = boost::asio;

constexpr std::uint16_t kStunPort = 3478;
constexpr Duration kReconnectIn = 500ms;  // spreads the clients of a restarting relay
constexpr Duration kTryFor = 30s;

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  if (!in || !(out << in.rdbuf())) {
    throw CommandError(Exit::LocalFile, fmt::format("cannot read {}: {}", path, std::strerror(errno)));
  }
  return out.str();
}

// `1.2.3.4:80`, `[::]:80`, `:80` (all IPv4 addresses).
Endpoint parse_endpoint(const std::string& text, std::string_view flag) {
  const auto endpoint = Endpoint::parse(text.starts_with(':') ? "0.0.0.0" + text : text);
  if (!endpoint) {
    throw CommandError(Exit::Usage,
                       fmt::format("{} takes ADDRESS:PORT like 0.0.0.0:8443, not {}", flag, text));
  }
  return *endpoint;
}

std::vector<Endpoint> everywhere() {
  constexpr std::uint16_t kPort = 8443;
  std::vector<Endpoint> out = {{IpAddress{}, kPort}};
  if (std::ifstream("/proc/net/if_inet6").good())
    out.push_back({IpAddress::v6({}), kPort});  // the kernel has IPv6
  return out;
}

std::vector<Endpoint> stun_endpoints(const RelayOptions& options, const std::vector<Endpoint>& listen) {
  std::vector<Endpoint> out;
  if (options.stun == "off") return out;
  if (options.stun == "auto") {
    for (const Endpoint& endpoint : listen) {
      const Endpoint stun{endpoint.address, kStunPort};
      if (std::find(out.begin(), out.end(), stun) == out.end()) out.push_back(stun);
    }
    return out;
  }
  std::string rest = options.stun;
  while (!rest.empty()) {
    const auto comma = rest.find(',');
    out.push_back(parse_endpoint(rest.substr(0, comma), "--stun"));
    rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
  }
  return out;
}

// The name that the printed --derp-server value carries.
std::string public_host(const RelayOptions& options, const std::vector<Endpoint>& bound) {
  if (!options.hostname.empty()) return options.hostname;
  for (const Endpoint& endpoint : bound) {
    if (!endpoint.address.is_unspecified()) return endpoint.address.to_string();
  }
  const auto addresses = io::local_addresses();
  return addresses.empty() ? "127.0.0.1" : addresses.front().to_string();
}

}  // namespace

Exit run_relay(const RelayOptions& options) {
  std::signal(SIGPIPE, SIG_IGN);
  Reporter reporter(options.common.reporter());
  if (options.cert.empty() != options.key.empty())
    throw CommandError(Exit::Usage, "--cert and --key go together");
  if (options.plain_http && !options.cert.empty())
    throw CommandError(Exit::Usage, "--plain-http has no certificate");

  io::DerpServerOptions server_options;
  for (const std::string& text : options.listen)
    server_options.listen.push_back(parse_endpoint(text, "--listen"));
  if (options.listen.empty()) server_options.listen = everywhere();
  server_options.stun = stun_endpoints(options, server_options.listen);
  if (!options.metrics.empty()) server_options.metrics = parse_endpoint(options.metrics, "--metrics");
  server_options.core.client_rate_bytes = options.client_rate;

  io::SystemRng rng;
  const auto from_environment = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  const io::RelayState state = io::load_relay_state(
      io::relay_state_directory(from_environment("XDG_STATE_HOME"), from_environment("HOME")),
      {public_host(options, server_options.listen)}, io::wall_now(), rng);
  server_options.key = state.key;
  if (!options.cert.empty()) {
    server_options.tls = io::TlsIdentity{read_file(options.cert), read_file(options.key)};
  } else if (!options.plain_http) {
    server_options.tls = state.tls;
  }

  asio::io_context context;
  io::DerpServer server(context.get_executor(), server_options, rng);
  server.start();

  session::RelayRef ref;
  ref.host = public_host(options, server.endpoints());
  ref.port = server.endpoints().front().port;
  ref.plain_http = options.plain_http;
  if (options.cert.empty()) ref.pin = server.pin();
  if (!server.stun_endpoints().empty()) ref.stun_port = server.stun_endpoints().front().port;
  const std::string url = session::format_server_url(ref);

  reporter.event("relay", {{"derp_server", Reporter::text(url)},
                           {"public_key", Reporter::text("nodekey:" + server.public_key().to_hex())}});
  for (const Endpoint& endpoint : server.endpoints()) reporter.line("DERP relay on " + endpoint.to_string());
  for (const Endpoint& endpoint : server.stun_endpoints()) reporter.line("STUN on " + endpoint.to_string());
  if (const auto metrics = server.metrics_endpoint())
    reporter.line("Metrics on http://" + metrics->to_string() + "/metrics");
  reporter.line("On both machines, use it with:\n");
  reporter.essential("--derp-server '" + url + "'");  // quoted: shells read meaning into ? and &
  reporter.line("\nCtrl-C stops it.");

  asio::signal_set signals(context, SIGINT, SIGTERM);
  signals.async_wait([&](boost::system::error_code error, int) {
    if (error) return;
    reporter.line("Stopping: clients are told to reconnect.");
    signals.async_wait([&](boost::system::error_code again, int) {
      if (!again) context.stop();
    });
    asio::co_spawn(context, server.drain(kReconnectIn, kTryFor), [&](std::exception_ptr) { context.stop(); });
  });
  context.run();
  server.stop();
  return Exit::Ok;
}

}  // namespace dh::app
