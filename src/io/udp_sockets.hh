#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include <boost/asio.hpp>

#include "base/address.hh"
#include "bulk/keys.hh"
#include "io/udp_receive_thread.hh"
#include "path/route.hh"

namespace dh::io {

namespace asio = boost::asio;

struct UdpCounters {
  std::uint64_t datagrams_in = 0, datagrams_out = 0, bytes_in = 0, bytes_out = 0;
  std::uint64_t send_calls = 0, receive_calls = 0;
  std::uint64_t send_dropped = 0;  // the socket's buffer was full
  std::uint64_t send_refused = 0;  // no route, or a firewall of this machine
  std::uint64_t send_too_big = 0;  // for the interface
  // What the kernel hands over in one piece, and counts so: one datagram, or many that were coalesced.
  std::uint64_t messages_in = 0;
  std::uint64_t receive_dropped = 0;       // messages that arrived while a socket's buffer was full
  std::uint64_t receive_buffer_bytes = 0;  // of the smallest, as the system gave it
};

/// What others may do for the network loop: the kernel (without it the same datagrams travel one by one) and
/// threads of our own, which pay where a core is free for them.
struct UdpOffload {
  bool segment = true;          // on sending (UDP_SEGMENT)
  bool coalesce = true;         // on receiving (UDP_GRO)
  bool send_thread = false;     // seals and sends; one for each lane
  bool receive_thread = false;  // receives, and opens what use() has given it the keys for; likewise
};

/// The UDP sockets of one session: unconnected and bound to every address, so that they outlive a change of
/// the uplink. Consecutive datagrams of one size to one place leave in one system call where the kernel can.
/// They never leave in fragments. A resource on one executor.
class UdpSockets {
public:
  static constexpr int kBufferBytes = 4 << 20;  // asked for; without privileges the system may give less

  /// `datagram` may be changed in place until the call returns.
  /// `at`: when we got it; the same for all of one read. `ahead`: what became of it on the receive thread.
  using OnDatagram = std::function<void(path::SocketId, const Endpoint& from, ByteSpan datagram, Instant at,
                                        const std::optional<bulk::Opened>& ahead)>;
  using OnBatchEnd = std::function<void()>;
  using OnRefused = std::function<void(path::SocketId, const Endpoint& to)>;
  using OnTooBig = std::function<void(path::SocketId, const Endpoint& to, std::size_t size)>;

  UdpSockets(asio::any_io_executor executor, UdpOffload offload, OnDatagram on_datagram,
             OnBatchEnd on_batch_end, OnRefused on_refused, OnTooBig on_too_big);
  ~UdpSockets();

  /// The port it got; nullopt when the machine has no such family or no descriptor is left.
  std::optional<std::uint16_t> open(path::SocketId id, bool is_v6);
  void close(path::SocketId id);
  void close_all();

  /// At least 64 KiB where the next datagram may be built; send() of what begins there copies nothing. Valid
  /// until the next call. Empty: the send thread has its hands full; on_batch_end is called when it has not.
  ByteSpan room();
  /// Queues one datagram; what is queued leaves with flush() or before. `seal` is applied before it leaves.
  void send(const path::Transmit& to, ByteView datagram, bulk::Seal seal = {});
  void flush();

  /// Sending: seals of so many lanes, if by threads then by one for each. Rises only.
  void send_lanes(std::size_t lanes);
  /// Receiving on this socket: a kernel buffer for each lane, if by threads then each with its own. Rises
  /// only; what cannot be had is left out, and the lanes arrive all the same.
  void receive_lanes(path::SocketId id, std::size_t lanes);
  std::size_t receive_threads() const;
  /// For one of the receive threads; without them the datagrams come as they are.
  void use(std::size_t thread, AheadOpeners openers);
  const UdpCounters& counters() const;
  /// How long each lane's thread has been on a processor; empty without threads.
  std::vector<Duration> lane_cpu_times() const;

private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with its pending waits
};

}  // namespace dh::io
