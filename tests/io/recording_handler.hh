#pragma once

#include <string>
#include <utility>
#include <vector>

#include "io/derp_client.hh"

namespace dh::io::testing {

/// A DerpClient's owner that writes everything down.
class RecordingHandler final : public DerpClientHandler {
public:
  void on_relay_up(const PublicKey& key) override {
    ++ups;
    server_key = key;
  }
  void on_relay_down(const std::string& why) override { downs.push_back(why); }
  void on_packet(const PublicKey& from, ByteSpan bytes) override {
    packets.emplace_back(from, Bytes(bytes.begin(), bytes.end()));
    if (on_each_packet) on_each_packet();
  }
  void on_peer_gone(const PublicKey& peer, derp::PeerGoneReason reason) override {
    gone.emplace_back(peer, reason);
  }
  void on_health(const std::string& problem) override { health.push_back(problem); }
  void on_writable() override { ++writables; }

  int ups = 0;
  int writables = 0;
  PublicKey server_key;
  std::vector<std::string> downs;
  std::vector<std::pair<PublicKey, Bytes>> packets;
  std::vector<std::pair<PublicKey, derp::PeerGoneReason>> gone;
  std::vector<std::string> health;
  std::function<void()> on_each_packet;
};

}  // namespace dh::io::testing
