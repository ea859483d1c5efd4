#pragma once

#include <cstdint>
#include <deque>

namespace dh::transfer {

/// How far a transfer is, in the units people care about.
struct Progress {
  std::uint64_t bytes = 0;  // of content, in place or on its way there safely
  std::uint32_t files = 0;  // whole
  std::uint32_t entry = 0;  // the one being worked on
  bool operator==(const Progress&) const = default;
};

/// The sender knows how much of the stream is confirmed; people want to know how much of which file. Keeps a
/// mark every kStep bytes of what is on the way.
class StreamMarks {
public:
  static constexpr std::uint64_t kStep = 64u << 10;

  /// The stream is `at` bytes long and `progress` describes all of it. `at` never goes backwards.
  void mark(std::uint64_t at, const Progress& progress);
  /// What the first `at` bytes amount to.
  Progress confirmed(std::uint64_t at);

private:
  struct Mark {
    std::uint64_t at;
    Progress progress;
  };
  std::deque<Mark> marks_;
  Progress last_;
};

}  // namespace dh::transfer
