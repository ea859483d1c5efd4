#include "transfer/records.hh"

#include <algorithm>

#include "transfer/limits.hh"

namespace dh::transfer {
namespace {

constexpr std::string_view kMagic = "derphole";
constexpr std::size_t kHeaderBytes = 5;

enum class Type : std::uint8_t {
  Hello = 1,
  Manifest = 2,
  ManifestEnd = 3,
  Block = 4,
  Hole = 5,
  FileEnd = 6,
  Failed = 7,
  End = 8,
};

void header(Writer& w, Type type, std::size_t size) {
  w.u8(static_cast<std::uint8_t>(type));
  w.u32(static_cast<std::uint32_t>(size));
}

// Most payload bytes a type may have; empty: no such type.
std::optional<std::size_t> most_bytes(std::uint8_t type) {
  switch (static_cast<Type>(type)) {
    case Type::Hello:
      return 256;  // later versions may append
    case Type::Manifest:
      return kManifestPartBytes;
    case Type::ManifestEnd:
      return 0;
    case Type::Block:
      return BlockRecord::kHeaderBytes + kBlockBytes;
    case Type::Hole:
      return 12;
    case Type::FileEnd:
      return 45;
    case Type::Failed:
      return 5 + kMaxReasonBytes;
    case Type::End:
      return 4;
  }
  return std::nullopt;
}

std::unexpected<Refusal> refused(Fault fault) {
  return std::unexpected(Refusal{fault});
}

std::expected<Record, Refusal> parse_hello(Reader& r) {
  HelloRecord hello;
  const std::string_view magic = as_text(r.bytes(kMagic.size()));
  const std::uint8_t version = r.u8();
  if (!r.ok() || magic != kMagic) return refused(Fault::BadMagic);
  if (version != HelloRecord::kVersion) return refused(Fault::BadVersion);
  const std::uint8_t flags = r.u8();
  if ((flags & ~1u) != 0) return refused(Fault::BadVersion);
  hello.verify = (flags & 1) != 0;
  hello.nonce = r.array<16>();
  hello.entries = r.u32();
  hello.bytes = r.u64();
  if (!r.ok()) return refused(Fault::BadRecord);
  if (hello.entries > kMaxEntries) return refused(Fault::TooManyEntries);
  r.rest();  // what later versions append
  return hello;
}

std::expected<Record, Refusal> parse_payload(Type type, ByteView payload) {
  Reader r(payload);
  Record out;
  switch (type) {
    case Type::Hello:
      return parse_hello(r);
    case Type::Manifest:
      if (payload.empty()) return refused(Fault::BadRecord);
      return ManifestRecord{payload};
    case Type::ManifestEnd:
      return ManifestEndRecord{};
    case Type::Block: {
      BlockRecord block;
      block.entry = r.u32();
      block.block = r.u32();
      block.digest = r.array<16>();
      block.data = r.rest();
      if (!r.ok() || block.data.empty()) return refused(Fault::BadRecord);
      return block;
    }
    case Type::Hole: {
      HoleRecord hole;
      hole.entry = r.u32();
      hole.first = r.u32();
      hole.count = r.u32();
      if (r.ok() && hole.count == 0) return refused(Fault::BadRecord);
      out = hole;
      break;
    }
    case Type::FileEnd: {
      FileEndRecord end;
      end.entry = r.u32();
      end.size = r.u64();
      const std::uint8_t has_digest = r.u8();
      if (has_digest > 1) return refused(Fault::BadRecord);
      if (has_digest == 1) end.sha256 = r.array<32>();
      out = end;
      break;
    }
    case Type::Failed: {
      FailedRecord failed;
      failed.entry = r.u32();
      const std::uint8_t reason = r.u8();
      if (reason < 1 || reason > 2) return refused(Fault::BadRecord);
      failed.reason = static_cast<FailReason>(reason);
      failed.text = std::string(as_text(r.rest()));
      out = std::move(failed);
      break;
    }
    case Type::End:
      out = EndRecord{r.u32()};
      break;
  }
  if (!r.ok() || r.remaining() > 0) return refused(Fault::BadRecord);
  return out;
}

}  // namespace

void HelloRecord::serialize(Writer& w) const {
  header(w, Type::Hello, kMagic.size() + 30);
  w.text(kMagic);
  w.u8(kVersion);
  w.u8(verify ? 1 : 0);
  w.bytes(nonce);
  w.u32(entries);
  w.u64(bytes);
}

void BlockRecord::serialize_header(Writer& w, std::size_t data_bytes) const {
  header(w, Type::Block, kHeaderBytes + data_bytes);
  w.u32(entry);
  w.u32(block);
  w.bytes(digest);
}

void HoleRecord::serialize(Writer& w) const {
  header(w, Type::Hole, 12);
  w.u32(entry);
  w.u32(first);
  w.u32(count);
}

void FileEndRecord::serialize(Writer& w) const {
  header(w, Type::FileEnd, sha256 ? 45 : 13);
  w.u32(entry);
  w.u64(size);
  w.u8(sha256 ? 1 : 0);
  if (sha256) w.bytes(*sha256);
}

void FailedRecord::serialize(Writer& w) const {
  const std::string_view shown = std::string_view(text).substr(0, kMaxReasonBytes);
  header(w, Type::Failed, 5 + shown.size());
  w.u32(entry);
  w.u8(static_cast<std::uint8_t>(reason));
  w.text(shown);
}

void EndRecord::serialize(Writer& w) const {
  header(w, Type::End, 4);
  w.u32(failed);
}

void serialize_manifest_end(Writer& w) {
  header(w, Type::ManifestEnd, 0);
}

void serialize_manifest_header(Writer& w, std::size_t size) {
  header(w, Type::Manifest, size);
}

std::size_t record_bytes(ByteView begin) {
  if (begin.size() < kHeaderBytes) return 0;
  const auto most = most_bytes(static_cast<std::uint8_t>(begin[0]));
  const std::size_t size = load_be32(begin.data() + 1);
  return most && size <= *most ? kHeaderBytes + size : 0;
}

std::expected<RecordReader::Step, Refusal> RecordReader::next(ByteView input) {
  if (handed_out_) kept_.clear();
  handed_out_ = false;
  Step step;
  // The header first: it says whether the rest is worth keeping.
  std::array<std::byte, kHeaderBytes> head;
  const std::size_t had = std::min(kept_.size(), kHeaderBytes);
  const std::size_t fresh = std::min(kHeaderBytes - had, input.size());
  std::copy_n(kept_.begin(), had, head.begin());
  std::copy_n(input.begin(), fresh, head.begin() + static_cast<std::ptrdiff_t>(had));
  if (had + fresh > 0) {
    const auto most = most_bytes(static_cast<std::uint8_t>(head[0]));
    if (!most) return refused(Fault::UnknownRecord);
    if (had + fresh == kHeaderBytes && load_be32(head.data() + 1) > *most)
      return refused(Fault::RecordTooLong);
  }
  if (had + fresh < kHeaderBytes) {
    kept_.insert(kept_.end(), input.begin(), input.end());
    step.consumed = input.size();
    return step;
  }
  const std::size_t whole = kHeaderBytes + load_be32(head.data() + 1);
  const std::size_t wanted = whole - kept_.size();
  if (input.size() < wanted) {
    if (kept_.capacity() < whole) kept_.reserve(whole);
    kept_.insert(kept_.end(), input.begin(), input.end());
    step.consumed = input.size();
    return step;
  }
  step.consumed = wanted;
  ByteView record = input.first(wanted);
  if (!kept_.empty()) {
    kept_.insert(kept_.end(), record.begin(), record.end());
    record = kept_;
    handed_out_ = true;
  }
  auto parsed = parse_payload(static_cast<Type>(record[0]), record.subspan(kHeaderBytes));
  if (!parsed) return std::unexpected(parsed.error());
  step.record = std::move(*parsed);
  return step;
}

}  // namespace dh::transfer
