#include "sim/host.hh"

#include <algorithm>

#include "base/overloaded.hh"

namespace dh::sim {
namespace {

constexpr std::size_t kApplicationChunk = 16u << 10;
constexpr std::size_t kHistoryPackets = 16;

std::byte content_byte(std::uint64_t seed, std::uint64_t offset) {
  std::uint64_t z = seed + (offset >> 3) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z ^= z >> 27;
  return static_cast<std::byte>(z >> ((offset & 7) * 8));
}

}  // namespace

void Content::fill(std::uint64_t offset, ByteSpan out) const {
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = content_byte(seed_, offset + i);
}

bool Content::matches(std::uint64_t offset, ByteView bytes) const {
  if (offset + bytes.size() > size_) return false;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != content_byte(seed_, offset + i)) return false;
  }
  return true;
}

Host::Host(World& world, std::vector<Relay*> relays, const HostOptions& options, const Content& content)
    : world_(world),
      relays_(std::move(relays)),
      options_(options),
      content_(content),
      session_(options.session, world.now(), world.wall(), world.rng()),
      packet_(session::Session::kMaxPacketBytes) {
  if (!options_.udp || session_.paths() == nullptr) return;
  udp_.emplace(
      world_, *options_.udp, session_,
      [this](path::SocketId socket, const Endpoint& from, Bytes datagram) {
        when_awake([this, socket, from, datagram = std::move(datagram)]() mutable {
          if (ended_) return;
          std::optional<bulk::Opened> ahead;
          for (const auto& opener : openers_)
            if (!ahead) ahead = opener->unseal(datagram);
          session_.on_udp_datagram(socket, from, datagram, world_.now(), ahead);
          turn();
        });
      },
      [this] { turn(); });
}

void Host::start() {
  if (udp_) udp_->start();
  turn();
}

void Host::hurry() {
  options_.write_bytes_per_second = 0;
  turn();
}

void Host::network_changed() {
  if (udp_ && !ended_) udp_->network_changed();
}

Duration Host::longest_gap() const {
  if (!last_read_at_ || readable_end_) return longest_gap_;
  return std::max(longest_gap_, world_.now() - *last_read_at_);
}

void Host::freeze(Duration duration) {
  frozen_until_ = std::max(frozen_until_, world_.now() + duration);
}

void Host::cancel(const std::string& reason) {
  session_.abort(bulk::AbortCode::Cancelled, reason, world_.now());
  turn();
}

// A frozen host runs nothing; whatever happens to it waits in kernel buffers.
void Host::when_awake(std::function<void()> what) {
  if (world_.now() >= frozen_until_) return what();
  world_.at(frozen_until_, [this, what = std::move(what)] { when_awake(what); });
}

void Host::connect(std::size_t relay) {
  Port& port = ports_[relay];
  port.started = true;
  const std::uint32_t generation = ++port.generation;
  derp::ClientConfig config;
  config.key = options_.session.derp_key;
  config.server_key = relays_[relay]->public_key();  // as the meta certificate would tell: fast start
  port.core.emplace(config, world_.now(), world_.rng());
  port.connection = relays_[relay]->connect({
      [this, relay, generation](ByteView bytes) {
        when_awake(
            [this, relay, generation, copy = to_bytes(bytes)] { on_stream_bytes(relay, generation, copy); });
      },
      [this, relay, generation] { when_awake([this, relay, generation] { on_closed(relay, generation); }); },
  });
  drain_client(relay);
}

void Host::on_stream_bytes(std::size_t relay, std::uint32_t generation, ByteView bytes) {
  Port& port = ports_[relay];
  if (generation != port.generation || !port.core) return;
  port.core->on_bytes(bytes, world_.now());
  drain_client(relay);
  turn();
}

void Host::on_closed(std::size_t relay, std::uint32_t generation) {
  Port& port = ports_[relay];
  if (generation != port.generation || !port.core) return;
  port.core.reset();
  session_.on_relay_down(relay, world_.now());
  const int n = std::min(++port.failures, 22);
  const Duration backoff = std::min<Duration>(n * n * 10ms, 5s);
  world_.after(backoff / 2 + Duration(static_cast<std::int64_t>(
                                 world_.rng().below(static_cast<std::uint64_t>(backoff.count())))),
               [this, relay, generation] {
                 if (ports_[relay].generation == generation && !ended_) connect(relay);
               });
  turn();
}

