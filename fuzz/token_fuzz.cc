// Tokens from strangers: what parses must be valid, and writing it again must give the same token.

#include <cstdlib>

#include "session/token.hh"

namespace {

void check(std::string_view text) {
  const auto token = dh::session::parse_token(text);
  if (!token) return;
  const auto again = dh::session::parse_token(dh::session::format_token(*token));
  if (!again || !(*again == *token)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace dh;
  const ByteView input(reinterpret_cast<const std::byte*>(data), size);
  check(as_text(input));
  // The same bytes as fields inside a right envelope, so that the checksum does not stop the fuzzer.
  if (size > session::kMaxTokenBytes - 7) return 0;
  Bytes bytes;
  Writer writer(bytes);
  writer.u8(1);
  writer.u16(static_cast<std::uint16_t>(size + 7));
  writer.bytes(input);
  writer.u32(crc32(bytes));
  check("dh1" + to_base64url(bytes));
  return 0;
}
