#include "bulk/reassembly_buffer.hh"

namespace dh::bulk {

ReassemblyBuffer::Outcome ReassemblyBuffer::insert(std::uint64_t offset, ByteView bytes) {
  const std::uint64_t end = offset + bytes.size();
  if (end > limit_) return Outcome::TooFar;
  if (end <= arrived_) return Outcome::Duplicate;
  if (offset <= arrived_) {
    const ByteView fresh = bytes.subspan(static_cast<std::size_t>(arrived_ - offset));
    memory_.write(arrived_, fresh);
    digest_.update(fresh);
    if (gaps_above_.empty()) {
      arrived_ = end;
    } else {
      advance(end);
    }
    return Outcome::New;
  }
  if (gaps_above_.contains(offset, end)) return Outcome::Duplicate;
  if (gaps_above_.size_after_add(offset, end) > kMaxGaps) return Outcome::TooManyGaps;
  gaps_above_.for_each_gap(offset, end, [&](std::uint64_t from, std::uint64_t to) {
    memory_.write(
        from, bytes.subspan(static_cast<std::size_t>(from - offset), static_cast<std::size_t>(to - from)));
    out_of_order_ += static_cast<std::size_t>(to - from);
  });
  gaps_above_.add(offset, end);
  return Outcome::New;
}

/// The gap below `end` has closed: takes over what had arrived beyond it.
void ReassemblyBuffer::advance(std::uint64_t end) {
  arrived_ = end;
  while (!gaps_above_.empty() && gaps_above_.front().begin <= arrived_) {
    const IntervalSet::Interval next = gaps_above_.front();
    out_of_order_ -= static_cast<std::size_t>(next.end - next.begin);
    gaps_above_.remove_below(next.end);
    while (arrived_ < next.end) {
      const ByteView part = memory_.view(arrived_, static_cast<std::size_t>(next.end - arrived_));
      digest_.update(part);
      arrived_ += part.size();
    }
  }
}

void ReassemblyBuffer::consume(std::size_t size) {
  CHECK(size <= arrived_ - consumed_);
  consumed_ += size;
  memory_.forget_below(consumed_);
}

}  // namespace dh::bulk
