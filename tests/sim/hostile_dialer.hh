#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/overloaded.hh"
#include "derp/client_core.hh"
#include "path/probe_cipher.hh"
#include "session/initiator.hh"
#include "session/session.hh"
#include "sim/relay.hh"

namespace dh::sim {

/// Somebody with a good token and bad intentions: claims the session as any dialer, then says and sends what
/// the test tells it to.
class HostileDialer {
public:
  HostileDialer(World& world, Relay& relay, const session::SessionConfig& config)
      : world_(world), relay_(relay), config_(config) {
    derp::ClientConfig client;
    client.key = config_.derp_key;
    client.server_key = relay.public_key();
    core_.emplace(client, world.now(), world.rng());
    connection_ = relay.connect({[this](ByteView bytes) {
                                   core_->on_bytes(bytes, world_.now());
                                   turn();
                                 },
                                 [] {}});
    tick();
  }

  bool has_claimed() const { return channel_.has_value(); }
  bool say(const wire::CallMeMaybe& call) { return channel_->send(wire::serialize(call), world_.now()); }
  /// One authentic ping, as the dialer of this session sends it.
  Bytes ping(const Endpoint& to) {
    Bytes out(wire::kProbeSize);
    cipher_->seal({wire::ProbeKind::Ping, world_.rng().u64(), to}, out);
    return out;
  }

private:
  void tick() {
    turn();
    world_.after(10ms, [this] { tick(); });
  }
  void turn() {
    core_->on_timeout(world_.now());
    while (auto event = core_->poll_event()) {
      if (std::holds_alternative<derp::LoggedIn>(*event)) {
        session::InitiatorConfig initiator;
        initiator.token = config_.token;
        initiator.own_derp = config_.derp_key.pub;
        initiator.relay_name = session::relay_name(config_.token.relays[0]);
        initiator.claim.protocol_version = 1;
        initiator.claim.capability = static_cast<std::uint32_t>(config_.capability);
        initiator.claim.aead_kinds = 3;
        initiator_.emplace(initiator, world_.now(), world_.wall(), world_.rng());
      } else if (const auto* packet = std::get_if<derp::PacketReceived>(&*event)) {
        if (channel_) {
          channel_->on_packet(packet->bytes, world_.now());
        } else if (initiator_) {
          initiator_->on_packet(packet->bytes, world_.now());
        }
      }
    }
    if (initiator_ && !channel_) {
      initiator_->on_timeout(world_.now());
      while (auto packet = initiator_->poll_packet()) send(*packet);
      if (auto event = initiator_->poll_event()) open(std::get<session::KeysReady>(std::move(*event)));
    }
    if (channel_) {
      while (channel_->poll_message()) {
      }
      while (auto packet = channel_->poll_packet(world_.now())) send(*packet);
    }
    const ByteView output = core_->output();
    if (output.empty()) return;
    relay_.send(connection_, to_bytes(output));
    core_->consume_output(output.size());
  }
  void open(session::KeysReady ready) {
    path::ProbeKeys keys;
    const auto key = [&](std::string_view label, Secret<32>& out) {
      const Secret<64> exported = session::export_key(ready.keys, label);
      std::memcpy(out.uchar(), exported.uchar(), 32);
    };
    key("probe i->r", keys.send);
    key("probe r->i", keys.receive);
    keys.local_index = ready.keys.local_index;
    keys.peer_index = ready.keys.peer_index;
    keys.dialer = config_.derp_key.pub;
    keys.listener = config_.token.listener_derp;
    cipher_.emplace(keys);
    channel_.emplace(std::move(ready.channel));
  }
  void send(ByteView packet) { core_->send_packet(config_.token.listener_derp, packet, world_.now()); }

  World& world_;
  Relay& relay_;
  session::SessionConfig config_;
  std::optional<derp::ClientCore> core_;
  std::uint64_t connection_ = 0;
  std::optional<session::Initiator> initiator_;
  std::optional<session::ControlChannel> channel_;
  std::optional<path::ProbeCipher> cipher_;
};

}  // namespace dh::sim