void Host::drain_client(std::size_t relay) {
  Port& port = ports_[relay];
  while (port.core) {
    auto event = port.core->poll_event();
    if (!event) break;
    std::visit(
        Overloaded{
            [&](const derp::LoggedIn&) {
              port.failures = 0;
              if (!relay_up_at_) relay_up_at_ = world_.now();
              session_.on_relay_up(relay, world_.now());
              session_.on_relay_writable(relay, true);
            },
            [&](const derp::PacketReceived& packet) { packet_arrived(relay, packet.from, packet.bytes); },
            [&](const derp::PeerGone& gone) {
              session_.on_peer_gone(relay, gone.peer, gone.reason, world_.now());
            },
            [&](const derp::ConnectionDead&) {
              relays_[relay]->disconnect(port.connection);
              world_.after(Duration::zero(),
                           [this, relay, generation = port.generation] { on_closed(relay, generation); });
            },
            [&](const auto&) {},
        },
        *event);
  }
  if (!port.core) return;
  const ByteView output = port.core->output();
  if (output.empty()) return;
  relays_[relay]->send(port.connection, to_bytes(output));
  port.core->consume_output(output.size());
}

void Host::packet_arrived(std::size_t relay, const PublicKey& from, ByteView packet) {
  if (deaf_) return;
  const PacketFaults& faults = options_.faults;
  SeededRng& rng = world_.rng();
  if (rng.chance(faults.forge)) {
    Bytes forged(1 + rng.below(packet.size() + 64));
    rng.fill(forged);
    if (rng.chance(0.5))
      std::copy_n(packet.begin(), std::min<std::size_t>(forged.size(), 12), forged.begin());
    deliver(relay, from, std::move(forged));
  }
  if (faults.replay > 0) {
    if (!history_.empty() && rng.chance(faults.replay)) {
      const auto& [old_from, old] = history_[rng.below(history_.size())];
      deliver(relay, old_from, old);
    }
    if (history_.size() < kHistoryPackets) {
      history_.emplace_back(from, to_bytes(packet));
    } else {
      history_[rng.below(kHistoryPackets)] = {from, to_bytes(packet)};
    }
  }
  if (rng.chance(faults.drop)) return;
  Bytes copy = to_bytes(packet);
  if (!copy.empty() && rng.chance(faults.corrupt))
    copy[rng.below(copy.size())] ^= static_cast<std::byte>(1 + rng.below(255));
  if (rng.chance(faults.duplicate)) deliver(relay, from, copy);
  if (rng.chance(faults.delay)) {
    const auto hold =
        Duration(static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(faults.max_delay.count()))));
    world_.after(hold, [this, relay, from, copy = std::move(copy)] {
      when_awake([this, relay, from, copy] {
        deliver(relay, from, copy);
        turn();
      });
    });
    return;
  }
  deliver(relay, from, std::move(copy));
}

void Host::deliver(std::size_t relay, const PublicKey& from, Bytes packet) {
  if (ended_) return;
  session_.on_relay_packet(relay, from, packet, world_.now(), world_.wall());
}

void Host::turn() {
  if (ended_) return;
  if (world_.now() < frozen_until_) return when_awake([this] { turn(); });
  session_.on_timeout(world_.now(), world_.wall());
  for (std::size_t i = 0; i < relays_.size(); ++i) {
    if (ports_[i].core) {
      ports_[i].core->on_timeout(world_.now());
      drain_client(i);
    }
    if (!ports_[i].started && session_.wants_relay(i)) connect(i);
  }
  run_application();
  transmit();
  read_events();
  if (ended_) {
    for (std::size_t i = 0; i < relays_.size(); ++i) {
      if (ports_[i].core) relays_[i]->disconnect(ports_[i].connection);
      ports_[i].core.reset();
    }
    if (udp_) udp_->stop();
    return;
  }
  // What has left may make room for more, as in the real loop.
  do {
    run_application();
    transmit();
  } while (!finished_ && world_.now() >= writer_free_ && !session_.room().empty());
  arm();
}

