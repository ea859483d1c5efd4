#include "wire/derp_frame_reader.hh"

#include <algorithm>

#include "base/check.hh"

namespace dh::wire::derp {

namespace {
constexpr std::size_t kMinReaderSize = 64u << 10;  // bytes: one read of a busy socket
}

ByteSpan FrameReader::space(std::size_t min_size) {
  if (begin_ == end_) begin_ = end_ = 0;
  if (buffer_.size() - end_ < min_size) {
    if (begin_ > 0) std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    // Twice what is needed: a straddling frame is then moved once in several reads, not in each.
    const std::size_t wanted = std::max(end_ + min_size, kMinReaderSize);
    if (buffer_.size() < wanted) buffer_.resize(2 * wanted);
  }
  return ByteSpan(buffer_).subspan(end_);
}

void FrameReader::commit(std::size_t size) {
  CHECK(size <= buffer_.size() - end_);
  end_ += size;
}

void FrameReader::append(ByteView bytes) {
  if (bytes.empty()) return;
  std::memcpy(space(bytes.size()).data(), bytes.data(), bytes.size());
  commit(bytes.size());
}

std::optional<FrameHeader> FrameReader::header() const {
  if (buffered() < kFrameHeaderSize) return std::nullopt;
  return FrameHeader::read_from(buffer_.data() + begin_);
}

bool FrameReader::too_long() const {
  const auto head = header();
  return head && head->length > kMaxFramePayload;
}

std::optional<FrameReader::Frame> FrameReader::next() {
  const auto head = header();
  if (!head || head->length > kMaxFramePayload) return std::nullopt;
  const std::size_t size = kFrameHeaderSize + head->length;
  if (buffered() < size) return std::nullopt;
  const Frame frame{head->type, ByteSpan(buffer_).subspan(begin_ + kFrameHeaderSize, head->length)};
  begin_ += size;
  return frame;
}

void FrameSplitter::feed(ByteView bytes) {
  const std::size_t skipped = std::min<std::uint64_t>(discarding_, bytes.size());
  discarding_ -= skipped;
  fed_ = bytes.subspan(skipped);
}

ByteView FrameSplitter::front() const {
  return held() > 0 ? ByteView(held_).subspan(held_begin_) : fed_;
}

bool FrameSplitter::top_up(std::size_t size) {
  if (held() == 0) return fed_.size() >= size;
  if (held() < size) {
    const ByteView more = fed_.first(std::min(size - held(), fed_.size()));
    held_.insert(held_.end(), more.begin(), more.end());
    fed_ = fed_.subspan(more.size());
  }
  return held() >= size;
}

void FrameSplitter::drop(std::size_t size) {
  if (held() == 0) {
    fed_ = fed_.subspan(size);
    return;
  }
  held_begin_ += size;
}

std::optional<FrameHeader> FrameSplitter::header() {
  if (!top_up(kFrameHeaderSize)) return std::nullopt;
  return FrameHeader::read_from(front().data());
}

std::optional<FrameSplitter::Frame> FrameSplitter::next() {
  const auto head = header();
  if (!head) return std::nullopt;
  const std::size_t size = kFrameHeaderSize + head->length;
  if (!top_up(size)) return std::nullopt;
  const ByteView whole = front().first(size);
  drop(size);
  return Frame{head->type, whole.subspan(kFrameHeaderSize), whole};
}

void FrameSplitter::discard() {
  const auto head = header();
  if (!head) return;
  std::uint64_t left = kFrameHeaderSize + std::uint64_t{head->length};
  const std::size_t from_held = std::min<std::uint64_t>(left, held());
  held_begin_ += from_held;
  left -= from_held;
  const std::size_t from_fed = std::min<std::uint64_t>(left, fed_.size());
  fed_ = fed_.subspan(from_fed);
  discarding_ = left - from_fed;
}

void FrameSplitter::keep_rest() {
  if (held() == 0) {
    held_.assign(fed_.begin(), fed_.end());
  } else {
    held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(held_begin_));
    held_.insert(held_.end(), fed_.begin(), fed_.end());
  }
  held_begin_ = 0;
  fed_ = {};
}

void FrameSplitter::shrink() {
  if (held() == 0) Bytes().swap(held_);
  held_begin_ = std::min(held_begin_, held_.size());
}

}  // namespace dh::wire::derp
