#include "io/udp_lanes.hh"

#include <array>

#include <linux/filter.h>
#include <sys/socket.h>

#include "bulk/limits.hh"

#ifndef SO_ATTACH_REUSEPORT_CBPF
#define SO_ATTACH_REUSEPORT_CBPF 51
#endif

namespace dh::io {

void share_port(const Fd& first) {
  // Not before it is bound: then the system might give it a port that another program shares with nobody.
  const int on = 1;
  (void)::setsockopt(first.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
}

Fd bind_beside(const Fd& first) {
  return bind_udp(bound_endpoint(first), PortUse::Shared);
}

bool steer_by_lane(const Fd& member) {
  // The filter sees the datagram from its first byte on (wire::BulkHeader): 1000.... and then the path.
  static_assert((bulk::kMaxLanes & (bulk::kMaxLanes - 1)) == 0);
  std::array<sock_filter, 7> program = {{
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xf0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x80, 0, 3),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 1),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, bulk::kMaxLanes - 1),
      BPF_STMT(BPF_RET | BPF_A, 0),
      BPF_STMT(BPF_RET | BPF_K, 0),
  }};
  const sock_fprog filter{program.size(), program.data()};
  return ::setsockopt(member.get(), SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &filter, sizeof filter) == 0;
}

}  // namespace dh::io
