// A journal after a crash: whatever is in it, reading ends; and what was written with right checksums reads
// back as a naive twin has it, cut anywhere: never another digest, never more than was there.

#include <cstdlib>

#include "transfer/journal.hh"

namespace {

using namespace dh;
using namespace dh::transfer;

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const ByteView input(reinterpret_cast<const std::byte*>(data), size);
  parse_journal(input);

  Reader r(input);
  const std::size_t cut = r.u16();  // bytes that the crash left
  Bytes bytes;
  Writer w(bytes);
  journal_start(w);
  Journal twin;
  std::vector<JournalBlock>* file = nullptr;
  bool is_over = bytes.size() > cut;
  while (r.remaining() >= 17 && !is_over) {
    const auto type = r.u8() % 4;
    const auto value = r.array<16>();
    const std::uint32_t holes = load_be32(value.data()) | 1;
    const JournalPlaced placed{
        .manifest = value, .device = load_be64(value.data()), .inode = load_be64(value.data() + 8)};
    if (type == 0) journal_file(w, value);
    if (type == 1) journal_block(w, value);
    if (type == 2) journal_hole(w, holes);
    if (type == 3) journal_placed(w, placed);
    is_over = bytes.size() > cut || (file == nullptr && (type == 1 || type == 2));  // blocks of no file
    if (is_over) break;
    if (type == 0) {
      file = &twin.files[value];
      file->clear();
    }
    if (type == 1) file->push_back({.holes = 0, .digest = value});
    if (type == 2) file->push_back({.holes = holes, .digest = {}});
    if (type == 3) twin.placed.push_back(placed);
  }
  bytes.resize(std::min(bytes.size(), cut));
  const Journal found = parse_journal(bytes);
  require(found.files == twin.files);
  require(found.placed == twin.placed);
  return 0;
}
