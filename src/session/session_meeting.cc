#include <algorithm>

#include "base/check.hh"
#include "bulk/limits.hh"
#include "session/session_impl.hh"
#include "wire/datagram.hh"

namespace dh::session {
namespace {

constexpr std::string_view kBulkLabel = "bulk";
constexpr std::string_view kBindingLabel = "binding";

constexpr std::uint8_t aead_bit(AeadKind kind) {
  return kind == AeadKind::Aes256Gcm ? 1 : 2;
}

GateConfig gate_config(const SessionConfig& config) {
  CHECK(config.noise_key.has_value());
  GateConfig out;
  out.token = config.token;
  out.noise_static = *config.noise_key;
  for (const RelayRef& relay : config.token.relays) out.relay_names.push_back(relay_name(relay));
  return out;
}

}  // namespace

Session::Impl::Impl(const SessionConfig& config_in, Instant now, UnixSeconds wall, Rng& rng_in)
    : config(config_in), rng(rng_in), relays(config.token.relays.size()), started(now), last_wall(wall) {
  CHECK(!config.token.relays.empty() && config.token.relays.size() <= kMaxRelays);
  const auto left = std::chrono::duration_cast<Duration>(config.token.expires + kClockTolerance - wall);
  if (config.role == Role::Listener) {
    gate.emplace(gate_config(config), now, rng);
    expires = now + left;
  } else {
    give_up = now + config.wait;
    if (left <= Duration::zero()) end(SessionEnd::Expired);
  }
  if (policy(PathPolicy::ForceRelay)) return;
  path::PathConfig finder;
  finder.dialer = dialer();
  finder.loopback_peer = std::any_of(config.token.relays.begin(), config.token.relays.end(),
                                     [](const RelayRef& relay) { return relay.plain_http; });
  paths.emplace(finder, now, rng);
}

void Session::Impl::relay_up(std::size_t relay, Instant now) {
  relays.up(relay);
  ever_up = true;
  if (dialer() && state == State::Meeting && !control) start_handshake(relay, now);
  relay_changed(now);
}

void Session::Impl::relay_down(std::size_t relay, Instant now) {
  relays.down(relay);
  writable[relay] = false;
  initiators[relay].reset();
  want_others = true;
  relay_changed(now);
}

void Session::Impl::peer_gone(std::size_t relay, const PublicKey& who, derp::PeerGoneReason reason,
                              Instant now) {
  if (state == State::Meeting && dialer() && who == config.token.listener_derp) {
    heard_absent = heard_absent || reason == derp::PeerGoneReason::NotHere;
    want_others = true;  // the listener may be on the token's other relay only
    if (initiators[relay]) initiators[relay]->on_peer_gone(now);
  } else if (state == State::Open && who == peer) {
    relays.suspect(relay);
    if (receiver) receiver->on_sender_gone(now);
    want_others = true;
    relay_changed(now);
  }
}

void Session::Impl::start_handshake(std::size_t relay, Instant now) {
  InitiatorConfig initiator;
  initiator.token = config.token;
  initiator.own_derp = config.derp_key.pub;
  initiator.relay_name = relay_name(config.token.relays[relay]);
  initiator.claim.protocol_version = kProtocolVersion;
  initiator.claim.capability = static_cast<std::uint32_t>(config.capability);
  initiator.claim.aead_kinds = aead_bit(config.aead);
  initiators[relay].emplace(initiator, now, last_wall, rng);
}

void Session::Impl::relay_changed(Instant now) {
  const auto current = relays.current();
  if (!current || current == told_relay) return;
  if (sender && !direct) sender->prefer_path(static_cast<bulk::PathId>(*current), now);
  if (state != State::Meeting) {
    told_relay = current;
    events.push_back(RelayInUse{*current});
    if (control) {  // shows the peer where we are
      control->resend_now(now);
      if (control->all_acknowledged()) control->send(wire::serialize(wire::Ping{}), now);
    }
  }
}

bool Session::Impl::wants_relay(std::size_t relay) const {
  if (state == State::Ended || relay >= relays.size()) return false;
  if (!dialer() || relay == 0) return true;
  return want_others;
}

void Session::Impl::heard(std::size_t relay, Instant now) {
  const auto last = last_heard();
  if (silent_since) {
    events.push_back(PeerBack{now - *silent_since});
    silent_since.reset();
  }
  const auto current = relays.current();
  // The dialer chooses; the listener follows it.
  if (!dialer() && current && *current != relay &&
      (!last || now - *last > kFollowAfter || relays.is_suspect(*current)))
    relays.follow(relay);
  relays.heard(relay, now);
  relay_changed(now);
}

void Session::Impl::packet(std::size_t relay, const PublicKey& from, ByteSpan bytes, Instant now,
                           UnixSeconds wall) {
  if (state == State::Ended) return;
  const auto kind = wire::datagram_kind(bytes);
  if (kind == wire::DatagramKind::Bulk) return bulk_packet(relay, bytes, now);
  if (kind == wire::DatagramKind::Control && control && control->on_packet(bytes, now)) {
    heard(relay, now);
    confirm_when_heard(now);
    return read_control(now);
  }
  if (dialer()) {
    if (initiators[relay] && initiators[relay]->on_packet(bytes, now)) {
      read_initiator(relay, now);
    } else {
      ++unknown_packets;
    }
    return;
  }
  gate->on_packet(relay_name(config.token.relays[relay]), from, bytes, now, wall);
  read_gate(now);
}

void Session::Impl::bulk_packet(std::size_t relay, ByteSpan bytes, Instant now) {
  const auto path = static_cast<bulk::PathId>(relay);
  const bool authentic =
      sender ? sender->on_datagram(path, bytes, now) : receiver && receiver->on_datagram(path, bytes, now);
  if (authentic) {
    count_bytes(relay, bytes.size());
    if (dialer() && state == State::Meeting) accepted(now);  // the yes itself may be late; this proves it
    watch_size(now);
    heard(relay, now);
  } else {
    ++unknown_packets;
  }
}

void Session::Impl::read_initiator(std::size_t relay, Instant now) {
  while (initiators[relay]) {
    auto event = initiators[relay]->poll_event();
    if (!event) return;
    if (auto* ready = std::get_if<KeysReady>(&*event)) {
      control.emplace(std::move(ready->channel));
      peer = config.token.listener_derp;
      open_stream(ready->keys, config.aead, now);
      start_paths(ready->keys, now);
      relays.heard(relay, now);
      for (auto& initiator : initiators) initiator.reset();
      relay_changed(now);
    } else {
      end(SessionEnd::TokenRefused);
    }
  }
}

void Session::Impl::read_gate(Instant now) {
  while (auto event = gate->poll_event()) {
    if (state != State::Meeting) {
      gate->reject(std::move(*event), RejectReason::AlreadyClaimed, now);
      continue;
    }
    ClaimArrived& arrived = *event;
    const auto aead = arrived.claim.aead_kinds == aead_bit(AeadKind::ChaCha20Poly1305)
                          ? AeadKind::ChaCha20Poly1305
                          : AeadKind::Aes256Gcm;
    ClaimAccepted accepted;
    accepted.protocol_version = kProtocolVersion;
    accepted.aead_kind = static_cast<std::uint8_t>(aead);
    gate->accept(arrived, accepted, now);
    peer = arrived.from;
    control.emplace(std::move(arrived.channel));
    open_stream(arrived.keys, aead, now);
    if (paths) paths->on_control_rtt(arrived.round_trip);
    start_paths(arrived.keys, now);
    state = State::Open;
    relays.follow(arrived.relay);
    relays.heard(arrived.relay, now);
    events.push_back(ClaimedBy{peer, binding});
    relay_changed(now);
    read_control(now);
  }
}

void Session::Impl::read_control(Instant now) {
  while (control) {
    auto message = control->poll_message();
    if (!message) return;
    auto parsed = wire::parse_session_msg(*message);
    if (parsed && paths) {
      if (const auto* call = std::get_if<wire::CallMeMaybe>(&*parsed)) {
        paths->on_call(*call, now);
        read_paths(now);
        continue;
      }
    }
    if (const auto* wanted = parsed ? std::get_if<wire::LanesWanted>(&*parsed) : nullptr) {
      use_lanes(wanted->lanes);
      continue;
    }
    if (const auto* capacity = parsed ? std::get_if<wire::SocketCapacity>(&*parsed) : nullptr) {
      if (sender) sender->set_peer_capacity(kDirectPath, capacity->bytes);
      continue;
    }
    if (auto* from_command = parsed ? std::get_if<wire::CommandMsg>(&*parsed) : nullptr) {
      events.push_back(PeerMessage{std::move(from_command->body)});
      continue;
    }
    if (!parsed || !dialer() || state != State::Meeting) continue;  // pings ask for nothing but their ack
    if (std::holds_alternative<ClaimAccepted>(*parsed)) {
      accepted(now);
    } else if (const auto* rejected = std::get_if<wire::ClaimRejected>(&*parsed)) {
      end(SessionEnd::Rejected, rejected->reason);
    }
  }
}

void Session::Impl::accepted(Instant now) {
  state = State::Open;
  give_up.reset();
  events.push_back(ClaimedBy{peer, binding});
  relay_changed(now);
}

void Session::Impl::open_stream(const SessionKeys& keys, AeadKind aead, Instant now) {
  bulk::StreamConfig stream;
  stream.secret = export_key(keys, kBulkLabel);
  stream.aead = aead;
  stream.peer_connection_id = keys.peer_index;
  stream.controller = config.controller;
  stream.bbr = config.bbr;
  stream.rate_limit = config.rate_limit;
  if (config.capability == Capability::Transfer) {
    stream.receive_window = kTransferWindow;
    stream.receive_window_shrinks = true;
  }
  const Secret<64> bound = export_key(keys, kBindingLabel);
  std::copy_n(bound.expose().begin(), binding.size(), binding.begin());
  bulk::PathProperties path;
  path.datagram_bytes = config.relay_datagram_bytes;
  path.is_relay = true;
  if (config.direction == Direction::Send) {
    sender.emplace(stream, now, rng);
  } else {
    receiver.emplace(stream, now, rng);
  }
  if (paths) {
    bulk::PathProperties by_udp;
    by_udp.datagram_bytes = bulk::kBaseDatagramBytes;
    if (sender) sender->add_path(kDirectPath, by_udp, now);
    if (sender) sender->set_path_usable(kDirectPath, false, by_udp.initial_rtt, now);
    if (receiver) receiver->add_path(kDirectPath, by_udp, now);
    for (bulk::PathId lane = kDirectPath + 1; receiver && lane < kDirectPath + bulk::kMaxLanes; ++lane)
      receiver->add_lane(kDirectPath, lane);
    use_lanes(config.lanes);
    if (receiver) receiver->set_path_usable(kDirectPath, false);
  }
  if (policy(PathPolicy::RequireDirect)) {
    direct_deadline = now + config.wait;
    return;
  }
  for (std::size_t i = 0; i < relays.size(); ++i) {
    const auto id = static_cast<bulk::PathId>(i);
    if (sender) sender->add_path(id, path, now);
    if (receiver) receiver->add_path(id, path, now);
  }
  if (sender && relays.current()) sender->prefer_path(static_cast<bulk::PathId>(*relays.current()), now);
}

}  // namespace dh::session
