#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/printable.hh"
#include "io/clock.hh"
#include "io/code_meeting.hh"
#include "io/derp_client.hh"
#include "io/use_result.hh"
#include "session/relay_pick.hh"

namespace dh::io {
namespace {

using session::CodeFailure;

constexpr std::size_t kRelaysTried = 3;  // of one region; they pass packets on to each other
constexpr Duration kLanPatience = 3s;    // with other places to look at; else as long as there is

using TokenResult = std::expected<session::Token, CodeError>;

// What came of one place, and whether the one guess was made there.
struct Outcome {
  TokenResult result;
  bool guessed = false;
};

// A relay, and what both sides call the place.
struct Place {
  session::RelayRef relay;
  std::string name;
};

CodeError error_of(CodeFailure failure) {
  const bool nobody = failure == CodeFailure::NobodyThere || failure == CodeFailure::NoAnswer;
  return {nobody ? CodeErrorKind::Nobody : CodeErrorKind::WrongCode,
          std::string(session::to_string(failure))};
}

TokenResult read_token(const std::string& text) {
  auto token = session::parse_token(text);
  if (token) return std::move(*token);
  return std::unexpected(CodeError{
      CodeErrorKind::Unusable,
      fmt::format(
          "the code was right, but what the other side sent for it cannot be used: {}. Are both on the "
          "same version of derphole?",
          session::to_string(token.error()))});
}

// One login and one try at it.
struct Try final : DerpClientHandler {
  Try(asio::any_io_executor ex, const Place& place, session::CodeReceiverConfig config, DialOptions dial,
      Rng& rng)
      : core(config, now(), rng), timer(ex), done(ex) {
    DerpClientOptions client_options;
    client_options.key = config.own_key;
    client_options.dial = std::move(dial);
    client_options.home = false;
    done.expires_at(asio::steady_timer::time_point::max());
    client.emplace(ex, place.relay, std::move(client_options), rng, *this);
    client->start();
    drain();
  }
  void on_relay_up(const PublicKey&) override {
    was_up = true;
    core.on_line_up(now());
    drain();
  }
  void on_relay_down(const std::string& why) override {
    trouble = why;
    core.on_line_down(now());
    drain();
  }
  void on_packet(const PublicKey& from, ByteSpan bytes) override {
    core.on_packet(from, bytes, now());
    drain();
  }
  void on_peer_gone(const PublicKey& peer, derp::PeerGoneReason reason) override {
    core.on_peer_gone(peer, reason, now());
    drain();
  }
  void on_health(const std::string&) override {}
  void on_writable() override {}

  void drain() {
    while (auto out = core.poll_transmit()) client->send(out->to, out->packet);
    if (core.result()) {
      timer.cancel();
      done.cancel();
      return;
    }
    const auto due = core.next_timeout();
    if (!due) return;
    timer.expires_after(std::max(*due - now(), Duration(0)));
    timer.async_wait([this, alive = std::weak_ptr<int>(life)](const error_code& ec) {
      if (ec || alive.expired()) return;
      core.on_timeout(now());
      drain();
    });
  }

  Outcome outcome() const {
    const session::CodeResult& result = *core.result();
    if (result) return {read_token(*result), true};
    if (was_up) return {std::unexpected(error_of(result.error())), core.has_guessed()};
    return {
        std::unexpected(CodeError{CodeErrorKind::NoRelay,
                                  fmt::format("the place where this code meets cannot be reached: {}",
                                              trouble.empty() ? "it does not answer" : printable(trouble))}),
        false};
  }

