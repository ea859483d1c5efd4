#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace dh::bulk {

/// A set of integers kept as sorted, disjoint, non-touching half-open intervals: acked packet numbers, lost
/// or arrived stream bytes. One flat array, so a handful of holes costs a cache line; adding at either end is
/// constant time, in the middle a search and a short move. The owner bounds the number of intervals.
class IntervalSet {
public:
  struct Interval {
    std::uint64_t begin = 0, end = 0;
    bool operator==(const Interval&) const = default;
  };

  void add(std::uint64_t begin, std::uint64_t end);
  void remove(std::uint64_t begin, std::uint64_t end);
  void remove_below(std::uint64_t limit) { remove(0, limit); }

  bool contains(std::uint64_t begin, std::uint64_t end) const;
  /// Intervals there would be after add(begin, end).
  std::size_t size_after_add(std::uint64_t begin, std::uint64_t end) const;

  /// Calls fn(begin, end) for every part of [begin, end) that is not in the set, ascending.
  template <class Fn>
  void for_each_gap(std::uint64_t begin, std::uint64_t end, Fn&& fn) const {
    for (std::size_t i = first_ending_after(begin); begin < end; ++i) {
      const std::uint64_t stop = i < intervals_.size() ? std::min(intervals_[i].begin, end) : end;
      if (begin < stop) fn(begin, stop);
      if (i >= intervals_.size()) return;
      begin = std::max(begin, intervals_[i].end);
    }
  }

  bool empty() const { return head_ == intervals_.size(); }
  std::size_t size() const { return intervals_.size() - head_; }
  const Interval& front() const { return intervals_[head_]; }
  const Interval& back() const { return intervals_.back(); }
  void clear();

private:
  /// Index of the first interval whose end is above `at`.
  std::size_t first_ending_after(std::uint64_t at) const;
  void trim();

  std::vector<Interval> intervals_;  // [head_, size) are live; popping the front only moves head_
  std::size_t head_ = 0;
};

}  // namespace dh::bulk
