#include "wire/datagram.hh"

namespace dh::wire {

DatagramKind datagram_kind(ByteView packet) {
  if (packet.empty()) return DatagramKind::Unknown;
  switch (static_cast<unsigned>(packet[0]) >> 4) {
    case 0b1000:
      return DatagramKind::Bulk;
    case 0b1001:
      return DatagramKind::Control;
    case 0b1010:
      return DatagramKind::Handshake;
    case 0b1011:
      return DatagramKind::Probe;
    default:
      break;
  }
  if (packet.size() >= kDiscoMagic.size() && equal_bytes(packet.first(kDiscoMagic.size()), kDiscoMagic))
    return DatagramKind::Handshake;
  return DatagramKind::Unknown;
}

}  // namespace dh::wire
