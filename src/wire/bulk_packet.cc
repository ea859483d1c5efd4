#include "wire/bulk_packet.hh"

#include <algorithm>

#include "base/check.hh"

namespace dh::wire {
namespace {

constexpr std::uint8_t kMark = 0x80;  // bits 7..6 = 10: ours
constexpr std::uint8_t kMarkMask = 0xc0;
constexpr std::uint8_t kKindMask = 0x30;
constexpr std::uint8_t kKeyPhase = 0x08;
constexpr std::uint8_t kAckMe = 0x04;
constexpr std::uint8_t kEndOfBurst = 0x02;
constexpr std::uint8_t kMustBeZero = 0x01;

void store_be16(std::byte* at, std::uint64_t value) {
  at[0] = static_cast<std::byte>(value >> 8 & 0xff);
  at[1] = static_cast<std::byte>(value & 0xff);
}

void store_be48(std::byte* at, std::uint64_t value) {
  store_be16(at, value >> 32);
  store_be32(at + 2, static_cast<std::uint32_t>(value & 0xffffffff));
}

std::uint64_t load_be48(const std::byte* at) {
  return static_cast<std::uint64_t>(at[0]) << 40 | static_cast<std::uint64_t>(at[1]) << 32 |
         load_be32(at + 2);
}

std::uint32_t to_length(std::uint64_t value) {
  return static_cast<std::uint32_t>(std::min(value, AckFrame::kMaxLength));
}

}  // namespace

std::optional<PacketKind> packet_kind(ByteView datagram) {
  if (datagram.empty()) return std::nullopt;
  const auto first = static_cast<std::uint8_t>(datagram[0]);
  if ((first & kMarkMask) != kMark) return std::nullopt;
  return static_cast<PacketKind>((first & kKindMask) >> 4);
}

void BulkHeader::store(std::byte* at) const {
  at[0] = static_cast<std::byte>(kMark | (key_phase ? kKeyPhase : 0) | (ack_me ? kAckMe : 0) |
                                 (end_of_burst ? kEndOfBurst : 0));
  at[1] = static_cast<std::byte>(path);
  store_be32(at + 2, connection_id);
  store_be48(at + 6, packet_number);
}

std::expected<BulkHeader, WireError> BulkHeader::parse(ByteView datagram) {
  if (packet_kind(datagram) != PacketKind::Bulk) return std::unexpected(WireError::BadMagic);
  if (datagram.size() < kSize) return std::unexpected(WireError::Truncated);
  const auto flags = static_cast<std::uint8_t>(datagram[0]);
  BulkHeader header;
  header.key_phase = (flags & kKeyPhase) != 0;
  header.ack_me = (flags & kAckMe) != 0;
  header.end_of_burst = (flags & kEndOfBurst) != 0;
  header.path = static_cast<std::uint8_t>(datagram[1]);
  header.connection_id = load_be32(datagram.data() + 2);
  header.packet_number = load_be48(datagram.data() + 6);
  if ((flags & kMustBeZero) != 0 || header.path > kMaxPath) return std::unexpected(WireError::BadValue);
  return header;
}

std::byte* FrameWriter::take(std::size_t size) {
  CHECK(size <= room());
  std::byte* at = out_.data() + size_;
  size_ += size;
  return at;
}

void FrameWriter::ping() {
  *take(1) = static_cast<std::byte>(FrameType::Ping);
}

void FrameWriter::ack(const AckFrame& frame) {
  CHECK(frame.range_count >= 1 && frame.range_count <= AckFrame::kMaxRanges);
  std::byte* at = take(AckFrame::kFixedSize);
  std::byte* count_at = at + 28;
  at[0] = static_cast<std::byte>(FrameType::Ack);
  at[1] = static_cast<std::byte>(frame.path);
  store_be48(at + 2, frame.largest());
  store_be32(at + 8, frame.delay_us);
  store_be64(at + 12, frame.receive_limit);
  store_be32(at + 20, frame.received);
  store_be32(at + 24, frame.duplicates);
  const std::uint32_t first_length = to_length(frame.ranges[0].last - frame.ranges[0].first);
  store_be32(at + 29, first_length);
  std::uint64_t lowest = frame.ranges[0].last - first_length;
  std::uint8_t count = 1;
  for (std::size_t i = 1; i < frame.range_count && room() >= 8; ++i) {
    const PacketRange& range = frame.ranges[i];
    const std::uint64_t gap = lowest - range.last - 2;
    if (gap > AckFrame::kMaxLength) break;  // only after a cut range; what is older is long settled
    const std::uint32_t length = to_length(range.last - range.first);
    at = take(8);
    store_be32(at, static_cast<std::uint32_t>(gap));
    store_be32(at + 4, length);
    lowest = range.last - length;
    ++count;
  }
  *count_at = static_cast<std::byte>(count);
}

void FrameWriter::fin(const FinFrame& frame) {
  std::byte* at = take(FinFrame::kSize);
  at[0] = static_cast<std::byte>(FrameType::Fin);
  store_be64(at + 1, frame.final_size);
  store_be64(at + 9, frame.digest);
}

void FrameWriter::abort(std::uint16_t code, std::string_view reason) {
  reason = reason.substr(0, AbortFrame::kMaxReason);
  std::byte* at = take(4 + reason.size());
  at[0] = static_cast<std::byte>(FrameType::Abort);
  store_be16(at + 1, code);
  at[3] = static_cast<std::byte>(reason.size());
  std::copy(as_bytes(reason).begin(), as_bytes(reason).end(), at + 4);
}

void FrameWriter::complete(const CompleteFrame& frame) {
  std::byte* at = take(CompleteFrame::kSize);
  at[0] = static_cast<std::byte>(FrameType::Complete);
  store_be64(at + 1, frame.bytes);
}

void FrameWriter::complete_ack() {
  *take(1) = static_cast<std::byte>(FrameType::CompleteAck);
}

ByteSpan FrameWriter::data(std::uint64_t offset, std::size_t size) {
  std::byte* at = take(DataFrame::kOverhead + size);
  at[0] = static_cast<std::byte>(FrameType::Data);
  store_be64(at + 1, offset);
  return {at + DataFrame::kOverhead, size};
}

void FrameWriter::padding(std::size_t size) {
  std::byte* at = take(size);
  std::fill(at, at + size, std::byte{0});
}

std::optional<FrameType> BulkFrameReader::next() {
  if (error_ || reader_.remaining() == 0) return std::nullopt;
  const auto type = static_cast<FrameType>(reader_.u8());
  switch (type) {
    case FrameType::Padding:
      reader_.rest();
      break;
    case FrameType::Ping:
    case FrameType::CompleteAck:
      break;
    case FrameType::Ack:
      read_ack();
      break;
    case FrameType::Data:
      read_data();
      break;
    case FrameType::Fin:
      fin_.final_size = reader_.u64();
      fin_.digest = reader_.u64();
      if (fin_.final_size > DataFrame::kMaxOffset) error_ = WireError::BadValue;
      break;
    case FrameType::Abort:
      read_abort();
      break;
    case FrameType::Complete:
      complete_.bytes = reader_.u64();
      break;
    default:
      error_ = WireError::BadValue;
  }
  if (!reader_.ok()) error_ = WireError::Truncated;
  if (error_) return std::nullopt;
  return type;
}

void BulkFrameReader::read_ack() {
  AckFrame& ack = ack_.emplace();
  ack.path = reader_.u8();
  std::uint64_t last = static_cast<std::uint64_t>(reader_.u16()) << 32;
  last |= reader_.u32();
  ack.delay_us = reader_.u32();
  ack.receive_limit = reader_.u64();
  ack.received = reader_.u32();
  ack.duplicates = reader_.u32();
  const std::size_t count = reader_.u8();
  std::uint64_t length = reader_.u32();
  ack.range_count = 0;
  if (!reader_.ok()) return;
  if (count == 0 || count > AckFrame::kMaxRanges || length > last || ack.path > BulkHeader::kMaxPath) {
    error_ = WireError::BadValue;
    return;
  }
  ack.ranges[0] = {last - length, last};
  for (std::size_t i = 1; i < count; ++i) {
    const std::uint64_t step = std::uint64_t{reader_.u32()} + 2;
    length = reader_.u32();
    const std::uint64_t lowest = ack.ranges[i - 1].first;
    if (!reader_.ok()) return;
    if (step + length > lowest) {
      error_ = WireError::BadValue;
      return;
    }
    ack.ranges[i] = {lowest - step - length, lowest - step};
  }
  ack.range_count = count;
}

void BulkFrameReader::read_data() {
  data_.offset = reader_.u64();
  data_.bytes = reader_.rest();
  if (!reader_.ok()) return;
  if (data_.bytes.empty() || data_.offset > DataFrame::kMaxOffset - data_.bytes.size())
    error_ = WireError::BadValue;
}

void BulkFrameReader::read_abort() {
  abort_.code = reader_.u16();
  const std::size_t length = reader_.u8();
  abort_.reason = as_text(reader_.bytes(length));
  if (reader_.ok() && length > AbortFrame::kMaxReason) error_ = WireError::BadValue;
}

}  // namespace dh::wire