  session::CodeReceiver core;
  asio::steady_timer timer, done;
  std::optional<DerpClient> client;
  std::string trouble;
  bool was_up = false;
  std::shared_ptr<int> life = std::make_shared<int>(0);
};

std::optional<std::vector<PublicKey>> meeting_keys(const ResolveCodeOptions& options,
                                                   const std::string& place) {
  std::vector<PublicKey> keys;
  for (const std::int64_t hour : session::hours_to_try(options.wall_now)) {
    const auto key = session::meeting_key(options.code, place, hour, options.stretch);
    if (!key) return std::nullopt;
    keys.push_back(key->pub);
  }
  return keys;
}

asio::awaitable<Outcome> try_at(Place place, const ResolveCodeOptions& options, Rng& rng) {
  auto keys = meeting_keys(options, place.name);
  if (!keys) {
    CodeError error{CodeErrorKind::Unusable, "there is not enough memory (64 MiB) to look up a code"};
    Outcome outcome{std::unexpected(std::move(error)), false};
    co_return outcome;
  }
  session::CodeReceiverConfig config;
  config.secret_text = options.code.secret_text();
  config.place = place.name;
  config.wait = options.wait;
  config.own_key = KeyPair::generate(rng);
  config.meeting_keys = std::move(*keys);
  const auto executor = co_await asio::this_coro::executor;
  Try attempt(executor, place, std::move(config), options.dial, rng);
  while (!attempt.core.result()) co_await attempt.done.async_wait(use_result);
  co_return attempt.outcome();
}

asio::awaitable<std::expected<std::vector<Place>, CodeError>> places_in_region(
    const ResolveCodeOptions& options) {
  DerpMapOptions map_options;
  map_options.source = options.derp_map;
  map_options.cache_dir = options.cache_dir;
  map_options.dial = options.dial;
  map_options.wall_now = options.wall_now;
  map_options.default_urls = options.default_map_urls;
  auto loaded = co_await load_derp_map(std::move(map_options));
  if (!loaded) co_return std::unexpected(CodeError{CodeErrorKind::Unusable, loaded.error()});
  const std::uint32_t number = options.code.region();
  const auto region = loaded->map.regions.find(number);
  std::vector<Place> places;
  if (region != loaded->map.regions.end())
    for (const derp::DerpNode& node : region->second.nodes)
      if (auto relay = session::relay_ref(number, node); relay && places.size() < kRelaysTried)
        places.push_back({std::move(*relay), session::place_of_region(number)});
  if (places.empty())
    co_return std::unexpected(CodeError{
        CodeErrorKind::Unusable,
        fmt::format("the code begins with {}, but the DERP map has no relay with that number. Is the number "
                    "right, and do both sides use the same --derp-map?",
                    number)});
  co_return places;
}

asio::awaitable<std::optional<Place>> place_on_this_network(const ResolveCodeOptions& options,
                                                            Duration patience, Rng& rng) {
  std::vector<session::LanKeys> keys;
  for (const std::int64_t hour : session::hours_to_try(options.wall_now)) {
    auto one = session::lan_keys(options.code, hour, options.stretch);
    if (!one) co_return std::nullopt;
    keys.push_back(std::move(*one));
  }
  const auto found = co_await find_on_lan(session::LanAsker(std::move(keys), rng), patience, options.lan);
  if (!found) co_return std::nullopt;
  Place place;
  place.relay.host = found->at.address.with_zone(0).to_string();
  place.relay.port = found->at.port;
  place.relay.pin = found->pin;
  place.relay.addresses = {found->at.address};
  place.name = session::place_on_lan(found->pin);
  co_return place;
}

// The token names the sender's addresses, but not link-local ones: which interface they are on differs from
// machine to machine. The address that has just worked comes first; loopback would be this machine.
void prefer(const session::RelayRef& found, session::Token& token) {
  const IpAddress& address = found.addresses.front();
  for (session::RelayRef& relay : token.relays) {
    if (!relay.pin || relay.pin != found.pin) continue;
    std::erase_if(relay.addresses, [&](const IpAddress& other) {
      return other == address || (other.is_loopback() && !address.is_loopback());
    });
    relay.addresses.insert(relay.addresses.begin(), address);
  }
}

bool look_elsewhere(const Outcome& outcome) {
  if (outcome.result || outcome.guessed) return false;
  const CodeErrorKind kind = outcome.result.error().kind;
  return kind == CodeErrorKind::Nobody || kind == CodeErrorKind::NoRelay;
}

}  // namespace

asio::awaitable<TokenResult> resolve_code(ResolveCodeOptions options, Rng& rng) {
  std::vector<Place> places;
  const bool has_region = options.code.region() != 0;
  if (has_region) {
    auto named = co_await places_in_region(options);
    if (!named) co_return std::unexpected(std::move(named.error()));
    places = std::move(*named);
  }
  if (!has_region)
    for (const session::RelayRef& server : options.servers)
      places.push_back({server, session::place_of_server(server)});
  CodeError nobody{CodeErrorKind::Nobody,
                   "nobody on this network has this code. Without a number in front a code works on one "
                   "network only, or with the --derp-server of the other side"};
  Outcome outcome{std::unexpected(std::move(nobody)), false};
  for (Place& place : places) {
    outcome = co_await try_at(std::move(place), options, rng);
    if (!look_elsewhere(outcome)) co_return std::move(outcome.result);
  }
  if (has_region) co_return std::move(outcome.result);
  const Duration patience = places.empty() ? options.wait : std::min(kLanPatience, options.wait);
  if (auto lan = co_await place_on_this_network(options, patience, rng)) {
    outcome = co_await try_at(*lan, options, rng);
    if (outcome.result) prefer(lan->relay, *outcome.result);
  }
  co_return std::move(outcome.result);
}

}  // namespace dh::io
