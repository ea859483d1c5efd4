#pragma once

#include <memory>
#include <vector>

#include "io/listen_socket.hh"
#include "io/udp_batch.hh"
#include "path/route.hh"

namespace dh::io {

/// A batch on its way out, and afterwards what became of it. Leaves on any thread; nothing in it is shared.
struct UdpParcel {
  struct Outcome {
    int error = 0;  // errno
    std::size_t datagrams = 0;
  };

  UdpBatch batch;
  std::shared_ptr<const Fd> socket;
  bool is_v6 = false;
  path::SocketId id = 0;
  Endpoint to;
  std::uint8_t lane = 0;  // whose thread seals it
  std::uint8_t ttl = 0;   // 0: the system's default
  bool by_kernel = true;  // in one system call; else one each
  bool timed = false;     // somebody wants to know what leaving costs

  std::vector<Outcome> outcomes;
  std::uint64_t send_calls = 0, bytes_out = 0;
  bool cannot_segment = false;  // each left alone, and fitted: this way out does not segment
  Duration cost{};              // if timed: processor time in the kernel

  /// All of it left in the way that was asked for.
  bool went_well() const { return !cannot_segment && outcomes.size() == 1 && outcomes.front().error == 0; }

  /// Seals what is not sealed yet and sends all, in one system call where the kernel can.
  void leave();
  /// Nothing is in it any more. `kept`: as of UdpBatch::clear.
  void clear(ByteView kept = {});

private:
  void transmit_all();
  int transmit(ByteView bytes, std::size_t segment_bytes);
};

}  // namespace dh::io
