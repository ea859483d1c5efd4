#include "sim/scenario.hh"

#include <deque>

#include <fmt/format.h>

#include "sim/pairing.hh"

namespace dh::sim {
Scenario random_scenario(std::uint64_t seed) {
  SeededRng rng(seed ^ 0x5ce7a210);
  Scenario out;
  out.seed = seed;
  const std::uint64_t sizes[] = {0, 1, 1 + rng.below(2000), rng.below(100'000), rng.below(600'000)};
  out.bytes = sizes[rng.below(5)];
  out.relay_count = 1 + rng.below(2);
  out.link.delay = Duration(std::chrono::microseconds(200 + rng.below(120'000)));
  if (rng.chance(0.3)) out.link.jitter = Duration(std::chrono::microseconds(1 + rng.below(20'000)));
  out.link.bytes_per_second = rng.chance(0.3) ? 250e3 + rng.unit() * 1e6 : 12.5e6;
  const auto some = [&](double highest) { return rng.chance(0.5) ? rng.unit() * highest : 0.0; };
  out.faults.drop = some(0.15);
  out.faults.duplicate = some(0.1);
  out.faults.corrupt = some(0.05);
  out.faults.forge = some(0.2);
  out.faults.replay = some(0.1);
  out.faults.delay = some(0.25);
  out.faults.max_delay = Duration(std::chrono::milliseconds(1 + rng.below(200)));
  if (rng.chance(0.15)) out.read_bytes_per_second = 50e3 + rng.unit() * 1e6;
  for (int i = 0; i < 3 && rng.chance(0.35); ++i) {
    out.relay_kills.push_back(Duration(std::chrono::milliseconds(rng.below(4000))));
    out.relay_down_for = Duration(std::chrono::milliseconds(rng.below(3000) + 1));
  }
  for (int i = 0; i < 4 && rng.chance(0.3); ++i) {
    out.host_freezes.push_back(Duration(std::chrono::milliseconds(rng.below(5000))));
    out.freeze_for = Duration(std::chrono::milliseconds(rng.below(4000)));
  }
  if (rng.chance(0.3)) out.listener_messages = static_cast<std::uint32_t>(1 + rng.below(150));
  return out;
}

std::string describe(const Scenario& s) {
  const auto ms = [](Duration d) { return to_seconds(d) * 1e3; };
  std::string out = fmt::format(
      "seed {} bytes {} relays {} delay {:.1f} ms jitter {:.1f} ms rate {:.0f} B/s drop {:.3f} dup {:.3f} "
      "corrupt {:.3f} "
      "forge {:.3f} replay {:.3f} hold {:.3f} up to {:.0f} ms reader {:.0f} B/s messages {}",
      s.seed, s.bytes, s.relay_count, ms(s.link.delay), ms(s.link.jitter), s.link.bytes_per_second,
      s.faults.drop, s.faults.duplicate, s.faults.corrupt, s.faults.forge, s.faults.replay, s.faults.delay,
      ms(s.faults.max_delay), s.read_bytes_per_second, s.listener_messages);
  for (Duration at : s.relay_kills) out += fmt::format(" kill@{:.0f}+{:.0f}", ms(at), ms(s.relay_down_for));
  for (Duration at : s.host_freezes) out += fmt::format(" freeze@{:.0f}+{:.0f}", ms(at), ms(s.freeze_for));
  return out;
}

std::string Outcome::problem(const Scenario& scenario) const {
  if (content_wrong) return "wrong bytes were delivered";
  if (hung) return "the session hung";
  if (dialer->end != session::SessionEnd::Complete)
    return fmt::format("the dialer ended with {}", session::to_string(dialer->end));
  if (listener->end != session::SessionEnd::Complete)
    return fmt::format("the listener ended with {}", session::to_string(listener->end));
  if (received != scenario.bytes) return fmt::format("{} bytes arrived of {}", received, scenario.bytes);
  if (messages != scenario.listener_messages)
    return fmt::format("{} messages arrived of {}", messages, scenario.listener_messages);
  return {};
}

Outcome run(const Scenario& scenario, const RunOptions& options) {
  World world(scenario.seed);
  SeededRng& rng = world.rng();
  std::deque<Relay> relays;
  std::vector<Relay*> pointers;
  Outcome out;
  for (std::size_t i = 0; i < scenario.relay_count; ++i) {
    pointers.push_back(&relays.emplace_back(world, scenario.link));
    if (options.keep_seen) {
      relays.back().on_seen = [&out](ByteView bytes) { out.seen_by_relays.append(as_text(bytes)); };
    }
  }
  HostOptions listener_options, dialer_options;
  listener_options.faults = dialer_options.faults = scenario.faults;
  listener_options.read_bytes_per_second = scenario.read_bytes_per_second;
  listener_options.messages = scenario.listener_messages;
  Pairing pairing = make_pairing(rng, scenario.relay_count, world.wall());
  listener_options.session = std::move(pairing.listener);
  dialer_options.session = std::move(pairing.dialer);
  dialer_options.session.wait = scenario.limit;

  const Content content(scenario.seed, scenario.bytes);
  Host listener(world, pointers, listener_options, content);
  Host dialer(world, pointers, dialer_options, content);
  listener.start();
  world.after(5 * scenario.link.delay, [&] { dialer.start(); });

  for (Duration at : scenario.relay_kills) {
    world.after(at, [&] { relays.front().kill(); });
    if (scenario.relay_down_for > Duration::zero())
      world.after(at + scenario.relay_down_for, [&] { relays.front().start(); });
  }
  for (std::size_t i = 0; i < scenario.host_freezes.size(); ++i) {
    world.after(scenario.host_freezes[i],
                [&, i] { (i % 2 == 0 ? dialer : listener).freeze(scenario.freeze_for); });
  }
  if (scenario.cancel_at) {
    world.after(*scenario.cancel_at,
                [&] { (scenario.listener_cancels ? listener : dialer).cancel("interrupted"); });
  }

  if (scenario.listener_deaf_for > Duration::zero()) {
    world.run_until([&] { return dialer.session().is_open(); }, scenario.limit);
    listener.set_deaf(true);
    world.after(scenario.listener_deaf_for, [&] { listener.set_deaf(false); });
  }
  out.hung = !world.run_until([&] { return listener.ended() && dialer.ended(); }, scenario.limit);
  out.dialer = dialer.ended();
  out.listener = listener.ended();
  out.received = listener.received();
  out.messages = dialer.messages_received();
  out.content_wrong = listener.content_wrong() || dialer.content_wrong();
  out.steps = world.steps();
  out.finished_after = world.now().time_since_epoch();
  if (listener.first_byte_at() && dialer.first_relay_up_at())
    out.first_byte_after_relay_up = *listener.first_byte_at() - *dialer.first_relay_up_at();
  out.dialer_counters = dialer.counters();
  out.listener_counters = listener.counters();
  return out;
}

}  // namespace dh::sim
