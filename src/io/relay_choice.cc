#include "io/relay_choice.hh"

#include <algorithm>

#include "io/clock.hh"
#include "io/relay_reach.hh"
#include "session/relay_pick.hh"
#include "session/server_url.hh"

namespace dh::io {
namespace {

using State = ReachResult::State;
using Result = std::expected<RelayChoice, RelayChoiceError>;

constexpr std::size_t kMaxServers = 4;     // as many as a token can name
constexpr std::size_t kMaxRelays = 2;      // the best and one to fail over to
constexpr std::size_t kMaxCandidates = 6;  // dialed at most; when six fail, it is not the relays
constexpr Duration kServerGrace = 1s;      // for a slower relay that the user put first
constexpr Duration kConclusive = 1s;       // a dial that had less time than this proves nothing by silence
constexpr Duration kMargin = 100ms;        // of the budget, for the machine itself

std::unexpected<RelayChoiceError> refuse(RelayChoiceFailure failure, std::string message) {
  return std::unexpected(RelayChoiceError{.failure = failure, .message = std::move(message)});
}

std::vector<session::RelayRef> in_state(const std::vector<session::RelayRef>& relays,
                                        const std::vector<ReachResult>& results, State state) {
  std::vector<session::RelayRef> out;
  for (std::size_t i = 0; i < relays.size() && out.size() < kMaxRelays; ++i)
    if (results[i].state == state) out.push_back(relays[i]);
  return out;
}

// Why none of the relays will do, from what each of them did.
std::unexpected<RelayChoiceError> none_reached(const std::vector<session::RelayRef>& relays,
                                               const std::vector<ReachResult>& results) {
  std::string errors;
  bool certificate = false;
  for (std::size_t i = 0; i < relays.size(); ++i) {
    if (results[i].state == State::Untried) continue;
    const bool failed = results[i].state == State::Failed;
    if (!errors.empty()) errors += "; ";
    errors += session::format_server_url(relays[i]) + ": " +
              (failed ? results[i].error.message : std::string("no answer in time"));
    certificate = certificate || results[i].error.certificate;
  }
  return refuse(certificate ? RelayChoiceFailure::Rejected : RelayChoiceFailure::Unreachable,
                "no relay could be reached: " + errors);
}

asio::awaitable<Result> choose_named(RelayChoiceOptions options, Instant deadline) {
  if (options.derp_servers.size() > kMaxServers)
    co_return refuse(RelayChoiceFailure::Usage, "more than 4 relays were given with --derp-server");
  std::vector<session::RelayRef> relays;
  for (const std::string& text : options.derp_servers) {
    auto relay = session::parse_server_url(text);
    if (!relay) co_return refuse(RelayChoiceFailure::Usage, std::move(relay.error()));
    if (std::find(relays.begin(), relays.end(), *relay) == relays.end()) relays.push_back(std::move(*relay));
  }
  ReachOptions how;
  how.dial = options.dial;
  how.budget = deadline - now();
  how.grace = kServerGrace;
  how.parallel = kMaxServers;
  const auto results = co_await reach(relays, std::move(how));
  RelayChoice choice;
  choice.relays = in_state(relays, results, State::Reached);
  if (choice.relays.empty()) co_return none_reached(relays, results);
  co_return choice;
}

asio::awaitable<std::expected<LoadedMap, RelayChoiceError>> load_map(RelayChoiceOptions options,
                                                                     Instant deadline) {
  const bool named = !options.derp_map.empty();
  DerpMapOptions source;
  source.source = options.derp_map;
  source.cache_dir = options.cache_dir;
  source.dial = options.dial;
  source.dial.timeout = (deadline - now()) * 2 / 3;  // the rest is for measuring and dialing
  source.wall_now = options.wall_now;
  source.default_urls = options.default_map_urls;
  auto loaded = co_await load_derp_map(std::move(source));
  if (loaded) co_return std::move(*loaded);
  co_return refuse(named ? RelayChoiceFailure::MapUnusable : RelayChoiceFailure::Unreachable,
                   "no list of relays: " + loaded.error());
}

asio::awaitable<Result> choose_from_map(RelayChoiceOptions options, Instant deadline) {
  auto loaded = co_await load_map(options, deadline);
  if (!loaded) co_return std::unexpected(std::move(loaded.error()));
  const derp::DerpMap& map = loaded->map;
  std::vector<session::RegionLatency> anyone;
  for (const auto& [id, region] : map.regions) anyone.push_back({.region = id, .latency = 1s, .node = 0});
  if (session::rank_relays(map, anyone).empty()) {
    co_return refuse(RelayChoiceFailure::MapUnusable,
                     "the DERP map from " + loaded->source + " has no relay that could be used");
  }

  RelayLatencyOptions how;
  how.dial = options.dial;
  how.budget = (deadline - now()) * 2 / 3;
  how.enough_after = std::min(how.enough_after, how.budget / 2);
  how.tls_after = std::min(how.tls_after, how.budget / 3);
  const RelayLatencies measured = co_await measure_relays(map, std::move(how));
  std::vector<session::RelayRef> ranked = session::rank_relays(map, measured.regions);
  if (ranked.size() > kMaxCandidates) ranked.resize(kMaxCandidates);
  RelayChoice choice;
  choice.note = std::move(loaded->note);
  choice.udp_works = measured.udp;
  if (ranked.empty()) {
    const std::string why = measured.regions.empty() ? "none of the relays of the DERP map answers"
                                                     : "only relays answer that must not be used as home";
    co_return refuse(RelayChoiceFailure::Unreachable, why);
  }
  if (!measured.udp) {  // measured by connecting: nothing more to prove
    const std::size_t connected = std::min(measured.regions.size(), kMaxRelays);
    ranked.resize(std::min(connected, ranked.size()));
    choice.relays = std::move(ranked);
    co_return choice;
  }

  // STUN answers where TCP may not: dial before promising.
  ReachOptions reach_options;
  reach_options.dial = options.dial;
  reach_options.budget = deadline - now();
  const bool conclusive = reach_options.budget >= kConclusive;
  const auto results = co_await reach(ranked, std::move(reach_options));
  choice.relays = in_state(ranked, results, State::Reached);
  if (choice.relays.empty() && !conclusive) choice.relays = in_state(ranked, results, State::Pending);
  if (choice.relays.empty()) co_return none_reached(ranked, results);
  co_return choice;
}

struct Outcome {
  asio::steady_timer done;
  std::optional<Result> result;
};

asio::awaitable<void> choose_into(std::shared_ptr<Outcome> outcome, RelayChoiceOptions options,
                                  Instant deadline) {
  Result result = refuse(RelayChoiceFailure::Unreachable, "");
  if (options.derp_servers.empty()) {
    result = co_await choose_from_map(std::move(options), deadline);
  } else {
    result = co_await choose_named(std::move(options), deadline);
  }
  outcome->result = std::move(result);
  outcome->done.cancel();
}

}  // namespace

std::string_view to_string(RelayChoiceFailure failure) {
  switch (failure) {
    case RelayChoiceFailure::Usage:
      return "usage";
    case RelayChoiceFailure::MapUnusable:
      return "map unusable";
    case RelayChoiceFailure::Rejected:
      return "rejected";
    case RelayChoiceFailure::Unreachable:
      return "unreachable";
  }
  return "unknown";
}

asio::awaitable<Result> choose_relays(RelayChoiceOptions options) {
  // The work keeps its own deadline; should a resolver or a dial sleep through it, we do not wait for them.
  const auto executor = co_await asio::this_coro::executor;
  const Duration budget = options.budget;
  const auto outcome = std::make_shared<Outcome>(Outcome{asio::steady_timer(executor), std::nullopt});
  const Instant deadline = now() + budget - std::min(kMargin, budget / 4);
  asio::co_spawn(executor, choose_into(outcome, std::move(options), deadline), [](std::exception_ptr error) {
    if (error) std::rethrow_exception(error);
  });
  if (!outcome->result) {
    outcome->done.expires_after(budget);
    co_await outcome->done.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  if (outcome->result) co_return std::move(*outcome->result);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(budget).count();
  co_return refuse(RelayChoiceFailure::Unreachable,
                   "no relay could be reached within " + std::to_string(ms) + " ms");
}

}  // namespace dh::io
