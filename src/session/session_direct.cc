// How a session leaves its relay for a direct path and comes back: the path finder says where to, the bulk
// stream moves in place. Spec: docs/protocol/paths.md.

#include <algorithm>

#include "base/overloaded.hh"
#include "bulk/limits.hh"
#include "path/limits.hh"
#include "session/probe_keys.hh"
#include "session/session_impl.hh"
#include "wire/datagram.hh"

namespace dh::session {
namespace {

static_assert(path::kBaseDatagram == bulk::kBaseDatagramBytes, "a path is chosen for the stream's packets");

}  // namespace

void Session::Impl::start_paths(const SessionKeys& keys, Instant now) {
  if (!paths) return;
  paths->start(probe_keys(keys, dialer() ? config.derp_key.pub : peer, config.token.listener_derp), now);
}

std::optional<Instant> Session::Impl::last_heard() const {
  const auto relay = relays.last_heard();
  if (!relay || !direct_heard) return relay ? relay : direct_heard;
  return std::max(*relay, *direct_heard);
}

void Session::Impl::udp_datagram(path::SocketId socket, const Endpoint& from, ByteSpan bytes, Instant now,
                                 const std::optional<bulk::Opened>& ahead) {
  if (state == State::Ended || !paths) return;
  const wire::DatagramKind kind = wire::datagram_kind(bytes);
  // Most are of the stream: they shall not wait for everybody else to look at them first.
  const bool ours = kind == wire::DatagramKind::Bulk || kind == wire::DatagramKind::Control;
  if (!ours && paths->on_datagram(socket, from, bytes, now)) return read_paths(now);
  switch (kind) {
    case wire::DatagramKind::Bulk: {
      const bool authentic = sender ? sender->on_datagram(kDirectPath, bytes, now)
                                    : receiver && receiver->on_datagram(kDirectPath, bytes, now, ahead);
      if (!authentic) break;
      direct_bytes += bytes.size();
      note_lane(bytes);
      if (dialer() && state == State::Meeting) accepted(now);
      watch_size(now);
      return heard_direct(socket, from, now);
    }
    case wire::DatagramKind::Control:
      if (!control || !control->on_packet(bytes, now)) break;
      heard_direct(socket, from, now);
      confirm_when_heard(now);
      return read_control(now);
    case wire::DatagramKind::Handshake:  // begins on a relay, always
    case wire::DatagramKind::Probe:      // of another session
    case wire::DatagramKind::Unknown:
      break;
  }
  ++unknown_packets;
}

void Session::Impl::heard_direct(path::SocketId socket, const Endpoint& from, Instant now) {
  // One read brings dozens of datagrams of one peer: the first one says it all.
  if (direct_heard == now && heard_by == socket && heard_from == from) return;
  direct_heard = now;
  heard_by = socket;
  heard_from = from;
  if (silent_since) {
    events.push_back(PeerBack{now - *silent_since});
    silent_since.reset();
  }
  paths->on_peer_datagram(socket, from, now);
}

void Session::Impl::read_paths(Instant now) {
  while (auto event = paths->poll_event()) {
    std::visit(Overloaded{
                   [&](const path::RouteUp& up) { use_direct(up.route, now); },
                   [&](const path::RouteSize& size) { resize_direct(size.datagram_bytes); },
                   [&](const path::RouteDown& down) { leave_direct(down.why, now); },
                   [&](const path::RouteQuiet&) {
                     if (control && control->all_acknowledged())
                       control->send(wire::serialize(wire::Ping{}), now);
                   },
                   [&](const path::OpenSockets& open) { events.push_back(open); },
                   [&](const path::CloseSockets& close) { events.push_back(close); },
               },
               *event);
  }
}

/// Promotion is nothing but this: the next packet goes another way.
void Session::Impl::use_direct(const path::Route& route, Instant now) {
  direct = route;
  direct_deadline.reset();
  resize_direct(route.datagram_bytes);
  if (sender) {
    sender->set_path_usable(kDirectPath, true, route.rtt, now);
    sender->prefer_path(kDirectPath, now);
    black_holes = sender->black_holes(kDirectPath);
  }
  if (receiver) receiver->set_path_usable(kDirectPath, true);
  events.push_back(DirectInUse{route});
}

void Session::Impl::resize_direct(std::size_t datagram_bytes) {
  direct->datagram_bytes = direct_datagram_bytes = datagram_bytes;
  if (sender) sender->set_datagram_bytes(kDirectPath, datagram_bytes);
}

void Session::Impl::use_lanes(std::size_t wanted) {
  if (!sender || !paths) return;
  const std::size_t before = lanes;
  for (const std::size_t most = std::min(config.most_lanes, bulk::kMaxLanes); lanes < std::min(wanted, most);
       ++lanes)
    sender->add_lane(kDirectPath, static_cast<bulk::PathId>(kDirectPath + lanes));
  if (lanes > before) events.push_back(LanesInUse{lanes});
}

/// Of an authentic datagram.
void Session::Impl::note_lane(ByteView datagram) {
  const std::size_t lane = std::to_integer<std::size_t>(datagram[1]) - kDirectPath;
  if (!receiver || lane < lanes) return;
  lanes = lane + 1;
  events.push_back(LanesInUse{lanes});
}

/// The stream is the first to notice when the path carries less than before.
void Session::Impl::watch_size(Instant now) {
  if (!sender || !direct || sender->black_holes(kDirectPath) == black_holes) return;
  black_holes = sender->black_holes(kDirectPath);
  paths->on_black_hole(now);
  read_paths(now);
}

void Session::Impl::leave_direct(const std::string& why, Instant now) {
  direct.reset();
  const auto current = relays.current();
  if (sender) {
    if (current) sender->prefer_path(static_cast<bulk::PathId>(*current), now);
    sender->set_path_usable(kDirectPath, false, Duration::zero(), now);
  }
  if (receiver) receiver->set_path_usable(kDirectPath, false);
  if (policy(PathPolicy::RequireDirect)) direct_deadline = now + config.wait;
  if (control && control->all_acknowledged()) control->send(wire::serialize(wire::Ping{}), now);
  events.push_back(DirectLost{why});
}

bool Session::Impl::compares_delivery() const {
  return sender && paths && relays.current() && state == State::Open && !policy(PathPolicy::RequireDirect);
}

/// The shorter way is not always the one that delivers more.
void Session::Impl::watch_delivery(Instant now) {
  if (!compares_delivery() || now < delivery.next_sample()) return;
  DeliveryWatch::Sample sample;
  sample.direct = direct.has_value();
  sample.backlog = sender->has_backlog();
  const bulk::Sender::PathFigures on_direct = sender->figures(kDirectPath);
  sample.packets = on_direct.packets_sent;
  sample.lost = on_direct.packets_lost;
  sample.delivered = on_direct.delivered_bytes;
  for (bulk::PathId id = 0; id < kMaxRelays; ++id) sample.delivered += sender->figures(id).delivered_bytes;
  sample.relay_bound = sender->figures(static_cast<bulk::PathId>(*relays.current())).window_rate;
  switch (delivery.on_sample(sample, now)) {
    case DeliveryWatch::Advice::Stay:
      return;
    case DeliveryWatch::Advice::Leave:
      return paths->on_poor(now);
    case DeliveryWatch::Advice::Return:
      return paths->on_relay_poor(now);
  }
}

}  // namespace dh::session
