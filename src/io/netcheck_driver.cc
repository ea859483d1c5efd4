#include "io/netcheck_driver.hh"

#include <algorithm>
#include <array>
#include <cerrno>

#include "io/asio_address.hh"
#include "io/clock.hh"
#include "io/local_addresses.hh"
#include "io/relay_reach.hh"
#include "io/resolve.hh"
#include "io/system_rng.hh"
#include "io/use_result.hh"
#include "path/netcheck.hh"
#include "session/relay_pick.hh"
#include "session/server_url.hh"

namespace dh::io {
namespace {

using asio::ip::udp;
using path::NetcheckSocket;

constexpr std::size_t kMaxServers = 16;      // --derp-server values
constexpr std::size_t kMaxDials = 16;        // relays dialed where UDP is silent
constexpr std::size_t kNearDials = 3;        // relays dialed where STUN says which are near
constexpr std::size_t kParallelDials = 8;    // a guest does not storm a fleet
constexpr std::size_t kSmallMap = 4;         // regions; in a larger map one node of each is asked
constexpr std::size_t kNodesOfSmallMap = 4;  // per region
constexpr Duration kOneWillDo = 1500ms;      // from then on, one relay that connects is enough
constexpr std::size_t kDatagram = 1500;      // bytes; STUN answers have less than 100

// Where a relay's STUN server is.
struct StunServerName {
  std::string host;           // asked of DNS unless empty
  bool v4 = true, v6 = true;  // families DNS is asked for
  std::vector<IpAddress> addresses;
  std::uint16_t port = 0;
};

struct Relay {
  std::string name;
  std::optional<session::RelayRef> dialable;
  std::vector<StunServerName> stun;
};

Relay relay_of(const session::RelayRef& ref) {
  Relay out;
  out.name = session::relay_name(ref);
  out.dialable = ref;
  if (!ref.stun_port) return out;
  StunServerName stun;
  stun.host = ref.host;
  stun.addresses = ref.addresses;
  stun.port = *ref.stun_port;
  if (!stun.addresses.empty()) stun.host.clear();
  if (const auto literal = IpAddress::parse(ref.host)) {
    stun.host.clear();
    if (stun.addresses.empty()) stun.addresses = {*literal};
  }
  out.stun.push_back(std::move(stun));
  return out;
}

std::optional<StunServerName> stun_of(const derp::DerpNode& node) {
  if (!node.stun_port) return std::nullopt;
  StunServerName out;
  out.port = *node.stun_port;
  if (node.stun_test_ip) {
    out.addresses = {*node.stun_test_ip};
    return out;
  }
  using Kind = derp::NodeAddress::Kind;
  for (const derp::NodeAddress* address : {&node.ipv4, &node.ipv6})
    if (address->kind == Kind::Fixed) out.addresses.push_back(address->address);
  out.v4 = node.ipv4.kind == Kind::Resolve;
  out.v6 = node.ipv6.kind == Kind::Resolve;
  if (const auto literal = IpAddress::parse(node.host_name)) {
    if (literal->is_v4() ? out.v4 : out.v6) out.addresses.push_back(*literal);
  } else if (out.v4 || out.v6) {
    out.host = node.host_name;
  }
  return out;
}

std::vector<Relay> relays_of(const derp::DerpMap& map) {
  std::vector<Relay> out;
  const std::size_t nodes = map.regions.size() <= kSmallMap ? kNodesOfSmallMap : 1;
  for (const auto& [id, region] : map.regions) {
    if (region.no_measure_no_home) continue;
    Relay relay;
    relay.name = region.code.empty() ? std::to_string(id) : region.code;
    for (const derp::DerpNode& node : region.nodes) {
      if (!relay.dialable) relay.dialable = session::relay_ref(id, node);
      auto stun = stun_of(node);
      if (stun && relay.stun.size() < nodes) relay.stun.push_back(std::move(*stun));
    }
    if (relay.dialable || !relay.stun.empty()) out.push_back(std::move(relay));
  }
  return out;
}

// One check; shared with its coroutines, which end soon after `over`.
struct Run : std::enable_shared_from_this<Run> {
  struct Socket {
    udp::socket socket;
    NetcheckSocket role;
  };

