// What a connection does when its datagrams travel another way: it is made to believe in a migration.

#include <algorithm>

#include "quic/connection_impl.hh"

namespace dh::quic {
namespace {

constexpr std::uint32_t kFakeNetwork = 0x0a000000;  // 10.0.0.0/8: one address for every path there ever was
constexpr std::uint16_t kFakePort = 4433;
constexpr Duration kWatchNewPath = 2s;  // more than any round trip

}  // namespace

sockaddr_in fake_address(std::uint32_t number) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(kFakePort);
  out.sin_addr.s_addr = htonl(kFakeNetwork | (number & 0xffffff));
  return out;
}

void Connection::Impl::path_changed(std::size_t bytes, Instant at) {
  now = at;
  config.datagram_bytes = std::clamp(bytes, kMinDatagramBytes, kMaxDatagramBytes);
  if (!established || closed) return;
  ngtcp2_conn_stat stat{};
  ngtcp2_conn_get_conn_stat(conn, &stat);
  const Duration old_rtt(static_cast<std::int64_t>(stat.smoothed_rtt));
  watch_rtt_from = at + old_rtt * 3 / 2;
  watch_rtt_until = *watch_rtt_from + kWatchNewPath;
  ask_now = true;
  unlearn(at);
}

// Acknowledgements of the old path were still under way when it was left. A round trip that is shorter than
// any on the new path would hold BBR's window down for ten seconds.
void Connection::Impl::watch_rtt(Instant at) {
  if (!watch_rtt_from || at < *watch_rtt_from) return;
  ngtcp2_conn_stat stat{};
  ngtcp2_conn_get_conn_stat(conn, &stat);
  const bool polluted = stat.min_rtt != UINT64_MAX && stat.latest_rtt > 2 * stat.min_rtt;
  if (!polluted && at < watch_rtt_until) return;
  watch_rtt_from.reset();
  if (polluted) unlearn(at);
}

void Connection::Impl::unlearn(Instant at) {
  ++path_number;
  ++counters.path_resets;
  if (config.server) {
    remote = fake_address(path_number);  // its next packet comes from a new place
    return;
  }
  sockaddr_in next = fake_address(path_number);
  ngtcp2_path where = path();
  where.local = {reinterpret_cast<sockaddr*>(&next), sizeof next};
  // Refused before the handshake is confirmed, and when the server's spare ids are used up: then what was
  // learned of the old path is unlearned in time.
  if (ngtcp2_conn_initiate_immediate_migration(conn, &where, timestamp(at)) == 0) local = next;
}

}  // namespace dh::quic
