#include "transfer/manifest.hh"

#include <algorithm>

#include "base/check.hh"
#include "transfer/name_rules.hh"
#include "transfer/varint.hh"

namespace dh::transfer {
namespace {

constexpr std::uint8_t kSparseFlag = 0x08;
constexpr std::uint8_t kKindMask = 0x07;

std::unexpected<Refusal> refused(Fault fault, std::string_view name = {}) {
  return std::unexpected(Refusal{fault, std::string(name)});
}

}  // namespace

std::string_view Manifest::name(std::uint32_t index) const {
  const Entry& entry = entries_[index];
  return std::string_view(text_).substr(entry.text_at, entry.name_size);
}

std::string_view Manifest::target(std::uint32_t index) const {
  const Entry& entry = entries_[index];
  return std::string_view(text_).substr(entry.text_at + entry.name_size, entry.target_size);
}

std::vector<std::uint32_t> Manifest::chain(std::uint32_t index) const {
  std::vector<std::uint32_t> out;
  for (; index != kTop; index = entries_[index].parent) out.push_back(index);
  std::reverse(out.begin(), out.end());
  return out;
}

std::string Manifest::path(std::uint32_t index) const {
  std::string out;
  for (const std::uint32_t part : chain(index)) {
    if (!out.empty()) out += '/';
    out += name(part);
  }
  return out;
}

std::expected<void, Refusal> Manifest::add(const NewEntry& in) {
  if (entries_.size() >= kMaxEntries) return refused(Fault::TooManyEntries);
  if (auto good = check_component(in.name); !good) return good;
  Entry entry;
  entry.kind = in.kind;
  entry.parent = in.parent;
  if (in.parent != kTop) {
    if (in.parent >= entries_.size() || entries_[in.parent].kind != EntryKind::Directory)
      return refused(Fault::BadParent, in.name);
    entry.depth = static_cast<std::uint8_t>(entries_[in.parent].depth + 1);
    if (entry.depth >= kMaxDepth) return refused(Fault::TooDeep, in.name);
  }
  if (in.mode > 0777) return refused(Fault::BadMode, in.name);
  if (in.size > kMaxFileBytes || in.size > kMaxFileBytes * 64 - bytes_)
    return refused(Fault::SizeTooLarge, in.name);
  switch (in.kind) {
    case EntryKind::Directory:
    case EntryKind::File:
      break;
    case EntryKind::Symlink:
      if (auto good = check_link_target(in.target, entry.depth); !good)
        return refused(good.error().fault, in.name);
      break;
    case EntryKind::Text:
      if (in.size > kMaxTextBytes) return refused(Fault::TextTooLarge);
      if (in.parent != kTop) return refused(Fault::BadParent, in.name);
      break;
    default:
      return refused(Fault::BadKind, in.name);
  }
  if (is_text() || (in.kind == EntryKind::Text && !entries_.empty())) return refused(Fault::TextNotAlone);
  const std::size_t text_bytes = in.name.size() + in.target.size();
  if (text_.size() + text_bytes > kMaxMetadataBytes) return refused(Fault::TooMuchMetadata);
  entry.mode = in.mode;
  entry.mtime_ns = in.mtime_ns;
  entry.sparse = in.sparse;
  entry.name_size = static_cast<std::uint8_t>(in.name.size());
  entry.text_at = static_cast<std::uint32_t>(text_.size());
  text_ += in.name;
  if (in.kind == EntryKind::Symlink) {
    entry.target_size = static_cast<std::uint16_t>(in.target.size());
    text_ += in.target;
  }
  if (entry.has_content()) {
    entry.size = in.size;
    bytes_ += in.size;
    ++files_;
  }
  entries_.push_back(entry);
  return {};
}

std::uint32_t Manifest::serialize(std::uint32_t first, std::size_t room, Bytes& out) const {
  Writer w(out);
  const std::size_t end = out.size() + room;
  std::uint32_t index = first;
  for (; index < size(); ++index) {
    const std::size_t before = out.size();
    const Entry& entry = entries_[index];
    w.u8(static_cast<std::uint8_t>(static_cast<std::uint8_t>(entry.kind) | (entry.sparse ? kSparseFlag : 0)));
    put_varint(w, entry.parent == kTop ? 0 : index - entry.parent);
    w.u16(entry.mode);
    w.u64(static_cast<std::uint64_t>(entry.mtime_ns));
    if (entry.has_content()) put_varint(w, entry.size);
    w.u8(entry.name_size);
    w.text(name(index));
    if (entry.kind == EntryKind::Symlink) {
      w.u16(entry.target_size);
      w.text(target(index));
    }
    if (out.size() > end) {
      out.resize(before);
      break;
    }
  }
  CHECK(index > first || index == size());  // the largest entry fits any room given
  return index;
}

std::expected<void, Refusal> Manifest::parse(ByteView part) {
  metadata_bytes_ += part.size();
  if (metadata_bytes_ > kMaxMetadataBytes) return refused(Fault::TooMuchMetadata);
  Reader r(part);
  while (r.remaining() > 0) {
    const std::uint8_t first = r.u8();
    NewEntry entry;
    entry.kind = static_cast<EntryKind>(first & kKindMask);
    entry.sparse = (first & kSparseFlag) != 0;
    const std::uint64_t back = get_varint(r);
    entry.mode = r.u16();
    entry.mtime_ns = static_cast<std::int64_t>(r.u64());
    const bool has_content = entry.kind == EntryKind::File || entry.kind == EntryKind::Text;
    if (has_content) entry.size = get_varint(r);
    entry.name = as_text(r.bytes(r.u8()));
    if (entry.kind == EntryKind::Symlink) entry.target = as_text(r.bytes(r.u16()));
    if (!r.ok() || (first & ~(kKindMask | kSparseFlag)) != 0) return refused(Fault::BadRecord);
    if (entry.sparse && entry.kind != EntryKind::File) return refused(Fault::BadRecord);
    if (back > size()) return refused(Fault::BadParent, entry.name);
    entry.parent = back == 0 ? kTop : size() - static_cast<std::uint32_t>(back);
    if (auto good = add(entry); !good) return good;
  }
  return {};
}

}  // namespace dh::transfer