  asio::any_io_executor executor;
  NetcheckOptions options;
  std::vector<Relay> relays;
  Instant started;
  SystemRng rng;
  std::vector<Socket> v4, v6;  // Main, Second; empty where the family is not usable
  asio::steady_timer wake;
  std::optional<path::Netcheck> check;
  std::size_t lookups = 0;
  bool over = false;

  bool dialing = false;
  std::vector<std::size_t> to_dial;  // relays, nearest first
  std::size_t dials_busy = 0;
  std::vector<path::RelayReport> dialed;  // by relay
  bool asking_router = false;

  Run(asio::any_io_executor on, NetcheckOptions with, std::vector<Relay> over_relays)
      : executor(on),
        options(std::move(with)),
        relays(std::move(over_relays)),
        started(now()),
        wake(executor),
        dialed(relays.size()) {
    path::NetcheckConfig config;
    config.v4 = open(v4, udp::v4());
    config.v6 = open(v6, udp::v6());
    config.local_addresses = local_addresses();
    config.relays = relays.size();
    config.budget = options.budget;
    check.emplace(std::move(config), started, rng);
  }

  path::NetcheckConfig::Family open(std::vector<Socket>& into, udp family) const {
    for (const NetcheckSocket role : {NetcheckSocket::Main, NetcheckSocket::Second}) {
      error_code error;
      udp::socket socket(executor);
      socket.open(family, error);
      if (!error && family == udp::v6()) socket.set_option(asio::ip::v6_only(true), error);
      if (!error) socket.bind({family, 0}, error);
      if (!error) socket.non_blocking(true, error);
      if (error) {
        into.clear();
        return {};
      }
      into.push_back({std::move(socket), role});
    }
    return {.usable = true,
            .main_port = into[0].socket.local_endpoint().port(),
            .second_port = into[1].socket.local_endpoint().port()};
  }

