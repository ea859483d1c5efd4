#include "io/relay_latency.hh"

#include <algorithm>

#include "derp/latency_probe.hh"
#include "io/asio_address.hh"
#include "io/clock.hh"
#include "io/relay_reach.hh"
#include "io/resolve.hh"
#include "io/system_rng.hh"
#include "io/use_result.hh"

namespace dh::io {
namespace {

using asio::ip::udp;

// One measurement; shared with its coroutines, which end soon after `over`.
struct Run : std::enable_shared_from_this<Run> {
  asio::any_io_executor executor;
  derp::DerpMap map;
  RelayLatencyOptions options;
  Instant started;
  SystemRng rng;
  udp::socket v4;
  udp::socket v6;
  asio::steady_timer wake;
  std::optional<derp::LatencyProbe> probe;
  bool over = false;

  // The fallback: which node of which region is connected to, and how long that took.
  std::vector<session::RegionLatency> tls_waiting;
  std::vector<session::RegionLatency> tls_done;
  std::size_t tls_busy = 0;
  bool tls_started = false;

  Run(asio::any_io_executor on, derp::DerpMap from, RelayLatencyOptions with)
      : executor(on),
        map(std::move(from)),
        options(std::move(with)),
        started(now()),
        v4(executor),
        v6(executor),
        wake(executor) {
    derp::LatencyProbeConfig config;
    config.families = {.v4 = open(v4, udp::v4()), .v6 = open(v6, udp::v6())};
    config.budget = options.budget;
    config.enough_after = options.enough_after;
    config.enough = options.enough;
    config.max_parallel = options.max_parallel;
    config.stagger = options.stagger;
    probe.emplace(map, config, started, rng);
  }

  static bool open(udp::socket& socket, udp family) {
    boost::system::error_code error;
    socket.open(family, error);
    if (!error && family == udp::v6()) socket.set_option(asio::ip::v6_only(true), error);
    if (!error) socket.bind({family, 0}, error);
    if (!error) socket.non_blocking(true, error);
    return !error;
  }

  void close() {
    over = true;
    boost::system::error_code ignored;
    v4.close(ignored);
    v6.close(ignored);
  }
};

template <typename Coroutine>
void spawn(const asio::any_io_executor& executor, Coroutine coroutine) {
  asio::co_spawn(executor, std::move(coroutine), [](std::exception_ptr error) {
    if (error) std::rethrow_exception(error);
  });
}

asio::awaitable<void> receive(std::shared_ptr<Run> run, udp::socket& socket) {
  std::array<std::byte, 1500> buffer;
  while (!run->over) {
    udp::endpoint from;
    const auto [error, size] = co_await socket.async_receive_from(asio::buffer(buffer), from, use_result);
    if (run->over || error == asio::error::operation_aborted || error == asio::error::bad_descriptor) break;
    if (error) continue;  // an ICMP error of an earlier request; the socket itself is fine
    run->probe->on_datagram(ByteView(buffer).first(size), endpoint_from_asio(from), now());
    run->wake.cancel();
  }
}

asio::awaitable<void> resolve_node(std::shared_ptr<Run> run, derp::LatencyProbe::Resolve request) {
  const auto found =
      co_await resolve(request.host, run->options.dial.lookup, run->started + run->options.budget);
  if (run->over) co_return;
  const std::vector<IpAddress> addresses = found.value_or(std::vector<IpAddress>{});
  run->probe->on_resolved(request.region, request.node, addresses);
  run->wake.cancel();
}

void drain(const std::shared_ptr<Run>& run, Instant at) {
  while (const auto out = run->probe->poll_transmit(at)) {
    udp::socket& socket = out->to.address.is_v6() ? run->v6 : run->v4;
    boost::system::error_code unreachable;  // as good as lost; the next try or family may do better
    socket.send_to(asio::buffer(out->datagram), udp::endpoint(to_asio(out->to.address), out->to.port), 0,
                   unreachable);
  }
  while (auto request = run->probe->poll_resolve())
    spawn(run->executor, resolve_node(run, std::move(*request)));
}

// Connects to one region after the other; several of these share the list.
asio::awaitable<void> tls_worker(std::shared_ptr<Run> run) {
  while (!run->over && !run->tls_waiting.empty()) {
    session::RegionLatency entry = run->tls_waiting.front();
    run->tls_waiting.erase(run->tls_waiting.begin());
    const auto relay = session::relay_ref(entry.region, run->map.regions.at(entry.region).nodes[entry.node]);
    DialOptions dial_options = run->options.dial;
    const Instant before = now();
    dial_options.timeout = run->started + run->options.budget - before;
    if (!relay || dial_options.timeout <= Duration::zero()) continue;
    DialTarget target = dial_target(*relay);
    const auto dialed = co_await dial(std::move(target), std::move(dial_options));
    if (!dialed) continue;
    dialed->stream->close();
    entry.latency = now() - before;
    run->tls_done.push_back(entry);
    run->wake.cancel();
  }
  --run->tls_busy;
  run->wake.cancel();
}

void start_tls(const std::shared_ptr<Run>& run) {
  run->tls_started = true;
  for (const auto& [id, region] : run->map.regions) {
    if (region.no_measure_no_home) continue;
    for (std::size_t node = 0; node < region.nodes.size(); ++node) {
      if (!session::relay_ref(id, region.nodes[node])) continue;
      run->tls_waiting.push_back({id, Duration::zero(), node});
      break;
    }
  }
  run->tls_busy = std::min(run->options.max_parallel, run->tls_waiting.size());
  for (std::size_t i = 0; i < run->tls_busy; ++i) spawn(run->executor, tls_worker(run));
}

bool is_finished(const Run& run, Instant at) {
  if (at >= run.started + run.options.budget) return true;
  if (!run.probe->results().empty()) return run.probe->is_finished(at);
  if (!run.tls_started) return false;
  if (run.tls_done.size() >= run.options.enough && at >= run.started + run.options.enough_after) return true;
  return run.probe->is_finished(at) && run.tls_waiting.empty() && run.tls_busy == 0;
}

}  // namespace

asio::awaitable<RelayLatencies> measure_relays(derp::DerpMap map, RelayLatencyOptions options) {
  const auto executor = co_await asio::this_coro::executor;
  const auto run = std::make_shared<Run>(executor, std::move(map), std::move(options));
  if (run->v4.is_open()) spawn(executor, receive(run, run->v4));
  if (run->v6.is_open()) spawn(executor, receive(run, run->v6));
  for (;;) {
    const Instant at = now();
    drain(run, at);
    const bool silent = run->probe->results().empty();
    const Instant tls_at = run->started + run->options.tls_after;
    if (silent && !run->tls_started && (at >= tls_at || run->probe->is_finished(at))) start_tls(run);
    if (is_finished(*run, at)) break;
    std::optional<Instant> next = run->probe->next_timeout(at);
    next = earlier(next, run->started + run->options.budget);
    if (!run->tls_started) next = earlier(next, tls_at > at ? std::optional(tls_at) : std::nullopt);
    const Instant enough_at = run->started + run->options.enough_after;
    if (enough_at > at) next = earlier(next, enough_at);
    run->wake.expires_after(std::max(*next - at, Duration(1ms)));
    co_await run->wake.async_wait(use_result);
  }
  run->close();
  RelayLatencies out;
  out.regions = run->probe->results();
  out.udp = !out.regions.empty();
  if (!out.udp) {
    out.regions = run->tls_done;
    std::stable_sort(out.regions.begin(), out.regions.end(),
                     [](const auto& a, const auto& b) { return a.latency < b.latency; });
  }
  co_return out;
}

}  // namespace dh::io
