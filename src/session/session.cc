#include "session/session.hh"

#include "base/check.hh"
#include "session/session_impl.hh"

namespace dh::session {

std::string_view to_string(SessionEnd end) {
  switch (end) {
    case SessionEnd::Complete:
      return "complete";
    case SessionEnd::Rejected:
      return "rejected";
    case SessionEnd::NobodyThere:
      return "nobody there";
    case SessionEnd::NoRelay:
      return "no relay";
    case SessionEnd::TokenRefused:
      return "token refused";
    case SessionEnd::ListenerSilent:
      return "listener silent";
    case SessionEnd::Expired:
      return "expired";
    case SessionEnd::Aborted:
      return "aborted";
    case SessionEnd::NetworkLost:
      return "network lost";
    case SessionEnd::NoDirectPath:
      return "no direct path";
  }
  return "unknown";
}

// ---- the public face: each call is one input or one output of Impl
// -----------------------------------------

Session::Session(const SessionConfig& config, Instant now, UnixSeconds wall, Rng& rng)
    : impl_(std::make_unique<Impl>(config, now, wall, rng)) {}
Session::~Session() = default;

void Session::on_relay_up(std::size_t relay, Instant now) {
  impl_->relay_up(relay, now);
}

void Session::on_relay_down(std::size_t relay, Instant now) {
  impl_->relay_down(relay, now);
}

void Session::on_relay_writable(std::size_t relay, bool writable) {
  impl_->writable[relay] = writable;
}

void Session::on_relay_packet(std::size_t relay, const PublicKey& from, ByteSpan packet, Instant now,
                              UnixSeconds wall) {
  impl_->packet(relay, from, packet, now, wall);
  impl_->read_stream();
}

void Session::on_peer_gone(std::size_t relay, const PublicKey& peer, derp::PeerGoneReason reason,
                           Instant now) {
  impl_->peer_gone(relay, peer, reason, now);
}

bool Session::wants_relay(std::size_t relay) const {
  return impl_->wants_relay(relay);
}

path::PathFinder* Session::paths() {
  return impl_->paths ? &*impl_->paths : nullptr;
}

void Session::on_udp_datagram(path::SocketId socket, const Endpoint& from, ByteSpan datagram, Instant now,
                              const std::optional<bulk::Opened>& ahead) {
  impl_->udp_datagram(socket, from, datagram, now, ahead);
  impl_->read_stream();
}

std::vector<std::shared_ptr<bulk::AheadOpener>> Session::ahead_openers() const {
  std::vector<std::shared_ptr<bulk::AheadOpener>> out;
  for (std::size_t i = 0; impl_->receiver && i < impl_->lanes; ++i)
    if (auto opener = impl_->receiver->ahead_opener(static_cast<bulk::PathId>(kDirectPath + i)))
      out.push_back(std::move(opener));
  return out;
}

std::uint64_t Session::openers_version() const {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; impl_->receiver && i < impl_->lanes; ++i)
    sum += impl_->receiver->keys_version(static_cast<bulk::PathId>(kDirectPath + i));
  return sum;
}

void Session::set_socket_capacity(std::uint64_t bytes, Instant now) {
  Impl& s = *impl_;
  if (!s.receiver || !s.control || bytes == s.told_capacity) return;
  if (s.control->send(wire::serialize(wire::SocketCapacity{bytes}), now)) s.told_capacity = bytes;
}

void Session::want_lane(Instant now) {
  Impl& s = *impl_;
  if (s.sender) return s.use_lanes(s.lanes + 1);
  // Once for each: while it is on its way, or when the peer does not want to, asking again changes nothing.
  const std::size_t wanted = s.lanes + 1;
  if (!s.receiver || !s.control || wanted > bulk::kMaxLanes || wanted <= s.asked_lanes) return;
  if (s.control->send(wire::serialize(wire::LanesWanted{static_cast<std::uint8_t>(wanted)}), now))
    s.asked_lanes = wanted;
}

ByteSpan Session::room() {
  return impl_->sender ? impl_->sender->room() : ByteSpan{};
}
void Session::commit(std::size_t size) {
  CHECK(impl_->sender.has_value());
  impl_->sender->commit(size);
}

void Session::finish() {
  if (impl_->sender) impl_->sender->finish();
}

ByteView Session::readable() const {
  return impl_->receiver ? impl_->receiver->readable() : ByteView{};
}

void Session::consume(std::size_t size, Instant now) {
  CHECK(impl_->receiver.has_value());
  impl_->receiver->consume(size, now);
  impl_->read_stream();
}

void Session::confirm(Instant now) {
  CHECK(impl_->receiver.has_value());
  impl_->confirm_wanted = true;
  impl_->confirm_when_heard(now);
  impl_->read_stream();
}

bool Session::send_message(ByteView message, Instant now) {
  CHECK(!message.empty() && message.size() <= kMaxMessageBytes);
  return impl_->send_message(message, now);
}

void Session::abort(bulk::AbortCode code, std::string reason, Instant now) {
  impl_->abort(code, std::move(reason), now);
}

void Session::on_timeout(Instant now, UnixSeconds wall) {
  impl_->timeout(now, wall);
  impl_->read_stream();
}

std::optional<Session::Transmit> Session::poll_transmit(ByteSpan out, Instant now, bulk::Seal* later) {
  if (later != nullptr) *later = {};
  auto sent = impl_->transmit(out, now, later);
  impl_->read_stream();
  return sent;
}

std::optional<SessionEvent> Session::poll_event() {
  if (impl_->events.empty()) return std::nullopt;
  SessionEvent event = std::move(impl_->events.front());
  impl_->events.pop_front();
  return event;
}

std::optional<Instant> Session::next_timeout() const {
  return impl_->next_timeout();
}

bool Session::is_open() const {
  return (impl_->sender || impl_->receiver) && impl_->state != Impl::State::Ended;
}

SessionCounters Session::counters() const {
  SessionCounters out;
  if (impl_->sender) {
    out.stream = impl_->sender->counters();
    for (std::size_t i = 0; i < out.held.size(); ++i)
      out.held[i] = impl_->sender->held(static_cast<bulk::HeldBy>(i));
  }
  if (impl_->receiver) out.stream = impl_->receiver->counters();
  out.unknown_packets = impl_->unknown_packets;
  out.relay_bytes = impl_->relay_bytes;
  out.direct_bytes = impl_->direct_bytes;
  out.lanes = impl_->lanes;
  out.direct_datagram_bytes = impl_->direct_datagram_bytes;
  out.black_holes = impl_->black_holes;
  return out;
}

std::optional<bulk::ControllerReport> Session::controller_report() const {
  if (!impl_->sender) return std::nullopt;
  if (impl_->direct) return impl_->sender->controller_report(kDirectPath);
  const auto current = impl_->relays.current();
  if (!current) return std::nullopt;
  return impl_->sender->controller_report(static_cast<bulk::PathId>(*current));
}

std::optional<Duration> Session::smoothed_rtt() const {
  if (impl_->direct) return impl_->direct->rtt;
  const auto current = impl_->relays.current();
  if (!impl_->sender || !current) return std::nullopt;
  return impl_->sender->smoothed_rtt(static_cast<bulk::PathId>(*current));
}

}  // namespace dh::session