void Host::read_events() {
  while (auto event = session_.poll_event()) {
    std::visit(Overloaded{
                   [&](const session::ClaimedBy&) { claimed_at_ = world_.now(); },
                   [&](const session::StreamReadable&) { readable_end_ = true; },
                   [&](const session::SessionEnded& end) {
                     ended_ = end;
                     ended_at_ = world_.now();
                   },
                   [&](const session::PeerMessage& message) {
                     Reader reader(message.bytes);
                     content_wrong_ = content_wrong_ || reader.u32() != messages_received_ || !reader.ok();
                     ++messages_received_;
                   },
                   [&](const session::OpenSockets& open) { udp_->open(open); },
                   [&](const session::CloseSockets& close) { udp_->close(close); },
                   [&](const session::DirectInUse& use) {
                     ++path_log_.direct_ups;
                     if (!path_log_.first_direct_at) path_log_.first_direct_at = world_.now();
                     path_log_.last_direct_at = world_.now();
                     path_log_.direct = use.route;
                     path_log_.remotes.push_back(use.route.remote);
                   },
                   [&](const session::DirectLost& lost) {
                     ++path_log_.direct_losses;
                     path_log_.direct.reset();
                     path_log_.last_loss = lost.why;
                   },
                   [&](const auto&) {},
               },
               *event);
  }
}

void Host::write_application() {
  while (!finished_ && world_.now() >= writer_free_) {
    const ByteSpan room = session_.room();
    if (room.empty()) return;
    std::size_t size = std::min<std::size_t>(
        {kApplicationChunk, room.size(), static_cast<std::size_t>(content_.size() - stream_offset_)});
    if (const double rate = options_.write_bytes_per_second; rate > 0) {
      size = std::min(size, std::max<std::size_t>(
                                1, static_cast<std::size_t>(rate * to_seconds(options_.write_interval))));
      writer_free_ = world_.now() + from_seconds(static_cast<double>(size) / rate);
      world_.at(writer_free_, [this] { turn(); });
    }
    content_.fill(stream_offset_, room.first(size));
    session_.commit(size);
    stream_offset_ += size;
    if (stream_offset_ == content_.size()) {
      finished_ = true;
      session_.finish();
    }
  }
}

bool Host::send_messages() {
  while (messages_sent_ < options_.messages) {
    Bytes message;
    Writer writer(message);
    writer.u32(messages_sent_);
    message.resize(session::Session::kMaxMessageBytes);
    if (!session_.send_message(message, world_.now())) return false;
    ++messages_sent_;
  }
  return true;
}

void Host::run_application() {
  if (!session_.is_open()) return;
  const bool all_said = send_messages();
  if (options_.session.direction == session::Direction::Send) return write_application();
  while (!session_.readable().empty() && world_.now() >= reader_free_) {
    ByteView bytes = session_.readable();
    bytes = bytes.first(std::min(bytes.size(), kApplicationChunk));
    if (!first_byte_at_) first_byte_at_ = world_.now();
    if (last_read_at_) longest_gap_ = std::max(longest_gap_, world_.now() - *last_read_at_);
    last_read_at_ = world_.now();
    content_wrong_ = content_wrong_ || !content_.matches(stream_offset_, bytes);
    stream_offset_ += bytes.size();
    if (options_.read_bytes_per_second > 0) {
      reader_free_ =
          world_.now() + from_seconds(static_cast<double>(bytes.size()) / options_.read_bytes_per_second);
      world_.at(reader_free_, [this] { turn(); });
    }
    session_.consume(bytes.size(), world_.now());
  }
  if (readable_end_ && all_said && !confirmed_ && session_.readable().empty()) {
    confirmed_ = true;
    session_.confirm(world_.now());
  }
}

void Host::want_lane() {
  session_.want_lane(world_.now());
  turn();
}

void Host::transmit() {
  if (const std::uint64_t version = session_.openers_version();
      version != std::exchange(openers_version_, version))
    openers_ = session_.ahead_openers();
  bulk::Seal seal;
  while (auto out = session_.poll_transmit(packet_, world_.now(), &seal)) {
    if (const auto* by_udp = std::get_if<path::Transmit>(&*out)) {
      if (seal) seal.apply(ByteSpan(packet_).first(by_udp->size));
      if (udp_) udp_->send(*by_udp, ByteView(packet_).first(by_udp->size));
      continue;
    }
    const auto& by_relay = std::get<session::Session::RelayTransmit>(*out);
    Port& port = ports_[by_relay.relay];
    if (!port.core) continue;
    port.core->send_packet(by_relay.to, ByteView(packet_).first(by_relay.size), world_.now());
    drain_client(by_relay.relay);
  }
}

void Host::arm() {
  auto next = session_.next_timeout();
  for (const Port& port : ports_) {
    if (port.core) next = earlier(next, port.core->next_timeout());
  }
  if (!next || (armed_ && *armed_ <= *next && *armed_ > world_.now())) return;
  armed_ = std::max(*next, world_.now());
  world_.at(*armed_, [this, due = *armed_] {
    if (armed_ == due) armed_.reset();
    turn();
  });
}

}  // namespace dh::sim
