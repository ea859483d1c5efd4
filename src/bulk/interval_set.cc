#include "bulk/interval_set.hh"

namespace dh::bulk {

std::size_t IntervalSet::first_ending_after(std::uint64_t at) const {
  // The ends are where almost every call falls.
  if (empty() || intervals_.back().end <= at) return intervals_.size();
  if (intervals_[head_].end > at) return head_;
  const auto live = intervals_.begin() + static_cast<std::ptrdiff_t>(head_);
  const auto it = std::upper_bound(live, intervals_.end(), at,
                                   [](std::uint64_t value, const Interval& i) { return value < i.end; });
  return static_cast<std::size_t>(it - intervals_.begin());
}

void IntervalSet::trim() {
  if (head_ == intervals_.size()) {
    clear();
  } else if (head_ > 64 && head_ > intervals_.size() / 2) {
    intervals_.erase(intervals_.begin(), intervals_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
  }
}

void IntervalSet::clear() {
  intervals_.clear();
  head_ = 0;
}

void IntervalSet::add(std::uint64_t begin, std::uint64_t end) {
  if (begin >= end) return;
  // Everything from `first` to before `last` touches or overlaps [begin, end).
  std::size_t first = begin == 0 ? head_ : first_ending_after(begin - 1);
  std::size_t last = first;
  while (last < intervals_.size() && intervals_[last].begin <= end) ++last;
  if (first == last) {
    if (first == head_ && head_ > 0) {
      intervals_[--head_] = {begin, end};
    } else {
      intervals_.insert(intervals_.begin() + static_cast<std::ptrdiff_t>(first), {begin, end});
    }
    return;
  }
  Interval& merged = intervals_[first];
  merged.begin = std::min(merged.begin, begin);
  merged.end = std::max(intervals_[last - 1].end, end);
  intervals_.erase(intervals_.begin() + static_cast<std::ptrdiff_t>(first + 1),
                   intervals_.begin() + static_cast<std::ptrdiff_t>(last));
}

void IntervalSet::remove(std::uint64_t begin, std::uint64_t end) {
  if (begin >= end || empty()) return;
  std::size_t i = first_ending_after(begin);
  if (i == intervals_.size() || intervals_[i].begin >= end) return;
  if (intervals_[i].begin < begin) {
    const std::uint64_t old_end = intervals_[i].end;
    intervals_[i].end = begin;
    ++i;
    if (old_end > end) {
      intervals_.insert(intervals_.begin() + static_cast<std::ptrdiff_t>(i), {end, old_end});
      return;
    }
  }
  std::size_t last = i;
  while (last < intervals_.size() && intervals_[last].end <= end) ++last;
  if (last < intervals_.size() && intervals_[last].begin < end) intervals_[last].begin = end;
  if (i == head_) {
    head_ = last;
    trim();
  } else {
    intervals_.erase(intervals_.begin() + static_cast<std::ptrdiff_t>(i),
                     intervals_.begin() + static_cast<std::ptrdiff_t>(last));
  }
}

bool IntervalSet::contains(std::uint64_t begin, std::uint64_t end) const {
  if (begin >= end) return true;
  const std::size_t i = first_ending_after(begin);
  return i < intervals_.size() && intervals_[i].begin <= begin && intervals_[i].end >= end;
}

std::size_t IntervalSet::size_after_add(std::uint64_t begin, std::uint64_t end) const {
  if (begin >= end) return size();
  std::size_t first = begin == 0 ? head_ : first_ending_after(begin - 1);
  std::size_t touched = 0;
  while (first + touched < intervals_.size() && intervals_[first + touched].begin <= end) ++touched;
  return size() + 1 - touched;
}

}  // namespace dh::bulk
