#include "transfer/journal.hh"

#include "crypto/hash.hh"
#include "crypto/running_hash.hh"
#include "transfer/limits.hh"
#include "transfer/varint.hh"

namespace dh::transfer {
namespace {

constexpr std::string_view kMagic = "derphole journal 1\n";
enum class Type : std::uint8_t { File = 'F', Block = 'B', Hole = 'H', Manifest = 'M', Placed = 'P' };

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

ByteArray<16> manifest_key(const Manifest& manifest) {
  RunningBlake2b hash;
  for (std::uint32_t next = 0; next < manifest.size();) {
    Bytes part;
    next = manifest.serialize(next, kManifestPartBytes, part);
    hash.update(part);
  }
  const ByteArray<32> digest = hash.digest();
  ByteArray<16> out;
  std::memcpy(out.data(), digest.data(), out.size());
  return out;
}

void journal_placed(Writer& w, const JournalPlaced& placed) {
  put(w, Type::Manifest, placed.manifest);
  ByteArray<16> value;
  store_be64(value.data(), placed.device);
  store_be64(value.data() + 8, placed.inode);
  put(w, Type::Placed, value);
}

Journal parse_journal(ByteView bytes) {
  Journal out;
  Reader r(bytes);
  if (as_text(r.bytes(kMagic.size())) != kMagic) return out;
  std::vector<JournalBlock>* file = nullptr;
  std::optional<ByteArray<16>> manifest;
  while (r.remaining() >= kRecordBytes) {
    const ByteView record = r.bytes(kRecordBytes);
    if (load_be32(record.data() + 17) != crc32(record.first(17))) break;
    ByteArray<16> value;
    std::memcpy(value.data(), record.data() + 1, value.size());
    const auto type = static_cast<Type>(record[0]);
    if (type == Type::File) {
      file = &out.files[value];
      file->clear();
      continue;
    }
    if (type == Type::Manifest) {
      manifest = value;
      continue;
    }
    if (type == Type::Placed) {
      if (!manifest) break;
      out.placed.push_back(
          {.manifest = *manifest, .device = load_be64(value.data()), .inode = load_be64(value.data() + 8)});
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
