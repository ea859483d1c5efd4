#include "transfer/journal.hh"

#include "crypto/hash.hh"
#include "transfer/varint.hh"

namespace dh::transfer {
namespace {

constexpr std::string_view kMagic = "derphole journal 1\n";
enum class Type : std::uint8_t { File = 'F', Block = 'B', Hole = 'H' };

// | type | 16 bytes | crc32 of both |
constexpr std::size_t kRecordBytes = 21;

void put(Writer& w, Type type, ByteView value) {
  Bytes body;
  Writer inner(body);
  inner.u8(static_cast<std::uint8_t>(type));
  inner.bytes(value);
  w.bytes(body);
  w.u32(crc32(body));
}

}  // namespace

FileKey file_key(const Manifest& manifest, std::uint32_t entry) {
  Bytes about;
  Writer w(about);
  w.u64(manifest[entry].size);
  w.u64(static_cast<std::uint64_t>(manifest[entry].mtime_ns));
  for (const std::uint32_t part : manifest.chain(entry)) {
    w.u8(manifest[part].name_size);
    w.text(manifest.name(part));
  }
  const ByteArray<32> digest = blake2b_256({about});
  FileKey key;
  std::memcpy(key.data(), digest.data(), key.size());
  return key;
}

void journal_start(Writer& w) {
  w.text(kMagic);
}

void journal_file(Writer& w, const FileKey& key) {
  put(w, Type::File, key);
}

void journal_block(Writer& w, const BlockDigest& digest) {
  put(w, Type::Block, digest);
}

void journal_hole(Writer& w, std::uint32_t blocks) {
  ByteArray<16> value{};
  store_be32(value.data(), blocks);
  put(w, Type::Hole, value);
}

Journal parse_journal(ByteView bytes) {
  Journal out;
  Reader r(bytes);
  if (as_text(r.bytes(kMagic.size())) != kMagic) return out;
  std::vector<JournalBlock>* file = nullptr;
  while (r.remaining() >= kRecordBytes) {
    const ByteView record = r.bytes(kRecordBytes);
    if (load_be32(record.data() + 17) != crc32(record.first(17))) break;
    ByteArray<16> value;
    std::memcpy(value.data(), record.data() + 1, value.size());
    const auto type = static_cast<Type>(record[0]);
    if (type == Type::File) {
      file = &out[value];
      file->clear();
      continue;
    }
    if (file == nullptr) break;
    if (type == Type::Block) {
      file->push_back({.holes = 0, .digest = value});
    } else if (const std::uint32_t holes = load_be32(value.data()); type == Type::Hole && holes > 0) {
      file->push_back({.holes = holes, .digest = {}});
    } else {
      break;
    }
  }
  return out;
}

}  // namespace dh::transfer
