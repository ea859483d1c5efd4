#include "derp/client_core.hh"

#include <algorithm>

#include "base/check.hh"
#include "derp/login.hh"
#include "wire/derp_frame.hh"

namespace dh::derp {
namespace {

using wire::derp::FrameType;

// "HTTP/" read as a frame header: what an upgrade that was refused, or a proxy's page, begins with.
constexpr wire::derp::FrameHeader kHttpAnswer{static_cast<FrameType>('H'), 0x5454502f};
constexpr int kMaxUnansweredPings = 2;

}  // namespace

std::string_view to_string(ClientError error) {
  switch (error) {
    case ClientError::NotDerp:
      return "not a DERP relay";
    case ClientError::Rejected:
      return "rejected or not authorised";
    case ClientError::BadServerInfo:
      return "bad server info";
    case ClientError::FrameTooLong:
      return "frame too long";
    case ClientError::LoginTimeout:
      return "login timed out";
    case ClientError::Silent:
      return "relay fell silent";
    case ClientError::Eof:
      return "connection closed by relay";
  }
  return "unknown";
}

ClientCore::ClientCore(const ClientConfig& config, Instant now, Rng& rng)
    : config_(config), rng_(rng), now_(now) {
  timers_[kLogin] = now + kLoginTimeout;
  timers_[kSilence] = now + kSilenceTimeout;
  if (config_.server_key) log_in(*config_.server_key);
}

void ClientCore::on_bytes(ByteView stream_bytes, Instant now) {
  if (state_ == ClientState::Dead) return;
  reader_.append(stream_bytes);
  heard(now);
}

ByteSpan ClientCore::input_space(std::size_t min_size) {
  return reader_.space(min_size);
}

void ClientCore::on_input(std::size_t size, Instant now) {
  if (state_ == ClientState::Dead) return;
  reader_.commit(size);
  heard(now);
}

void ClientCore::on_eof(Instant now) {
  now_ = now;
  eof_ = true;
}

void ClientCore::on_timeout(Instant now) {
  now_ = now;
  if (state_ == ClientState::Dead) return;
  if (is_due(timers_[kLogin], now)) return die(ClientError::LoginTimeout);
  if (is_due(timers_[kSilence], now)) return die(ClientError::Silent);
  if (!is_due(timers_[kPing], now)) return;
  if (unanswered_pings_ >= kMaxUnansweredPings) return die(ClientError::Silent);
  send_ping();
}

SendResult ClientCore::send_packet(const PublicKey& to, ByteView packet, Instant now) {
  if (!can_send()) return SendResult::Dead;
  if (packet.size() > wire::derp::kMaxPacketSize) return SendResult::TooLong;
  const std::size_t frame_size = wire::derp::kFrameHeaderSize + wire::derp::kDerpKeySize + packet.size();
  if (bucket_ && !bucket_->take(frame_size, now)) {
    ++counters_.rate_limited;
    return SendResult::RateLimited;
  }
  write(wire::derp::SendPacketFrame{to, packet});
  ++counters_.packets_sent;
  counters_.bytes_sent += packet.size();
  return SendResult::Queued;
}

void ClientCore::note_preferred(bool home) {
  if (home == config_.home) return;
  config_.home = home;
  if (can_send()) write(wire::derp::NotePreferredFrame{home});
}

std::optional<ClientEvent> ClientCore::poll_event() {
  while (state_ != ClientState::Dead) {
    if (const auto head = reader_.header(); head && !any_frame_ && *head == kHttpAnswer) {
      die(ClientError::NotDerp);
      break;
    }
    if (reader_.too_long()) {
      die(any_frame_ ? ClientError::FrameTooLong : ClientError::NotDerp);
      break;
    }
    const auto frame = reader_.next();
    if (!frame) break;
    any_frame_ = true;
    if (auto event = on_frame(*frame)) return event;
  }
  if (eof_ && state_ != ClientState::Dead)
    die(state_ == ClientState::Established ? ClientError::Eof : ClientError::Rejected);
  if (!death_) return std::nullopt;
  const ConnectionDead event{*death_};
  death_.reset();
  return event;
}

void ClientCore::consume_output(std::size_t size) {
  CHECK(size <= out_.size() - out_begin_);
  out_begin_ += size;
  out_consumed_ += size;
  if (out_begin_ == out_.size()) {
    out_.clear();
    out_begin_ = 0;
  } else if (out_begin_ > out_.size() / 2) {
    out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(out_begin_));
    out_begin_ = 0;
  }
}

bool ClientCore::take_output(Bytes& batch) {
  batch.clear();
  if (out_begin_ > 0) {
    out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(out_begin_));
    out_begin_ = 0;
  }
  out_consumed_ += out_.size();
  batch.swap(out_);
  return !batch.empty();
}

std::optional<Instant> ClientCore::next_timeout() const {
  std::optional<Instant> next;
  for (const auto& timer : timers_) next = earlier(next, timer);
  return next;
}

void ClientCore::log_in(const PublicKey& server_key) {
  CHECK(state_ == ClientState::AwaitServerKey);
  server_key_ = server_key;
  ClientLogin login;
  login.version = wire::derp::kDerpVersion;
  login.can_ack_pings = true;
  login.app_name = config_.app_name;
  const std::size_t before = out_.size();
  // A key nobody can compute with is not a relay's.
  if (!append_client_info(out_, login, config_.key, server_key, rng_)) return die(ClientError::NotDerp);
  out_total_ += out_.size() - before;
  state_ = ClientState::AwaitServerInfo;
  if (config_.home) write(wire::derp::NotePreferredFrame{true});
}

