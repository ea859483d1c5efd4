#pragma once

#include <cstdint>

#include "base/time.hh"

namespace dh::io {

/// Two ways to do the same work, of which nobody knows beforehand which costs less here: a sample of the
/// first, a sample of the second, then the cheaper one for a period, and again. A value.
class CheaperWay {
public:
  struct Bytes {
    std::uint64_t first;   // go the first way before anything is tried
    std::uint64_t sample;  // of either way
    std::uint64_t period;  // until both are compared again
  };
  explicit CheaperWay(Bytes bytes) : bytes_(bytes), left_(bytes.first) {}

  bool is_second() const { return stage_ == Stage::SecondSample || stage_ == Stage::Second; }
  /// Only then does it matter how long the work takes.
  bool is_sample() const { return stage_ == Stage::FirstSample || stage_ == Stage::SecondSample; }
  /// So many bytes went, and in which way: perhaps not in the one that was asked for, or that was asked for a
  /// moment ago.
  void went(bool second, std::uint64_t bytes, Duration took);
  /// The second way does not exist here.
  void give_up() { stage_ = Stage::FirstForGood; }

private:
  enum class Stage : std::uint8_t { FirstSample, SecondSample, First, Second, FirstForGood };
  void next();

  Bytes bytes_;
  Stage stage_ = Stage::FirstSample;
  std::uint64_t left_;      // bytes of this stage
  std::uint64_t done_ = 0;  // of this sample, and how long they took
  Duration time_{};
  double first_cost_ = 0;  // seconds a byte, when last sampled
};

}  // namespace dh::io
