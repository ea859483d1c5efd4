// Bulk packets and the machines behind them.
//   mode 0: frames parsed and written again say the same
//   mode 1: arbitrary frames, sealed with the right key, against a Sender and a Receiver
//   mode 2: a Sender and a Receiver on a link the input controls; what is read must be what was written

#include <cstdint>
#include <deque>
#include <map>

#include "base/check.hh"
#include "bulk/keys.hh"
#include "bulk/limits.hh"
#include "bulk/receiver.hh"
#include "bulk/sender.hh"

namespace {

using namespace dh;
using namespace dh::bulk;

constexpr PathProperties kPath{.datagram_bytes = 1200, .is_relay = false, .initial_rtt = 10ms};

StreamConfig small_config() {
  StreamConfig config;
  config.receive_window = 20'000;
  config.most_receive_window = 50'000;
  config.send_buffer = 30'000;
  config.key_update_packets = 5;
  return config;
}

void round_trip(ByteView input) {
  wire::BulkFrameReader reader(input);
  Bytes out(input.size() + 64);
  while (const auto type = reader.next()) {
    wire::FrameWriter writer(out);
    switch (*type) {
      case wire::FrameType::Ping:
        writer.ping();
        break;
      case wire::FrameType::Ack: {
        const wire::AckFrame ack = reader.ack();
        CHECK(ack.range_count >= 1 && ack.range_count <= wire::AckFrame::kMaxRanges);
        for (std::size_t i = 0; i < ack.range_count; ++i) {
          CHECK(ack.ranges[i].first <= ack.ranges[i].last);
          CHECK(i == 0 || ack.ranges[i].last + 1 < ack.ranges[i - 1].first);
        }
        writer.ack(ack);
        wire::BulkFrameReader again(ByteView(out).first(writer.size()));
        CHECK(again.next() == wire::FrameType::Ack && again.ack().range_count == ack.range_count);
        for (std::size_t i = 0; i < ack.range_count; ++i) CHECK(again.ack().ranges[i] == ack.ranges[i]);
        break;
      }
      case wire::FrameType::Data: {
        const auto& data = reader.data();
        CHECK(!data.bytes.empty() && data.offset + data.bytes.size() <= wire::DataFrame::kMaxOffset);
        break;
      }
      case wire::FrameType::Fin:
        writer.fin(reader.fin());
        break;
      case wire::FrameType::Abort:
        CHECK(reader.abort().reason.size() <= wire::AbortFrame::kMaxReason);
        writer.abort(reader.abort().code, reader.abort().reason);
        break;
      case wire::FrameType::Complete:
        writer.complete(reader.complete());
        break;
      case wire::FrameType::CompleteAck:
        writer.complete_ack();
        break;
      case wire::FrameType::Padding:
        break;
    }
  }
}

template <class End>
std::size_t drain(End& end, Instant now) {
  static Bytes out(4096);
  std::size_t count = 0;
  while (end.poll_transmit(out, now)) CHECK(++count < 10'000);
  return count;
}

/// Each chunk of the input is the plain text of one packet.
template <class End>
void nonsense(Reader input, Direction direction) {
  const StreamConfig config = small_config();
  SeededRng rng(1);
  Instant now{1s};
  End end(config, now, rng);
  end.add_path(0, kPath, now);
  PacketSealer hand(config, direction, 0);
  if constexpr (std::is_same_v<End, Sender>) {
    end.write(Bytes(25'000));
    if (input.u8() & 1) end.finish();
  }
  int ends = 0;
  while (input.remaining() > 0) {
    now += std::chrono::milliseconds(input.u8());
    end.on_timeout(now);
    const ByteView plain = input.bytes(std::min<std::size_t>(input.u8() * 4, input.remaining()));
    Bytes datagram(wire::BulkHeader::kSize + plain.size() + Aead::kTagSize);
    std::copy(plain.begin(), plain.end(), datagram.begin() + wire::BulkHeader::kSize);
    hand.seal(datagram, plain.size(), false, false);
    hand.on_acked(hand.next_number() - 1);
    CHECK(end.on_datagram(0, datagram, now));
    drain(end, now);
    while (auto event = end.poll_event()) ends += !std::holds_alternative<StreamEnded>(*event);
    CHECK(ends <= 1);
    if constexpr (std::is_same_v<End, Receiver>) {
      CHECK(end.buffered_bytes() <= config.most_receive_window);
      if (!end.readable().empty()) end.consume(1 + end.readable().size() / 2, now);
    }
  }
}

/// Operations on a whole stream; afterwards the link heals and it must complete.
void link(Reader input) {
  const StreamConfig config = small_config();
  SeededRng rng(1);
  Instant now{1s};
  Sender sender(config, now, rng);
  Receiver receiver(config, now, rng);
  struct Flight {
    bool to_receiver;
    PathId path;
    Bytes bytes;
  };
  std::deque<Flight> wire;
  std::uint64_t written = 0, read = 0;
  PathId next_path = 0;
  std::map<PathId, PathId> path_of;  // each lane's
  std::map<PathId, std::size_t> lanes;
  std::vector<PathId> live;
  bool finished = false, ended = false, complete = false, knows = false;
  const auto pattern = [](std::uint64_t at) { return static_cast<std::byte>(at * 31 + (at >> 8)); };

  const auto pump = [&] {
    static Bytes out(4096);
    for (int side = 0; side < 2; ++side)
      for (int count = 0;; ++count) {
        CHECK(count < 10'000);
        const auto sent = side == 0 ? sender.poll_transmit(out, now) : receiver.poll_transmit(out, now);
        if (!sent) break;
        wire.push_back({side == 0, path_of.at(sent->path),
                        Bytes(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(sent->size))});
      }
    while (auto event = sender.poll_event()) {
      CHECK(std::holds_alternative<StreamComplete>(*event) && !complete);
      complete = true;
    }
    while (auto event = receiver.poll_event()) {
      CHECK(!std::holds_alternative<StreamAborted>(*event));
      if (std::holds_alternative<StreamEnded>(*event)) ended = true;
      if (std::holds_alternative<StreamComplete>(*event)) knows = true;
    }
    if (ended) receiver.confirm(now);
  };
  const auto deliver = [&](std::size_t index) {
    Flight flight = wire[index];
    if (flight.to_receiver) {
      receiver.on_datagram(flight.path, flight.bytes, now);
    } else {
      sender.on_datagram(flight.path, flight.bytes, now);
    }
  };
  const auto write = [&](std::size_t size) {
    Bytes bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = pattern(written + i);
    written += sender.write(bytes);
  };
  const auto take = [&](std::size_t most) {
    const ByteView view = receiver.readable().first(std::min(most, receiver.readable().size()));
    for (std::size_t i = 0; i < view.size(); ++i) CHECK(view[i] == pattern(read + i));
    read += view.size();
    receiver.consume(view.size(), now);
  };
  const auto add_path = [&] {
    if (next_path > 60) return;
    const PathProperties properties{.datagram_bytes = next_path % 2 ? std::size_t{4000} : std::size_t{600},
                                    .is_relay = next_path % 3 == 0,
                                    .initial_rtt = 20ms};
    receiver.add_path(next_path, properties, now);
    sender.add_path(next_path, properties, now);
    path_of[next_path] = next_path;
    lanes[next_path] = 1;
    live.push_back(next_path++);
  };
  const auto add_lane = [&](PathId path) {
    if (next_path > 60 || lanes[path]++ >= kMaxLanes) return;
    receiver.add_lane(path, next_path);
    sender.add_lane(path, next_path);
    path_of[next_path++] = path;
  };

  while (input.remaining() >= 2) {
    const std::uint8_t operation = input.u8(), argument = input.u8();
    switch (operation % 10) {
      case 0:
        write(argument * 50u);
        break;
      case 1:
        take(argument * 50u);
        break;
      case 2:
      case 3:
        if (!wire.empty()) {
          const std::size_t index = argument % wire.size();
          deliver(index);
          if (operation % 10 == 2 || argument % 8 != 0)
            wire.erase(wire.begin() + static_cast<std::ptrdiff_t>(index));
        }
        break;
      case 4:
        if (!wire.empty()) wire.erase(wire.begin() + argument % static_cast<std::ptrdiff_t>(wire.size()));
        break;
      case 5:
        now += std::chrono::milliseconds(argument);
        sender.on_timeout(now);
        receiver.on_timeout(now);
        break;
      case 6:
        if (!wire.empty()) {
          Bytes& bytes = wire[argument % wire.size()].bytes;
          bytes[argument % bytes.size()] ^= std::byte{1};
        }
        break;
      case 7:
        if (argument >= 200 && !live.empty()) {
          add_lane(live[argument % live.size()]);
        } else {
          add_path();
        }
        break;
      case 8:
        if (!live.empty()) {
          const std::size_t index = argument / 2 % live.size();
          if (argument & 1) {
            sender.remove_path(live[index], now);
            receiver.remove_path(live[index], now);
            live.erase(live.begin() + static_cast<std::ptrdiff_t>(index));
          } else {
            sender.prefer_path(live[index], now);
          }
        }
        break;
      case 9:
        if (argument > 250) {
          sender.finish();
          finished = true;
        }
        break;
    }
    pump();
    while (wire.size() > 500) wire.pop_front();
    CHECK(receiver.buffered_bytes() <= config.most_receive_window);
  }
  if (!finished) sender.finish();
  if (live.empty()) add_path();
  if (live.empty()) return;  // used up all ids
  for (int round = 0; !(complete && knows) && round < 20'000; ++round) {
    pump();
    while (!wire.empty()) {
      deliver(0);
      wire.pop_front();
      pump();
    }
    take(1 << 20);
    const auto next = earlier(sender.next_timeout(), receiver.next_timeout());
    if (next && *next > now) now = *next;
    sender.on_timeout(now);
    receiver.on_timeout(now);
  }
  while (!receiver.readable().empty()) take(1 << 20);  // confirmed on arrival, read at leisure
  CHECK(complete && knows && read == written);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Reader input(ByteView(reinterpret_cast<const std::byte*>(data), size));
  switch (input.u8() % 4) {
    case 0: {
      const ByteView rest = input.rest();
      if (const auto header = wire::BulkHeader::parse(rest)) {
        Bytes again(wire::BulkHeader::kSize);
        header->store(again.data());
        CHECK(equal_bytes(again, rest.first(wire::BulkHeader::kSize)));
      }
      round_trip(rest);
      break;
    }
    case 1:
      nonsense<Sender>(input, Direction::ToSender);
      break;
    case 2:
      nonsense<Receiver>(input, Direction::ToReceiver);
      break;
    case 3:
      link(input);
      break;
  }
  return 0;
}
