// DERP: both ways of cutting a stream find the same frames, every payload parser round-trips what it accepts,
// and both cores survive any stream, cut anywhere, with time passing in between.
#include <vector>

#include "base/check.hh"
#include "derp/client_core.hh"
#include "derp/login.hh"
#include "derp/server_core.hh"
#include "wire/derp_frame_reader.hh"

using namespace dh;
using namespace dh::wire::derp;

namespace {

constexpr Instant kStart{1000s};

// Cuts the input by its own first bytes: 1..64 bytes a piece, or everything at once.
class Pieces {
public:
  Pieces(ByteView bytes, std::uint64_t seed) : rest_(bytes), rng_(seed) {}
  bool done() const { return rest_.empty(); }
  ByteView next() {
    const std::size_t size =
        rng_.chance(0.1) ? rest_.size() : std::min<std::size_t>(1 + rng_.below(64), rest_.size());
    const ByteView piece = rest_.first(size);
    rest_ = rest_.subspan(size);
    return piece;
  }

private:
  ByteView rest_;
  SeededRng rng_;
};

struct Seen {
  FrameType type;
  Bytes payload;
  bool operator==(const Seen&) const = default;
};

std::vector<Seen> read_with_reader(ByteView stream, std::uint64_t seed) {
  std::vector<Seen> seen;
  FrameReader reader;
  for (Pieces pieces(stream, seed); !pieces.done();) {
    reader.append(pieces.next());
    while (auto frame = reader.next()) seen.push_back({frame->type, to_bytes(frame->payload)});
  }
  return seen;
}

std::vector<Seen> read_with_splitter(ByteView stream, std::uint64_t seed) {
  std::vector<Seen> seen;
  FrameSplitter splitter;
  for (Pieces pieces(stream, seed); !pieces.done();) {
    const Bytes piece = to_bytes(pieces.next());  // gone after keep_rest(): the sanitizer sees a late borrow
    splitter.feed(piece);
    while (auto header = splitter.header()) {
      if (header->length > kMaxFramePayload) return seen;
      const auto frame = splitter.next();
      if (!frame) break;
      CHECK(frame->payload.size() == header->length);
      seen.push_back({frame->type, to_bytes(frame->payload)});
    }
    splitter.keep_rest();
  }
  return seen;
}

// The naive twin: one pass over the whole stream.
std::vector<Seen> read_plainly(ByteView stream) {
  std::vector<Seen> seen;
  while (stream.size() >= kFrameHeaderSize) {
    const auto header = FrameHeader::read_from(stream.data());
    if (header.length > kMaxFramePayload || stream.size() - kFrameHeaderSize < header.length) break;
    seen.push_back({header.type, to_bytes(stream.subspan(kFrameHeaderSize, header.length))});
    stream = stream.subspan(kFrameHeaderSize + header.length);
  }
  return seen;
}

// What was parsed and written is parsed and written the same again.
template <typename Frame>
void round_trip(ByteView payload) {
  const auto frame = Frame::parse(payload);
  if (!frame) return;
  Bytes once;
  Writer w(once);
  frame->serialize(w);
  CHECK(FrameHeader::read_from(once.data()).length == once.size() - kFrameHeaderSize);
  const auto again = Frame::parse(ByteView(once).subspan(kFrameHeaderSize));
  CHECK(again);
  Bytes twice;
  Writer w2(twice);
  again->serialize(w2);
  CHECK(once == twice);
}

void parse_everything(ByteView payload) {
  round_trip<ServerKeyFrame>(payload);
  round_trip<ClientInfoFrame>(payload);
  round_trip<ServerInfoFrame>(payload);
  round_trip<SendPacketFrame>(payload);
  round_trip<RecvPacketFrame>(payload);
  round_trip<ForwardPacketFrame>(payload);
  round_trip<NotePreferredFrame>(payload);
  round_trip<PeerGoneFrame>(payload);
  round_trip<PeerPresentFrame>(payload);
  round_trip<ClosePeerFrame>(payload);
  round_trip<PingFrame>(payload);
  round_trip<PongFrame>(payload);
  round_trip<HealthFrame>(payload);
  round_trip<RestartingFrame>(payload);
  if (const auto login = derp::ClientLogin::from_json(as_text(payload))) {
    // AppName may hold invalid UTF-8, which our own writer passes through.
    CHECK(derp::ClientLogin::from_json(login->to_json()));
  }
  if (const auto login = derp::ServerLogin::from_json(as_text(payload))) {
    if (login->version >= 0) CHECK(derp::ServerLogin::from_json(login->to_json()) == *login);
  }
}

void run_client(ByteView stream, std::uint64_t seed, bool fast_start) {
  SeededRng rng(seed);
  derp::ClientConfig config;
  config.key = KeyPair::from_private(PrivateKey());
  static const KeyPair relay = KeyPair::from_private(PrivateKey(ByteArray<32>{std::byte{8}}));
  if (fast_start) config.server_key = relay.pub;
  Instant now = kStart;
  derp::ClientCore core(config, now, rng);
  bool dead = false;
  const auto drain = [&] {
    while (auto event = core.poll_event()) {
      CHECK(!dead);
      dead = std::holds_alternative<derp::ConnectionDead>(*event);
      if (auto* packet = std::get_if<derp::PacketReceived>(&*event)) {
        CHECK(packet->bytes.size() <= kMaxFramePayload);
        for (std::byte& b : packet->bytes) b ^= std::byte{1};  // ours to change
      }
    }
    CHECK(dead == (core.state() == derp::ClientState::Dead));
    CHECK(dead == !core.next_timeout());
    CHECK(core.output().size() < 4096);  // nothing a relay says makes us hoard answers
  };
  if (fast_start) {  // log in for real, so that the input meets the steady state
    Bytes info;
    CHECK(derp::append_server_info(info, {.version = 2}, relay, config.key.pub, rng));
    core.on_bytes(info, now);
    drain();
  }
  for (Pieces pieces(stream, seed); !pieces.done();) {
    core.on_bytes(pieces.next(), now);
    drain();
    now += std::chrono::milliseconds(rng.below(2000));
    core.on_timeout(now);
    drain();
    if (rng.chance(0.3)) core.consume_output(core.output().size());
  }
  core.on_eof(now);
  drain();
  CHECK(dead);
}

// A witness beside the attacker: whatever the input says, its own packets to itself keep flowing.
void run_server(ByteView stream, std::uint64_t seed, bool with_mesh_key) {
  SeededRng rng(seed);
  derp::ServerConfig config;
  config.mesh_key = Secret<32>(ByteArray<32>{std::byte{1}});
  if (rng.chance(0.3)) config.client_rate_bytes = 1 + rng.below(100'000);
  static const KeyPair server_key = KeyPair::from_private(PrivateKey(ByteArray<32>{std::byte{8}}));
  static const KeyPair attacker = KeyPair::from_private(PrivateKey(ByteArray<32>{std::byte{16}}));
  static const KeyPair witness = KeyPair::from_private(PrivateKey(ByteArray<32>{std::byte{24}}));
  Instant now = kStart;
  derp::ServerCore core(config, server_key, now, rng);
  FrameReader readers[3];
  bool closed[3] = {};
  std::uint64_t self_packets = 0;
  const auto drain = [&](bool stall_attacker) {
    while (auto event = core.poll_event()) {
      if (auto* close = std::get_if<derp::CloseConnection>(&*event)) {
        CHECK(!closed[close->id]);
        closed[close->id] = true;
        core.on_disconnect(close->id, now);
      }
    }
    while (auto id = core.poll_ready()) {
      CHECK(!closed[*id]);
      Bytes batch;
      if (!core.take_output(*id, batch, now)) continue;
      CHECK(!batch.empty());
      readers[*id].append(batch);
      while (auto frame = readers[*id].next()) {
        const bool from_witness =
            frame->payload.size() >= 32 && equal_bytes(frame->payload.first(32), witness.pub.bytes);
        if (*id == 2 && frame->type == FrameType::RecvPacket && from_witness) ++self_packets;
      }
      CHECK(!readers[*id].too_long() && readers[*id].buffered() < kMaxFramePayload);
      if (*id == 1 && stall_attacker) continue;
      core.on_written(*id, now);
    }
  };
  const auto log_in = [&](derp::ConnectionId id, const KeyPair& key) {
    core.on_connect(id, {}, now);
    Bytes info;
    derp::ClientLogin login;
    if (id == 1 && with_mesh_key) login.mesh_key = config.mesh_key;
    CHECK(derp::append_client_info(info, login, key, server_key.pub, rng));
    core.on_bytes(id, info, now);
    drain(false);
  };
  log_in(2, witness);
  if (rng.chance(0.9))
    log_in(1, attacker);
  else
    core.on_connect(1, {}, now);
  std::uint64_t sent = 0;
  Bytes probe;
  Writer w(probe);
  SendPacketFrame{witness.pub, as_bytes("x")}.serialize(w);
  for (Pieces pieces(stream, seed); !pieces.done();) {
    core.on_bytes(1, pieces.next(), now);
    drain(rng.chance(0.5));
    if (!closed[2]) {
      core.on_bytes(2, probe, now);
      ++sent;
      drain(true);
    }
    now += std::chrono::milliseconds(rng.below(500));
    core.on_timeout(now);
    drain(true);
  }
  // Only a mesh peer may close or forge others.
  if (!with_mesh_key) CHECK(!closed[2]);
  if (!with_mesh_key && config.client_rate_bytes == 0) CHECK(self_packets == sent);
  core.on_disconnect(1, now);
  core.on_disconnect(2, now);
  drain(false);
  CHECK(core.counters().current_connections == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::uint64_t seed = data[0];
  const ByteView stream = std::as_bytes(std::span(data, size)).subspan(2);
  const auto frames = read_plainly(stream);
  CHECK(read_with_reader(stream, seed) == frames);
  CHECK(read_with_splitter(stream, seed) == frames);
  parse_everything(stream);
  for (const auto& frame : frames) parse_everything(frame.payload);
  run_client(stream, seed, (data[1] & 1) != 0);
  run_server(stream, seed, (data[1] & 2) != 0);
  return 0;
}
