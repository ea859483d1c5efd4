#pragma once

#include <algorithm>
#include <array>
#include <deque>
#include <functional>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "crypto/keys.hh"
#include "quic/connection.hh"

namespace dh::quic::test {

/// One direction of the way between two cores.
struct LinkModel {
  Duration delay = 10ms;
  double loss = 0;
  double bytes_per_second = 0;              // 0: no limit
  std::size_t queue_bytes = 256 << 10;      // before the rate; what does not fit is lost
  std::size_t largest = kMaxDatagramBytes;  // larger ones are lost
};

struct Datagram {
  std::size_t to;
  Bytes bytes;
};

/// What one end's application saw.
struct Seen {
  bool established = false;
  std::optional<Closed> closed;
  std::deque<StreamId> opened;
  std::map<StreamId, Bytes> data;
  std::map<StreamId, bool> ended;
  std::map<StreamId, std::uint64_t> reset;
  std::map<StreamId, bool> stopped;
  std::size_t available = 0;
};

/// Two cores and an in-memory link. Node 0 is the client.
class QuicWorld {
public:
  explicit QuicWorld(std::uint64_t seed = 1, const LinkModel& model = {},
                     Controller controller = Controller::Bbr)
      : rng(seed), links{model, model} {
    crypto_init();
    Config config;
    rng.fill(config.psk.expose_mutable());
    rng.fill(config.first_connection_id);
    config.index = 0x01020304;
    config.controller = controller;
    configs = {config, config};
    configs[1].server = true;
  }

  void start() {
    for (std::size_t i = 0; i < 2; ++i) nodes[i] = std::make_unique<Connection>(configs[i], now, rng);
    drain();
  }
  Connection& client() { return *nodes[0]; }
  Connection& server() { return *nodes[1]; }

  /// Runs until `done`, at most for `limit`. True: it is done.
  bool run(
      Duration limit, const std::function<bool()>& done = [] { return false; }) {
    const Instant end = now + limit;
    drain();
    while (!done()) {
      std::optional<Instant> next;
      if (!wire.empty()) next = wire.begin()->first;
      for (auto& node : nodes) next = earlier(next, node->next_timeout());
      if (app_wakes) next = earlier(next, app_wakes);
      if (!next || *next > end) {
        now = end;
        return done();
      }
      now = std::max(now, *next);
      while (!wire.empty() && wire.begin()->first <= now) {
        const Datagram datagram = std::move(wire.begin()->second);
        wire.erase(wire.begin());
        nodes[datagram.to]->on_datagram(datagram.bytes, now);
      }
      for (auto& node : nodes) node->on_timeout(now);
      drain();
      if (++steps > 20'000'000) return false;
    }
    return true;
  }

  void establish() {
    start();
    ASSERT_TRUE(run(5s, [&] { return seen[0].established && seen[1].established; }));
  }

  void drain() {
    for (bool again = true; again;) {
      again = false;
      for (std::size_t i = 0; i < 2; ++i) {
        while (const auto event = nodes[i]->poll_event()) note(i, *event);
        if (application) application(i);
        Bytes out(kMaxDatagramBytes);
        while (const auto size = nodes[i]->poll_transmit(out, now)) {
          send(1 - i, ByteView(out).first(*size));
          again = true;
        }
      }
    }
  }

  void send(std::size_t to, ByteView bytes) {
    const LinkModel& link = links[to];
    ++sent[to];
    if (bytes.size() > link.largest || rng.chance(link.loss)) return;
    Instant leaves = now;
    if (link.bytes_per_second > 0) {
      free_at[to] = std::max(free_at[to], now);
      if (to_seconds(free_at[to] - now) * link.bytes_per_second > static_cast<double>(link.queue_bytes))
        return;
      free_at[to] += from_seconds(static_cast<double>(bytes.size()) / link.bytes_per_second);
      leaves = free_at[to];
    }
    wire.emplace(leaves + link.delay, Datagram{to, to_bytes(bytes)});
  }

  void note(std::size_t at, const Event& event) {
    Seen& s = seen[at];
    if (std::holds_alternative<Established>(event)) s.established = true;
    if (const auto* e = std::get_if<Closed>(&event)) s.closed = *e;
    if (const auto* e = std::get_if<StreamOpened>(&event)) s.opened.push_back(e->stream);
    if (const auto* e = std::get_if<StreamReset>(&event)) s.reset[e->stream] = e->code;
    if (const auto* e = std::get_if<StreamStopped>(&event)) s.stopped[e->stream] = true;
    if (std::holds_alternative<StreamsAvailable>(event)) ++s.available;
    if (const auto* e = std::get_if<StreamReadable>(&event); e != nullptr && reads[at]) read(at, e->stream);
  }

  void read(std::size_t at, StreamId stream) {
    for (;;) {
      const ByteView piece = nodes[at]->readable(stream);
      if (piece.empty()) break;
      Bytes& data = seen[at].data[stream];
      if (keeps_data) data.insert(data.end(), piece.begin(), piece.end());
      received[at] += piece.size();
      nodes[at]->consume(stream, piece.size(), now);
    }
    if (nodes[at]->at_end(stream)) seen[at].ended[stream] = true;
  }

  SeededRng rng;
  Instant now{};
  std::array<LinkModel, 2> links;  // to the client, to the server
  std::array<Config, 2> configs;
  std::array<std::unique_ptr<Connection>, 2> nodes;
  std::array<Seen, 2> seen;
  std::array<std::uint64_t, 2> received{}, sent{};
  std::array<Instant, 2> free_at{};
  std::array<bool, 2> reads = {true, true};  // takes what arrives at once
  bool keeps_data = true;
  std::multimap<Instant, Datagram> wire;
  std::function<void(std::size_t)> application;  // after every input, for each end
  std::optional<Instant> app_wakes;
  std::uint64_t steps = 0;
};

inline Bytes pattern(std::size_t size, std::uint64_t seed = 7) {
  Bytes out(size);
  SeededRng(seed).fill(out);
  return out;
}

/// Writes `data` and finishes as fast as the stream takes it.
class Pump {
public:
  Pump(QuicWorld& world, std::size_t at, StreamId stream, Bytes data)
      : world_(world), at_(at), stream_(stream), data_(std::move(data)) {}
  void go() {
    while (offset_ < data_.size()) {
      const std::size_t taken = world_.nodes[at_]->write(stream_, ByteView(data_).subspan(offset_));
      if (taken == 0) return;
      offset_ += taken;
    }
    if (!finished_) world_.nodes[at_]->finish(stream_);
    finished_ = true;
  }
  const Bytes& data() const { return data_; }

private:
  QuicWorld& world_;
  std::size_t at_;
  StreamId stream_;
  Bytes data_;
  std::size_t offset_ = 0;
  bool finished_ = false;
};

}  // namespace dh::quic::test
