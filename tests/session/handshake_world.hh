#pragma once

// One listener and any number of dialers around a seeded network that loses, doubles and reorders. Virtual
// time; every packet of a run can be looked at.

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "session/claim_gate.hh"
#include "session/initiator.hh"
#include "session/token_samples.hh"
#include "wire/datagram.hh"

namespace dh::session {

inline constexpr UnixSeconds kWall{std::chrono::seconds(1'799'999'000)};  // sample_token() is still good

struct Network {
  double loss = 0, duplicate = 0;
  Duration delay = 20ms, jitter{};
};

struct Dialer {
  KeyPair derp;
  std::unique_ptr<Initiator> initiator;
  std::optional<SessionKeys> keys;
  std::optional<ControlChannel> channel;
  bool wrong_credentials = false;
  std::vector<wire::SessionMsg> heard;
  template <typename T>
  const T* answer() const {
    return heard.empty() ? nullptr : std::get_if<T>(&heard.front());
  }
};

class World {
public:
  explicit World(std::uint64_t seed, Network net = {}, std::size_t slots = 1)
      : network(net), rng(seed), noise_key(KeyPair::generate(rng)), derp_key(KeyPair::generate(rng)) {
    token = sample_token();
    token.listener_noise = noise_key.pub;
    token.listener_derp = derp_key.pub;
    gate.emplace(
        GateConfig{token, noise_key, {relay_name(token.relays[0]), relay_name(token.relays[1])}, slots}, now,
        rng);
  }

  Dialer& dial(const Token& with, Claim claim) {
    auto dialer = std::make_unique<Dialer>();
    dialer->derp = KeyPair::generate(rng);
    dialer->initiator = std::make_unique<Initiator>(
        InitiatorConfig{with, dialer->derp.pub, relay_name(with.relays[0]), claim}, now, kWall, rng);
    dialers.push_back(std::move(dialer));
    return *dialers.back();
  }
  Dialer& dial() { return dial(token, good_claim()); }
  Claim good_claim() const { return {1, token.capabilities, 1 << 20, 3}; }

  // To the listener when `to` is its routing key, else to the dialer of that key.
  void transmit(const PublicKey& from, const PublicKey& to, Bytes bytes) {
    sent.push_back({from, to, bytes});
    if (tamper && !tamper(from, to, bytes)) return;
    const int copies = (rng.chance(network.loss) ? 0 : 1) + (rng.chance(network.duplicate) ? 1 : 0);
    for (int i = 0; i < copies; ++i) {
      const Duration jitter = network.jitter * static_cast<std::int64_t>(rng.below(1000)) / 1000;
      flying.emplace(now + network.delay + jitter, Packet{from, to, bytes});
    }
  }

  void drain() {
    while (auto packet = gate->poll_packet()) transmit(derp_key.pub, packet->to, std::move(packet->bytes));
    while (auto event = gate->poll_event()) {
      arrived.push_back(std::move(*event));
      if (auto_accept) accept(arrived.back());
    }
    while (auto packet = gate->poll_packet()) transmit(derp_key.pub, packet->to, std::move(packet->bytes));
    for (ClaimArrived& session : arrived) {
      while (auto packet = session.channel.poll_packet(now))
        transmit(derp_key.pub, session.from, std::move(*packet));
      while (auto message = session.channel.poll_message()) listener_heard.push_back(std::move(*message));
    }
    for (auto& dialer : dialers) {
      while (auto packet = dialer->initiator->poll_packet())
        transmit(dialer->derp.pub, derp_key.pub, std::move(*packet));
      while (auto event = dialer->initiator->poll_event()) {
        if (auto* ready = std::get_if<KeysReady>(&*event)) {
          dialer->keys = ready->keys;
          dialer->channel.emplace(std::move(ready->channel));
        } else {
          dialer->wrong_credentials = true;
        }
      }
      if (!dialer->channel) continue;
      while (auto packet = dialer->channel->poll_packet(now))
        transmit(dialer->derp.pub, derp_key.pub, std::move(*packet));
      while (auto message = dialer->channel->poll_message())
        dialer->heard.push_back(*wire::parse_session_msg(*message));
    }
  }

  void accept(ClaimArrived& claim) { gate->accept(claim, {1, 1 << 20, 1}, now); }

  void deliver(const PublicKey& from, const PublicKey& to, ByteView bytes) {
    const auto index = wire::control_receiver_index(bytes);
    if (to == derp_key.pub) {
      for (ClaimArrived& session : arrived) {
        if (index == session.keys.local_index) return void(session.channel.on_packet(bytes, now));
      }
      gate->on_packet(relay_name(token.relays[0]), from, bytes, now, wall());
      return;
    }
    for (auto& dialer : dialers) {
      if (dialer->derp.pub != to) continue;
      if (dialer->initiator->on_packet(bytes, now)) return;
      if (dialer->channel) dialer->channel->on_packet(bytes, now);
    }
  }

  UnixSeconds wall() const {
    return wall_at_start + std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch());
  }

  std::optional<Instant> next() const {
    std::optional<Instant> first = gate->next_timeout();
    if (!flying.empty()) first = earlier(first, flying.begin()->first);
    for (const auto& dialer : dialers) {
      first = earlier(first, dialer->initiator->next_timeout());
      if (dialer->channel) first = earlier(first, dialer->channel->next_timeout());
    }
    for (const ClaimArrived& session : arrived) first = earlier(first, session.channel.next_timeout());
    return first;
  }

  // Runs until `done` or for `limit`; true: done.
  bool run(
      Duration limit, const std::function<bool()>& done = [] { return false; }) {
    const Instant end = now + limit;
    for (int steps = 0; steps < 200'000; ++steps) {
      drain();
      if (done()) return true;
      const auto due = next();
      if (!due || *due > end) break;
      now = std::max(now, *due);
      while (!flying.empty() && flying.begin()->first <= now) {
        const Packet packet = flying.begin()->second;
        flying.erase(flying.begin());
        deliver(packet.from, packet.to, packet.bytes);
      }
      gate->on_timeout(now);
      for (auto& dialer : dialers) dialer->initiator->on_timeout(now);
    }
    now = end;
    gate->on_timeout(now);
    drain();
    return done();
  }

  struct Packet {
    PublicKey from, to;
    Bytes bytes;
  };

  Network network;
  SeededRng rng;
  Instant now{};
  UnixSeconds wall_at_start = kWall;
  KeyPair noise_key, derp_key;
  Token token;
  std::optional<ClaimGate> gate;
  bool auto_accept = true;
  std::vector<std::unique_ptr<Dialer>> dialers;
  std::vector<ClaimArrived> arrived;
  std::vector<Bytes> listener_heard;
  std::multimap<Instant, Packet> flying;
  std::vector<Packet> sent;
  /// Sees every packet before the network; may change it; false drops it.
  std::function<bool(const PublicKey& from, const PublicKey& to, Bytes& bytes)> tamper;
};

}  // namespace dh::session
