#pragma once

// One sender with a code, any number of receivers, and the relay between them, which does as DERP relays do:
// names the sender of a packet, says "not here" about rings and hellos only, gives packets to the newest
// login of a key. `tamper` is the hand of whoever runs it.

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "session/code_receiver.hh"
#include "session/code_sender.hh"

namespace dh::session {

inline constexpr std::string_view kCodeToken = "dh1thisisthetokenofthesender";
inline constexpr std::string_view kCodePlace = "region 12";

struct CodeWorld {
  struct Receiver {
    KeyPair key;
    std::unique_ptr<CodeReceiver> core;
    bool failed_with(CodeFailure failure) const {
      return core->result() && !*core->result() && core->result()->error() == failure;
    }
    bool has_token() const { return core->result() && *core->result() && **core->result() == kCodeToken; }
  };
  struct Packet {
    PublicKey from, to;
    Bytes bytes;
  };

  explicit CodeWorld(std::uint64_t seed = 1) : rng(seed) {
    crypto_init();
    meeting = KeyPair::generate(rng);
    bell = KeyPair::generate(rng);
    CodeSenderConfig config;
    config.secret_text = "able-zoo";
    config.place = kCodePlace;
    config.meeting_key = meeting;
    config.bell_key = bell;
    config.token_text = kCodeToken;
    sender = std::make_unique<CodeSender>(config, now, rng);
  }

  /// As run() until the code may be told.
  bool open() {
    return run(5s, [&] { return sender->state() == CodeSenderState::Open; });
  }
  Receiver& receive(std::string secret = "able-zoo", std::vector<PublicKey> addresses = {},
                    std::string place = std::string(kCodePlace)) {
    auto receiver = std::make_unique<Receiver>();
    receiver->key = KeyPair::generate(rng);
    CodeReceiverConfig config;
    config.secret_text = std::move(secret);
    config.place = std::move(place);
    config.meeting_keys = addresses.empty() ? std::vector<PublicKey>{meeting.pub} : std::move(addresses);
    config.own_key = receiver->key;
    receiver->core = std::make_unique<CodeReceiver>(config, now, rng);
    receivers.push_back(std::move(receiver));
    receivers.back()->core->on_line_up(now);
    return *receivers.back();
  }

  /// Takes everything from the cores; what is sent arrives `delay` later.
  void drain() {
    for (const CodeLine line : {CodeLine::Bell, CodeLine::Meeting}) {
      bool& is_up = up[static_cast<std::size_t>(line)];
      const bool wanted = sender->wants_line(line) && !cut;
      if (wanted == is_up) continue;
      is_up = wanted;
      if (wanted)
        sender->on_line_up(line, now);
      else
        sender->on_line_down(line, now);
    }
    while (auto out = sender->poll_transmit())
      post(out->line == CodeLine::Bell ? bell.pub : meeting.pub, out->to, out->packet);
    while (auto event = sender->poll_event()) events.push_back(*event);
    for (auto& receiver : receivers)
      while (auto out = receiver->core->poll_transmit()) post(receiver->key.pub, out->to, out->packet);
  }
  void post(const PublicKey& from, const PublicKey& to, Bytes bytes) {
    ++posted;
    if (tamper && !tamper(from, to, bytes)) return;
    flying.emplace(now + delay, Packet{from, to, std::move(bytes)});
  }
  bool is_here(const PublicKey& key) const {
    if (key == bell.pub) return up[0];
    if (key == meeting.pub) return up[1] || usurper != nullptr || occupied;
    for (const auto& receiver : receivers)
      if (receiver->key.pub == key) return true;
    return false;
  }
  void arrive(const Packet& packet) {
    if (!is_here(packet.to)) {
      if (packet.bytes.size() < 62 || packet.bytes[0] != std::byte{0x54} || mute_relay) return;
      if (packet.from == bell.pub)
        sender->on_peer_gone(CodeLine::Bell, packet.to, derp::PeerGoneReason::NotHere, now);
      for (auto& receiver : receivers)
        if (receiver->key.pub == packet.from)
          receiver->core->on_peer_gone(packet.to, derp::PeerGoneReason::NotHere, now);
      return;
    }
    if (packet.to == meeting.pub) {
      if (usurper)
        usurper(packet);
      else if (up[1])
        sender->on_packet(CodeLine::Meeting, packet.from, packet.bytes, now);
    } else if (packet.to == bell.pub) {
      sender->on_packet(CodeLine::Bell, packet.from, packet.bytes, now);
    }
    for (auto& receiver : receivers)
      if (receiver->key.pub == packet.to) receiver->core->on_packet(packet.from, packet.bytes, now);
  }

  /// Lets time pass until `done`; false when that did not happen within `limit`.
  bool run(Duration limit, const std::function<bool()>& done = nullptr) {
    const Instant until = now + limit;
    for (int steps = 0; steps < 100'000; ++steps) {
      drain();
      if (done && done()) return true;
      std::optional<Instant> next = sender->next_timeout();
      for (const auto& receiver : receivers) next = earlier(next, receiver->core->next_timeout());
      if (!flying.empty()) next = earlier(next, flying.begin()->first);
      if (!next || *next > until) {
        now = until;
        return false;
      }
      now = std::max(now, *next);
      if (!flying.empty() && flying.begin()->first <= now) {
        const Packet packet = std::move(flying.begin()->second);
        flying.erase(flying.begin());
        arrive(packet);
        continue;
      }
      sender->on_timeout(now);
      for (auto& receiver : receivers) receiver->core->on_timeout(now);
    }
    return false;
  }

  template <class Event>
  std::vector<Event> all() const {
    std::vector<Event> out;
    for (const CodeSenderEvent& event : events)
      if (const auto* one = std::get_if<Event>(&event)) out.push_back(*one);
    return out;
  }
  bool ended_with(CodeEnd end) const {
    const auto ends = all<CodeEnded>();
    return ends.size() == 1 && ends[0].end == end;
  }

  SeededRng rng;
  Instant now{};
  Duration delay = 20ms;
  KeyPair meeting, bell;
  std::unique_ptr<CodeSender> sender;
  std::vector<std::unique_ptr<Receiver>> receivers;
  std::vector<CodeSenderEvent> events;
  std::multimap<Instant, Packet> flying;
  std::function<bool(const PublicKey& from, const PublicKey& to, Bytes& bytes)> tamper;
  std::function<void(const Packet&)> usurper;  // the newest login of the meeting key
  bool up[2] = {false, false};
  bool cut = false;         // both lines of the sender are down
  bool occupied = false;    // another sender has the meeting key
  bool mute_relay = false;  // one that never says "not here"
  std::uint64_t posted = 0;
};

}  // namespace dh::session
