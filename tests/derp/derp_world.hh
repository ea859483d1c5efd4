#pragma once

#include <map>
#include <string>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "base/rng.hh"
#include "derp/client_core.hh"
#include "derp/login.hh"
#include "derp/server_core.hh"
#include "wire/derp_frame.hh"

namespace dh::derp::test {

inline Bytes hex(std::string text) {
  std::erase_if(text, [](char c) { return c == ' ' || c == '\n'; });
  auto bytes = from_hex(text);
  EXPECT_TRUE(bytes) << text;
  return bytes.value_or(Bytes{});
}

inline PublicKey key_of(std::string_view text) {
  return PublicKey::parse(text).value();
}

inline PublicKey key_filled_with(int value) {
  PublicKey key;
  key.bytes.fill(static_cast<std::byte>(value));
  return key;
}

inline KeyPair pair_of(std::string_view private_hex) {
  return KeyPair::from_private(PrivateKey(array_from_hex<32>(private_hex).value()));
}

inline KeyPair vector_client() {
  return pair_of("40ab1b58e9076c7a4d9d07291f5edf9d1aa017eb949624ba683317f48a640369");
}
inline KeyPair vector_server() {
  return pair_of("202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e7f");
}

template <typename Frame>
Bytes frame_bytes(const Frame& frame) {
  Bytes out;
  Writer w(out);
  frame.serialize(w);
  return out;
}

/// Gives the same bytes again and again from a list: for golden nonces.
class FixedRng final : public Rng {
public:
  explicit FixedRng(Bytes bytes) : bytes_(std::move(bytes)) {}
  void fill(ByteSpan out) override {
    for (std::byte& b : out) {
      b = bytes_[at_];
      at_ = (at_ + 1) % bytes_.size();
    }
  }

private:
  Bytes bytes_;
  std::size_t at_ = 0;
};

/// 62 bytes with disco's magic, as in the relays' own tests.
inline Bytes disco_packet() {
  Bytes packet = hex("5453f09f92ac");
  packet.resize(62);
  return packet;
}

inline Bytes packet_numbered(int number, std::size_t size = 100) {
  Bytes packet(size);
  store_be32(packet.data(), static_cast<std::uint32_t>(number));
  return packet;
}

inline int number_of(ByteView packet) {
  return static_cast<int>(load_be32(packet.data()));
}

/// A frame a server wrote, copied out of its stream.
struct SeenFrame {
  wire::derp::FrameType type{};
  Bytes payload;

  PublicKey key() const { return PublicKey::from(ByteView(payload).first<32>()); }
  ByteView packet() const { return ByteView(payload).subspan(32); }
};

/// A server core and raw connections to it; frames are written by hand. A connection's stream is drained
/// after every input unless it is stalled.
class RawWorld {
public:
  explicit RawWorld(ServerConfig config = {}) : server(config, vector_server(), now, rng) {}

  ConnectionId connect() {
    const ConnectionId id = ++last_id_;
    server.on_connect(id, Endpoint::parse("192.0.2.1:40001").value(), now);
    pump();
    return id;
  }

  /// Connects and logs in; the stream read so far is forgotten.
  ConnectionId login(const KeyPair& key, ClientLogin login = {}) {
    const ConnectionId id = connect();
    send(id, client_info(key, login));
    EXPECT_FALSE(closed.contains(id));
    frames[id].clear();
    return id;
  }

  Bytes client_info(const KeyPair& key, const ClientLogin& login = {}) {
    Bytes bytes;
    EXPECT_TRUE(append_client_info(bytes, login, key, server.public_key(), rng));
    return bytes;
  }

  void send(ConnectionId id, ByteView bytes) {
    server.on_bytes(id, bytes, now);
    pump();
  }
  template <typename Frame>
  void send_frame(ConnectionId id, const Frame& frame) {
    send(id, frame_bytes(frame));
  }
  void send_packet(ConnectionId id, const PublicKey& to, ByteView packet) {
    send_frame(id, wire::derp::SendPacketFrame{to, packet});
  }

  /// From now on nothing this connection is sent leaves its socket.
  void stall(ConnectionId id) { stalled_[id] = true; }
  void unstall(ConnectionId id) {
    stalled_[id] = false;
    server.on_written(id, now);
    pump();
  }

  void disconnect(ConnectionId id) {
    server.on_disconnect(id, now);
    pump();
  }

  void advance(Duration by) {
    now += by;
    server.on_timeout(now);
    pump();
  }

  void pump() {
    while (auto event = server.poll_event()) {
      if (const auto* close = std::get_if<CloseConnection>(&*event)) closed[close->id] = close->reason;
      if (const auto* pause = std::get_if<PauseReading>(&*event)) paused[pause->id] = pause->paused;
    }
    while (auto id = server.poll_ready()) {
      Bytes batch;
      if (!server.take_output(*id, batch, now)) continue;
      batches.push_back(batch.size());
      readers_[*id].append(batch);
      collect(*id);
      if (stalled_[*id]) continue;
      server.on_written(*id, now);
    }
  }

  std::vector<SeenFrame> take(ConnectionId id) { return std::exchange(frames[id], {}); }
  std::vector<int> take_numbers(ConnectionId id) {
    std::vector<int> numbers;
    for (const auto& frame : take(id)) {
      if (frame.type == wire::derp::FrameType::RecvPacket) numbers.push_back(number_of(frame.packet()));
    }
    return numbers;
  }

  Instant now = Instant(1000s);
  SeededRng rng{1};
  ServerCore server;
  std::map<ConnectionId, std::vector<SeenFrame>> frames;
  std::map<ConnectionId, CloseReason> closed;
  std::map<ConnectionId, bool> paused;
  std::vector<std::size_t> batches;

private:
  void collect(ConnectionId id) {
    while (auto frame = readers_[id].next()) frames[id].push_back({frame->type, to_bytes(frame->payload)});
  }

  ConnectionId last_id_ = 0;
  std::map<ConnectionId, bool> stalled_;
  std::map<ConnectionId, wire::derp::FrameReader> readers_;
};

}  // namespace dh::derp::test