void ClientCore::die(ClientError error) {
  CHECK(state_ != ClientState::Dead);
  state_ = ClientState::Dead;
  death_ = error;
  timers_ = {};
  out_.clear();
  out_begin_ = 0;
}

void ClientCore::send_ping() {
  own_pings_[1] = own_pings_[0];
  OwnPing ping;
  rng_.fill(ping.data);
  ping.sent_at = now_;
  own_pings_[0] = ping;
  ++unanswered_pings_;
  write(wire::derp::PingFrame{ping.data});
  timers_[kPing] = now_ + config_.ping_interval;
}

void ClientCore::heard(Instant now) {
  now_ = now;
  timers_[kSilence] = now + kSilenceTimeout;
  // Whatever the relay says proves that it lives: its pong may queue behind a burst of packets.
  unanswered_pings_ = 0;
}

std::optional<ClientEvent> ClientCore::on_frame(const wire::derp::FrameReader::Frame& frame) {
  if (state_ == ClientState::AwaitServerKey) {
    if (frame.type == FrameType::ServerKey) return on_server_key(frame.payload);
    die(ClientError::NotDerp);
    return std::nullopt;
  }
  if (frame.type == FrameType::ServerInfo) return on_server_info(frame.payload);
  if (frame.type == FrameType::KeepAlive) return std::nullopt;
  if (state_ != ClientState::Established) {
    ++counters_.unknown_frames;  // ServerKey in fast start; a relay says nothing else before ServerInfo
    return std::nullopt;
  }
  const auto too_short = [this] {
    ++counters_.short_frames;
    return std::nullopt;
  };
  switch (frame.type) {
    case FrameType::RecvPacket: {
      const auto packet = wire::derp::RecvPacketFrame::parse(frame.payload);
      if (!packet) return too_short();
      ++counters_.packets_received;
      counters_.bytes_received += packet->packet.size();
      return PacketReceived{packet->from, frame.payload.subspan(wire::derp::kDerpKeySize)};
    }
    case FrameType::PeerGone: {
      const auto gone = wire::derp::PeerGoneFrame::parse(frame.payload);
      if (!gone) return too_short();
      return PeerGone{gone->peer, gone->reason == 1 ? PeerGoneReason::NotHere : PeerGoneReason::Disconnected};
    }
    case FrameType::Ping:
      answer_ping(frame.payload);
      return std::nullopt;
    case FrameType::Pong:
      return on_pong(frame.payload);
    case FrameType::Health:
      return Health{std::string(as_text(frame.payload))};
    case FrameType::Restarting: {
      const auto restarting = wire::derp::RestartingFrame::parse(frame.payload);
      if (!restarting) return too_short();
      return Restarting{restarting->reconnect_in, restarting->try_for};
    }
    case FrameType::ServerKey:
    case FrameType::ClientInfo:
    case FrameType::ServerInfo:
    case FrameType::SendPacket:
    case FrameType::KeepAlive:
    case FrameType::NotePreferred:
    case FrameType::PeerPresent:
    case FrameType::ForwardPacket:
    case FrameType::WatchConns:
    case FrameType::ClosePeer:
      break;
  }
  ++counters_.unknown_frames;
  return std::nullopt;
}

std::optional<ClientEvent> ClientCore::on_server_key(ByteView payload) {
  if (const auto frame = wire::derp::ServerKeyFrame::parse(payload))
    log_in(frame->key);
  else
    die(ClientError::NotDerp);
  return std::nullopt;
}

std::optional<ClientEvent> ClientCore::on_server_info(ByteView payload) {
  const auto info = open_server_info(payload, server_key_, config_.key.secret);
  if (!info) {
    die(ClientError::BadServerInfo);
    return std::nullopt;
  }
  bucket_.reset();
  if (info->bytes_per_second != 0) bucket_.emplace(info->bytes_per_second, info->bytes_burst, now_);
  if (state_ == ClientState::Established) return std::nullopt;  // new limits for an old login
  state_ = ClientState::Established;
  timers_[kLogin].reset();
  if (config_.ping_interval > Duration::zero()) timers_[kPing] = now_ + config_.ping_interval;
  return LoggedIn{server_key_};
}

std::optional<ClientEvent> ClientCore::on_pong(ByteView payload) {
  const auto pong = wire::derp::PongFrame::parse(payload);
  if (!pong) {
    ++counters_.short_frames;
    return std::nullopt;
  }
  for (auto& ping : own_pings_) {
    if (!ping || ping->data != pong->data) continue;
    const Duration rtt = now_ - ping->sent_at;
    ping.reset();
    return PongReceived{rtt};
  }
  ++counters_.unknown_frames;
  return std::nullopt;
}

void ClientCore::answer_ping(ByteView payload) {
  const auto ping = wire::derp::PingFrame::parse(payload);
  if (!ping) {
    ++counters_.short_frames;
    return;
  }
  // One Pong at a time: a relay that pings without reading must not fill our memory.
  if (pong_end_ > out_consumed_) return;
  write(wire::derp::PongFrame{ping->data});
  pong_end_ = out_total_;
}

template <typename Frame>
void ClientCore::write(const Frame& frame) {
  const std::size_t before = out_.size();
  Writer w(out_);
  frame.serialize(w);
  out_total_ += out_.size() - before;
}

}  // namespace dh::derp
