// How a tunnel's connection moves between relay and direct path: the path finder says where to, QUIC is told
// that the path is another one.

#include <algorithm>

#include "base/overloaded.hh"
#include "path/limits.hh"
#include "session/tunnel_link_impl.hh"
#include "wire/datagram.hh"

namespace dh::session {

static_assert(path::kBaseDatagram >= quic::kMinDatagramBytes, "every direct path carries QUIC");

void TunnelLink::Impl::udp_datagram(path::SocketId socket, const Endpoint& from, ByteSpan bytes,
                                    Instant now) {
  if (state == State::Ended || !paths) return;
  if (wire::datagram_kind(bytes) == wire::DatagramKind::Control) {
    if (!control.on_packet(bytes, now)) {
      ++counters.unknown_packets;
      return;
    }
    heard_direct(socket, from, now);
    return read_control(now);
  }
  if (quic::looks_like_quic(bytes)) {  // STUN answers and probes begin with other bits
    counters.direct_bytes += bytes.size();
    if (quic.on_datagram(bytes, now)) heard_direct(socket, from, now);
    return;
  }
  if (paths->on_datagram(socket, from, bytes, now)) return read_paths(now);
  ++counters.unknown_packets;
}

void TunnelLink::Impl::heard_direct(path::SocketId socket, const Endpoint& from, Instant now) {
  // Of many datagrams that were read together, one says it all.
  if (direct_heard == now && heard_socket == socket && heard_from == from && !silent_since) return;
  direct_heard = now;
  heard_socket = socket;
  heard_from = from;
  paths->on_peer_datagram(socket, from, now);
  heard(now);
}

void TunnelLink::Impl::read_paths(Instant now) {
  if (!paths) return;
  while (auto event = paths->poll_event()) {
    std::visit(Overloaded{
                   [&](const path::RouteUp& up) { use_direct(up.route, now); },
                   [&](const path::RouteSize& size) {
                     if (!direct) return;
                     direct->datagram_bytes = size.datagram_bytes;
                     quic.set_datagram_bytes(size.datagram_bytes);
                   },
                   [&](const path::RouteDown& down) { leave_direct(down.why, now); },
                   [&](const path::RouteQuiet&) { ping(now); },
                   [&](const path::OpenSockets& open) { events.push_back(open); },
                   [&](const path::CloseSockets& close) { events.push_back(close); },
               },
               *event);
  }
}

void TunnelLink::Impl::use_direct(const path::Route& route, Instant now) {
  direct = route;
  direct_deadline.reset();
  probes_seen = 0;
  ++counters.direct_switches;
  quic.on_path_changed(route.datagram_bytes, now);
  events.push_back(DirectInUse{route});
}

void TunnelLink::Impl::leave_direct(const std::string& why, Instant now) {
  direct.reset();
  probes_seen = 0;
  if (needs_direct()) direct_deadline = now + config.wait;
  quic.on_path_changed(quic::kMaxDatagramBytes, now);
  ping(now);
  events.push_back(DirectLost{why});
}

void TunnelLink::Impl::relay_changed(Instant now) {
  const auto current = relays.current();
  if (!current || current == told_relay) return;
  const bool first = !told_relay;
  told_relay = current;
  events.push_back(RelayInUse{*current});
  control.resend_now(now);
  if (first) return;
  if (!direct) quic.on_path_changed(quic::kMaxDatagramBytes, now);
  ping(now);  // shows the peer where we are
}

// The connection is the first to notice that nothing comes back, or nothing large.
void TunnelLink::Impl::watch_connection(Instant now) {
  const unsigned unanswered = quic.path().unanswered_probes;
  if (unanswered <= probes_seen) {
    if (unanswered == 0) probes_seen = 0;
    return;
  }
  probes_seen = unanswered;
  if (unanswered < 2) return;
  ping(now);
  if (!direct || !paths) return;
  if (unanswered == 2 && direct->datagram_bytes > path::kBaseDatagram) {
    quic.set_datagram_bytes(path::kBaseDatagram);
    paths->on_black_hole(now);
  } else {
    paths->on_stalled(now);
  }
  read_paths(now);
}

}  // namespace dh::session