  void close() {
    over = true;
    for (auto* sockets : {&v4, &v6}) {
      for (Socket& entry : *sockets) {
        error_code ignored;
        entry.socket.close(ignored);
      }
    }
  }
};

template <typename Coroutine>
void spawn(const asio::any_io_executor& executor, Coroutine coroutine) {
  asio::co_spawn(executor, std::move(coroutine), [](std::exception_ptr error) {
    if (error) std::rethrow_exception(error);
  });
}

asio::awaitable<void> receive(std::shared_ptr<Run> run, Run::Socket& socket) {
  std::array<std::byte, kDatagram> buffer;
  while (!run->over) {
    udp::endpoint from;
    const auto [error, size] =
        co_await socket.socket.async_receive_from(asio::buffer(buffer), from, use_result);
    if (run->over || error == asio::error::operation_aborted || error == asio::error::bad_descriptor) break;
    if (error) continue;  // an ICMP error of an earlier request; the socket itself is fine
    run->check->on_datagram(socket.role, endpoint_from_asio(from), ByteView(buffer).first(size), now());
    run->wake.cancel();
  }
}

bool is_no_route(const error_code& error) {
  return error == asio::error::network_unreachable || error == asio::error::host_unreachable ||
         error.value() == EADDRNOTAVAIL;
}

void drain(const std::shared_ptr<Run>& run, Instant at) {
  while (const auto out = run->check->poll_transmit(at)) {
    std::vector<Run::Socket>& sockets = out->to.address.is_v6() ? run->v6 : run->v4;
    error_code error;
    sockets[static_cast<std::size_t>(out->socket)].socket.send_to(
        asio::buffer(out->datagram), udp::endpoint(to_asio(out->to.address), out->to.port), 0, error);
    if (is_no_route(error)) run->check->on_unreachable(out->to);  // other errors are as good as loss
  }
}

asio::awaitable<void> look_up(std::shared_ptr<Run> run, std::size_t relay, StunServerName name) {
  const auto found = co_await resolve(name.host, run->started + run->options.budget);
  if (run->over) co_return;
  bool seen_v4 = false, seen_v6 = false;  // one address of each family is enough
  for (const IpAddress& address : found.value_or(std::vector<IpAddress>{})) {
    bool& seen = address.is_v4() ? seen_v4 : seen_v6;
    if (!(address.is_v4() ? name.v4 : name.v6) || std::exchange(seen, true)) continue;
    run->check->add_server(relay, {address, name.port}, now());
  }
  if (--run->lookups == 0) run->check->no_more_servers();
  run->wake.cancel();
}

void ask_servers(const std::shared_ptr<Run>& run) {
  for (std::size_t i = 0; i < run->relays.size(); ++i) {
    for (const StunServerName& stun : run->relays[i].stun) {
      for (const IpAddress& address : stun.addresses)
        run->check->add_server(i, {address, stun.port}, run->started);
      run->lookups += stun.host.empty() ? 0 : 1;
    }
  }
  if (run->lookups == 0) run->check->no_more_servers();
  for (std::size_t i = 0; i < run->relays.size(); ++i)
    for (const StunServerName& stun : run->relays[i].stun)
      if (!stun.host.empty()) spawn(run->executor, look_up(run, i, stun));
}

// Connects to one relay after the other; several of these share the list.
asio::awaitable<void> dial_worker(std::shared_ptr<Run> run) {
  while (!run->over && !run->to_dial.empty()) {
    const std::size_t index = run->to_dial.front();
    run->to_dial.erase(run->to_dial.begin());
    DialTarget target = dial_target(*run->relays[index].dialable);
    DialOptions dial_options = run->options.dial;
    const Instant before = now();
    dial_options.timeout = run->started + run->options.budget - before;
    if (dial_options.timeout <= Duration::zero()) break;
    run->dialed[index].connect_error = "no answer in time";  // until there is one
    const auto dialed = co_await dial(std::move(target), std::move(dial_options));
    if (dialed) dialed->stream->close();
    if (run->over) co_return;
    path::RelayReport& report = run->dialed[index];
    report.connect_error.reset();
    if (dialed)
      report.connect = now() - before;
    else
      report.connect_error = dialed.error().message;
    run->wake.cancel();
  }
  --run->dials_busy;
  run->wake.cancel();
}

void start_dialing(const std::shared_ptr<Run>& run) {
  run->dialing = true;
  const path::NetcheckReport report = run->check->report();
  const auto latency = [&](std::size_t relay) {
    return report.relays[relay].latency().value_or(Duration::max());
  };
  bool udp = false;
  for (std::size_t i = 0; i < run->relays.size(); ++i) {
    if (run->relays[i].dialable) run->to_dial.push_back(i);
    udp = udp || report.relays[i].latency().has_value();
  }
  std::ranges::stable_sort(run->to_dial, {}, latency);
  run->to_dial.resize(std::min(run->to_dial.size(), udp ? kNearDials : kMaxDials));
  run->dials_busy = std::min(run->to_dial.size(), kParallelDials);
  const std::size_t workers = run->dials_busy;
  for (std::size_t i = 0; i < workers; ++i) spawn(run->executor, dial_worker(run));
}

asio::awaitable<void> ask_router(std::shared_ptr<Run> run, std::uint16_t port) {
  const auto mapping = co_await run->options.port_mapping(port, run->options.budget);
  if (run->over) co_return;
  run->asking_router = false;
  if (mapping) run->check->on_port_mapping(*mapping);
  run->wake.cancel();
}

bool is_finished(const Run& run, Instant at) {
  if (at >= run.started + run.options.budget) return true;
  if (!run.dialing || run.asking_router || !run.check->is_finished(at)) return false;
  if (run.dials_busy == 0) return true;
  const bool connected = std::ranges::any_of(
      run.dialed, [](const path::RelayReport& relay) { return relay.connect.has_value(); });
  return connected && at >= run.started + kOneWillDo;
}

NetcheckResult collect(const Run& run, Instant at) {
  NetcheckResult out;
  out.took = at - run.started;
  out.report = run.check->report();
  for (std::size_t i = 0; i < run.relays.size(); ++i) {
    path::RelayReport& relay = out.report.relays[i];
    relay.name = run.relays[i].name;
    relay.connect = run.dialed[i].connect;
    relay.connect_error = run.dialed[i].connect_error;
  }
  const auto distance = [](const path::RelayReport& relay) {
    return std::pair(relay.latency().value_or(Duration::max()), relay.connect.value_or(Duration::max()));
  };
  std::ranges::stable_sort(out.report.relays, {}, distance);
  return out;
}

asio::awaitable<NetcheckResult> check_relays(NetcheckOptions options, std::vector<Relay> relays) {
  const auto executor = co_await asio::this_coro::executor;
  const auto run = std::make_shared<Run>(executor, std::move(options), std::move(relays));
  for (auto* sockets : {&run->v4, &run->v6})
    for (Run::Socket& socket : *sockets) spawn(executor, receive(run, socket));
  ask_servers(run);
  if (run->options.port_mapping && !run->v4.empty()) {
    run->asking_router = true;
    spawn(executor, ask_router(run, run->v4[0].socket.local_endpoint().port()));
  }
  const Instant dial_at = run->started + run->options.dial_after;
  for (;;) {
    const Instant at = now();
    drain(run, at);
    if (!run->dialing && (at >= dial_at || run->check->is_finished(at))) start_dialing(run);
    if (is_finished(*run, at)) break;
    std::optional<Instant> next = run->check->next_timeout();
    if (!run->dialing) next = earlier(next, dial_at);
    if (at < run->started + kOneWillDo) next = earlier(next, run->started + kOneWillDo);
    run->wake.expires_after(std::max(*next - at, Duration(1ms)));
    co_await run->wake.async_wait(use_result);
  }
  run->close();
  co_return collect(*run, now());
}

}  // namespace

asio::awaitable<std::expected<NetcheckResult, NetcheckError>> run_netcheck(NetcheckOptions options) {
  std::vector<Relay> relays;
  std::string note;
  if (!options.derp_servers.empty()) {
    if (options.derp_servers.size() > kMaxServers) {
      co_return std::unexpected(NetcheckError{
          NetcheckFailure::Usage, "more than " + std::to_string(kMaxServers) + " relays with --derp-server"});
    }
    for (const std::string& text : options.derp_servers) {
      const auto ref = session::parse_server_url(text);
      if (!ref) co_return std::unexpected(NetcheckError{NetcheckFailure::Usage, ref.error()});
      relays.push_back(relay_of(*ref));
    }
  } else {
    DerpMapOptions source;
    source.source = options.derp_map;
    source.cache_dir = options.cache_dir;
    source.dial = options.dial;
    source.dial.timeout = options.map_budget;
    source.wall_now = options.wall_now;
    source.default_urls = options.default_map_urls;
    const auto loaded = co_await load_derp_map(std::move(source));
    const std::string problem = loaded ? "" : "no list of relays: " + loaded.error();
    if (loaded) {
      relays = relays_of(loaded->map);
      note = loaded->note;
    }
    if (!options.derp_map.empty() && relays.empty()) {
      co_return std::unexpected(NetcheckError{
          NetcheckFailure::MapUnusable,
          loaded ? "the DERP map from " + loaded->source + " has no relay that could be asked" : problem});
    }
    if (!loaded) note = problem;
  }
  auto result = co_await check_relays(std::move(options), std::move(relays));
  result.note = std::move(note);
  co_return result;
}

}  // namespace dh::io
