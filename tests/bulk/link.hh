#pragma once

// A seeded world for one stream: a Sender, a Receiver and lossy links between them, in virtual time.

#include <map>
#include <queue>
#include <set>

#include <gtest/gtest.h>

#include "bulk/receiver.hh"
#include "bulk/sender.hh"
#include "wire/bulk_packet.hh"

namespace dh::bulk::test {

struct LinkProperties {
  double loss = 0, duplicate = 0, corrupt = 0, forge = 0;
  Duration delay = 10ms, jitter = 0ms;  // jitter reorders
  double bytes_per_second = 0;          // 0: infinitely fast
  std::size_t queue_packets = 0;        // drop-tail behind the rate; 0: endless
  bool dead = false;
  std::size_t mtu = SIZE_MAX;  // bytes of a datagram; larger ones vanish without a word
};

inline StreamConfig config_of(std::uint64_t seed) {
  StreamConfig config;
  SeededRng rng(seed ^ 0x5eed);
  rng.fill(config.secret.expose_mutable());
  config.peer_connection_id = 0x01020304;
  return config;
}

inline Bytes random_bytes(std::size_t size, std::uint64_t seed) {
  Bytes bytes(size);
  SeededRng rng(seed);
  rng.fill(bytes);
  return bytes;
}

class World {
public:
  World(std::uint64_t seed, const StreamConfig& config, std::size_t bytes)
      : source(random_bytes(bytes, seed + 1)),
        rng(seed),
        core_rng(seed + 2),
        sender(config, now, core_rng),
        receiver(config, now, core_rng) {}

  void add_path(PathId id, const PathProperties& properties, const LinkProperties& link) {
    paths[id] = {properties, link, {}, {}};
    receiver.add_path(id, properties, now);
    sender.add_path(id, properties, now);
  }
  /// The packets of lane `lane` arrive later by `behind`: another thread sealed or opened them.
  void add_lane(PathId path, PathId lane, Duration behind) {
    lanes[lane] = {path, behind};
    receiver.add_lane(path, lane);
    sender.add_lane(path, lane);
  }
  void remove_path(PathId id) {
    sender.remove_path(id, now);
    receiver.remove_path(id, now);
  }

  /// Runs until both sides have ended or `limit` of virtual time has passed.
  void run(Duration limit = 600s) {
    const Instant end = now + limit;
    while (!done() && now < end) {
      step();
      if (!advance(end)) break;
    }
    if (now < end) step();
  }
  void run_for(Duration duration) {
    const Instant end = now + duration;
    while (now < end) {
      step();
      if (!advance(end)) now = end;
    }
    step();
  }
  void set_datagram_bytes(PathId id, std::size_t bytes) {
    paths[id].properties.datagram_bytes = bytes;
    sender.set_datagram_bytes(id, bytes);
  }
  bool done() const { return sender_end.has_value() && receiver_end.has_value(); }
  bool complete() const {
    return sender_end && receiver_end && std::holds_alternative<StreamComplete>(*sender_end) &&
           std::holds_alternative<StreamComplete>(*receiver_end) && equal_bytes(received, source);
  }

  /// From now on the reader takes no more than this; 0: all at once.
  void read_at(double bytes_per_second) {
    read_bytes_per_second = bytes_per_second;
    reading_since = now;
    read_before = received.size();
  }

  // How the reader behaves.
  bool reader_stopped = false;
  double write_bytes_per_second = 0;  // 0: at once; else whenever the world is stepped
  bool writes_in_place = false;       // into the sender's memory, in pieces of any size
  Duration confirm_delay = 0ms;
  bool finishes = true;
  // As if both ends had threads: the sender's datagrams are sealed after they were built, the receiver's are
  // opened when they come and handed in some time later, by keys that were current at the last pump.
  bool threads = false;

  Bytes source, received;
  std::size_t written = 0;
  Instant now{1s};
  SeededRng rng, core_rng;
  Sender sender;
  Receiver receiver;
  std::optional<StreamEvent> sender_end, receiver_end;
  bool ended = false;
  std::size_t most_buffered = 0;
  std::uint64_t datagrams = 0, steps = 0;

