#include "transfer/check_string.hh"

namespace dh::transfer {

CheckString::CheckString(const ByteArray<32>& binding, const ByteArray<16>& sender_nonce,
                         const ByteArray<16>& receiver_nonce) {
  hash_.update(as_bytes("derphole check string 2"));
  hash_.update(sender_nonce);
  hash_.update(receiver_nonce);
  hash_.update(binding);
}

void CheckString::file(std::uint32_t entry, const ByteArray<32>& sha256) {
  Bytes number;
  Writer(number).u32(entry);
  hash_.update(number);
  hash_.update(sha256);
}

std::string CheckString::text() const {
  const ByteArray<32> digest = hash_.digest();
  const std::string hex = to_hex(ByteView(digest).first(6));
  return hex.substr(0, 4) + "-" + hex.substr(4, 4) + "-" + hex.substr(8, 4);
}

}  // namespace dh::transfer
