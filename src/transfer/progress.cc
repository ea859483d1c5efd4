#include "transfer/progress.hh"

namespace dh::transfer {

void StreamMarks::mark(std::uint64_t at, const Progress& progress) {
  // The newest mark is moved along until it is a step away from the one before.
  if (marks_.size() >= 2 && marks_.back().at - marks_[marks_.size() - 2].at < kStep) marks_.pop_back();
  marks_.push_back({at, progress});
}

Progress StreamMarks::confirmed(std::uint64_t at) {
  while (!marks_.empty() && marks_.front().at <= at) {
    last_ = marks_.front().progress;
    marks_.pop_front();
  }
  return last_;
}

}  // namespace dh::transfer