  struct Path {
    PathProperties properties;
    LinkProperties link;
    Instant busy_until[2];
    std::deque<Instant> queue[2];
  };
  std::map<PathId, Path> paths;
  struct Lane {
    PathId path;
    Duration behind;
    std::uint64_t packets = 0;
  };
  std::map<PathId, Lane> lanes;  // but for the first one of each path

private:
  struct Flight {
    Instant at;
    std::uint64_t order;
    bool to_receiver;
    PathId path;
    Bytes bytes;
    bool operator>(const Flight& other) const {
      return std::tie(at, order) > std::tie(other.at, other.order);
    }
  };

  void step() {
    ++steps;
    bool more = true;
    while (more) {
      more = false;
      while (!wire.empty() && wire.top().at <= now) {
        Flight flight = wire.top();
        wire.pop();
        if (flight.to_receiver) {
          haul.push_back({flight.path, std::move(flight.bytes), {}});
          for (const auto& [lane, opener] : openers)
            if (!haul.back().ahead) haul.back().ahead = opener->unseal(haul.back().bytes);
          if (!threads || rng.chance(0.2)) unload();
        } else {
          sender.on_datagram(flight.path, flight.bytes, now);
        }
        more = true;
      }
      if (!haul.empty() && (rng.chance(0.5) || now >= unload_at)) unload();
      sender.on_timeout(now);
      receiver.on_timeout(now);
      write();
      if (finishes && written == source.size()) sender.finish();
      read();
      pump(true);
      pump(false);
      events();
    }
  }

  void unload() {
    for (Arrived& arrived : haul) receiver.on_datagram(arrived.path, arrived.bytes, now, arrived.ahead);
    haul.clear();
    unload_at = now + 1ms;
  }

  void write() {
    const std::size_t size = to_write();
    if (!writes_in_place) {
      written += sender.write(ByteView(source).subspan(written, size));
      return;
    }
    const ByteSpan room = size > 0 ? sender.room() : ByteSpan();
    const std::size_t some = room.empty() ? 0 : 1 + rng.below(std::min(size, room.size()));
    std::copy_n(source.begin() + static_cast<std::ptrdiff_t>(written), some, room.begin());
    if (some > 0) sender.commit(some);
    written += some;
  }

  std::size_t to_write() const {
    if (write_bytes_per_second == 0) return source.size() - written;
    const auto due = static_cast<std::size_t>(to_seconds(now - Instant(1s)) * write_bytes_per_second);
    return std::clamp(due, written, source.size()) - written;
  }

  void read() {
    most_buffered = std::max(most_buffered, receiver.buffered_bytes());
    while (!reader_stopped) {
      std::size_t size = receiver.readable().size();
      if (read_bytes_per_second > 0) {
        const double due = to_seconds(now - reading_since) * read_bytes_per_second;
        const std::size_t may_have = read_before + static_cast<std::size_t>(due);
        size = std::min(size, may_have - std::min(received.size(), may_have));
      }
      if (size == 0) return;
      const ByteView bytes = receiver.readable().first(size);
      received.insert(received.end(), bytes.begin(), bytes.end());
      receiver.consume(size, now);
    }
  }

  void events() {
    while (auto event = sender.poll_event()) {
      EXPECT_FALSE(sender_end) << "two ends at the sender";
      sender_end = std::move(*event);
    }
    while (auto event = receiver.poll_event()) {
      if (std::holds_alternative<StreamEnded>(*event)) {
        EXPECT_FALSE(ended);
        ended = true;
        confirm_at = now + confirm_delay;
        continue;
      }
      EXPECT_FALSE(receiver_end) << "two ends at the receiver";
      receiver_end = std::move(*event);
    }
    if (is_due(confirm_at, now) && receiver.readable().empty()) {
      confirm_at.reset();
      receiver.confirm(now);
    }
  }

  void pump(bool from_sender) {
    for (int guard = 0;; ++guard) {
      ASSERT_LT(guard, 1'000'000) << "poll_transmit does not end";
      if (threads && !from_sender) renew_openers();
      Seal seal;
      const auto sent = from_sender ? sender.poll_transmit(out, now, threads ? &seal : nullptr)
                                    : receiver.poll_transmit(out, now);
      if (!sent) return;
      ++datagrams;
      const auto lane = lanes.find(sent->path);
      const PathId route = lane == lanes.end() ? sent->path : lane->second.path;
      if (lane != lanes.end()) ++lane->second.packets;
      Path& path = paths.at(route);
      EXPECT_EQ(bool(seal), threads && from_sender && !path.properties.is_relay);
      EXPECT_LE(sent->size, path.properties.datagram_bytes);
      Bytes bytes(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(sent->size));
      if (seal) seal.apply(bytes);
      record(from_sender, bytes);
      carry(from_sender, route, path, std::move(bytes),
            lane == lanes.end() ? Duration::zero() : lane->second.behind);
    }
  }

