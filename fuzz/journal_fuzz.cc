// A journal after a crash: whatever is in it, reading ends, and what is believed could have been written.

#include <cstdlib>

#include "transfer/journal.hh"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace dh;
  using namespace dh::transfer;
  const ByteView input(reinterpret_cast<const std::byte*>(data), size);
  parse_journal(input);
  // The input as records with right checksums.
  Bytes bytes;
  Writer w(bytes);
  journal_start(w);
  Reader r(input);
  while (r.remaining() >= 17) {
    const auto type = r.u8() % 4;
    const auto value = r.array<16>();
    if (type == 0) journal_file(w, value);
    if (type == 1) journal_block(w, value);
    if (type == 3) journal_placed(w, {.manifest = value, .device = 1, .inode = 2});
    if (type == 2) journal_hole(w, load_be32(value.data()) | 1);
  }
  const Journal all = parse_journal(bytes);
  // Cut anywhere it is a beginning of the same: never another digest, at most a file that was started anew.
  if (bytes.size() > 20) bytes.resize(bytes.size() - size % 20);
  for (const auto& [key, blocks] : parse_journal(bytes).files) {
    if (!all.files.contains(key)) std::abort();
    for (const JournalBlock& block : blocks)
      if (block.holes == 0 && block.digest == BlockDigest{} && size < 17) std::abort();
  }
  return 0;
}