  void renew_openers() {
    for (const auto& [id, path] : paths) renew_opener(id);
    for (const auto& [id, lane] : lanes) renew_opener(id);
  }
  void renew_opener(PathId id) {
    const std::uint64_t version = receiver.keys_version(id);
    if (std::exchange(versions[id], version) != version) openers[id] = receiver.ahead_opener(id);
  }

  /// No (key, nonce) pair twice: packet numbers of one path and direction never repeat, whatever the key.
  void record(bool from_sender, ByteView bytes) {
    const auto header = wire::BulkHeader::parse(bytes);
    ASSERT_TRUE(header);
    const auto [it, fresh] = last_number.try_emplace({from_sender, header->path}, header->packet_number);
    EXPECT_TRUE(fresh || header->packet_number > it->second);
    it->second = header->packet_number;
  }

  void carry(bool from_sender, PathId id, Path& path, Bytes bytes, Duration behind) {
    const LinkProperties& link = path.link;
    Instant at = now;
    if (link.bytes_per_second > 0) {
      auto& queue = path.queue[from_sender];
      while (!queue.empty() && queue.front() <= now) queue.pop_front();
      if (link.queue_packets > 0 && queue.size() >= link.queue_packets) return;
      Instant& busy = path.busy_until[from_sender];
      busy = std::max(busy, now) + from_seconds(static_cast<double>(bytes.size()) / link.bytes_per_second);
      queue.push_back(busy);
      at = busy;
    }
    if (link.forge > 0 && rng.chance(link.forge)) {
      Bytes forged = bytes;  // a true header with another number, or pure noise behind it
      rng.fill(ByteSpan(forged).subspan(6));
      fly(from_sender, id, at + link.delay, std::move(forged));
    }
    if (link.dead || bytes.size() > link.mtu || rng.chance(link.loss)) return;
    const int copies = rng.chance(link.duplicate) ? 2 : 1;
    for (int i = 0; i < copies; ++i) {
      Bytes copy = bytes;
      if (rng.chance(link.corrupt))
        copy[rng.below(copy.size())] ^= static_cast<std::byte>(1 + rng.below(255));
      const Duration jitter = link.jitter > 0ms
                                  ? Duration(rng.below(static_cast<std::uint64_t>(link.jitter.count())))
                                  : Duration::zero();
      fly(from_sender, id, at + link.delay + jitter + behind, std::move(copy));
    }
  }
  void fly(bool from_sender, PathId id, Instant at, Bytes bytes) {
    wire.push({at, ++order, from_sender, id, std::move(bytes)});
  }

  bool advance(Instant end) {
    std::optional<Instant> next = earlier(sender.next_timeout(), receiver.next_timeout());
    if (!wire.empty()) next = earlier(next, wire.top().at);
    if (!haul.empty()) next = earlier(next, std::max(unload_at, now));
    if (receiver.readable().empty()) next = earlier(next, confirm_at);
    if (read_bytes_per_second > 0 && !receiver.readable().empty()) next = earlier(next, now + 5ms);
    if (!next) return false;
    if (*next <= now) {
      ++stuck;
      EXPECT_LT(stuck, 1000) << "a deadline in the past that nothing resets";
      if (stuck >= 1000) return false;
    } else {
      stuck = 0;
    }
    now = std::min(std::max(*next, now), end);
    return true;
  }

  Bytes out = Bytes(65'535);
  std::priority_queue<Flight, std::vector<Flight>, std::greater<>> wire;
  std::map<std::pair<bool, PathId>, std::uint64_t> last_number;
  std::optional<Instant> confirm_at;
  struct Arrived {
    PathId path;
    Bytes bytes;
    std::optional<Opened> ahead;
  };
  std::vector<Arrived> haul;  // opened, not handed in
  Instant unload_at{};
  std::map<PathId, std::shared_ptr<AheadOpener>> openers;
  std::map<PathId, std::uint64_t> versions;
  std::uint64_t order = 0;
  int stuck = 0;
  double read_bytes_per_second = 0;
  Instant reading_since{};
  std::size_t read_before = 0;
};

}  // namespace dh::bulk::test
