#include "transfer/receiver_core.hh"

#include <utility>

#include "base/check.hh"
#include "base/overloaded.hh"
#include "transfer/limits.hh"

namespace dh::transfer {

std::unexpected<Refusal> ReceiverCore::refuse(Fault fault, std::uint32_t entry) const {
  return std::unexpected(Refusal{fault, entry < manifest_.size() ? manifest_.path(entry) : std::string()});
}

std::expected<ReceiverCore::Step, Refusal> ReceiverCore::on_bytes(ByteView input) {
  Step step;
  while (step.consumed < input.size() && !step.event && state_ != State::Offered) {
    if (state_ == State::Over) return std::unexpected(Refusal{Fault::WrongOrder});
    auto read = reader_.next(input.subspan(step.consumed));
    if (!read) return std::unexpected(read.error());
    step.consumed += read->consumed;
    if (!read->record) continue;
    auto outcome = on_record(*read->record);
    if (!outcome) return std::unexpected(outcome.error());
    step.event = std::move(*outcome);
    step.started = std::exchange(started_, std::nullopt);
  }
  return step;
}

std::expected<void, Refusal> ReceiverCore::on_end() const {
  if (state_ != State::Over || reader_.in_record()) return std::unexpected(Refusal{Fault::WrongOrder});
  return {};
}

ReceiverCore::Outcome ReceiverCore::on_record(const Record& record) {
  const auto is = [&]<class T>(std::in_place_type_t<T>) { return std::holds_alternative<T>(record); };
  const bool fits = state_ == State::Hello ? is(std::in_place_type<HelloRecord>)
                    : state_ == State::Names
                        ? is(std::in_place_type<ManifestRecord>) || is(std::in_place_type<ManifestEndRecord>)
                        : !is(std::in_place_type<HelloRecord>) && !is(std::in_place_type<ManifestRecord>) &&
                              !is(std::in_place_type<ManifestEndRecord>);
  if (!fits) return std::unexpected(Refusal{Fault::WrongOrder});
  return std::visit(Overloaded{
                        [&](const HelloRecord& hello) -> Outcome {
                          hello_ = hello;
                          state_ = State::Names;
                          return std::nullopt;
                        },
                        [&](const ManifestRecord& part) -> Outcome {
                          if (auto good = manifest_.parse(part.entries); !good)
                            return std::unexpected(good.error());
                          if (manifest_.size() > hello_.entries || manifest_.bytes() > hello_.bytes)
                            return std::unexpected(Refusal{Fault::WrongTotals});
                          return std::nullopt;
                        },
                        [&](const ManifestEndRecord&) -> Outcome { return on_manifest_end(); },
                        [&](const BlockRecord& block) -> Outcome { return on_block(block); },
                        [&](const HoleRecord& hole) -> Outcome { return on_hole(hole); },
                        [&](const FileEndRecord& end) -> Outcome { return on_file_end(end); },
                        [&](const FailedRecord& failed) -> Outcome { return on_failed(failed); },
                        [&](const EndRecord& end) -> Outcome { return on_end_record(end); },
                    },
                    record);
}

ReceiverCore::Outcome ReceiverCore::on_manifest_end() {
  if (manifest_.empty()) return std::unexpected(Refusal{Fault::EmptyManifest});
  if (manifest_.size() != hello_.entries || manifest_.bytes() != hello_.bytes)
    return std::unexpected(Refusal{Fault::WrongTotals});
  state_ = State::Offered;
  return Offered{};
}

void ReceiverCore::answer(const Answer& answer) {
  CHECK(state_ == State::Offered);
  std::uint64_t covered = 0;
  for (const Span& span : answer.spans) {
    CHECK(span.first == covered);
    covered += span.count;
  }
  CHECK(covered == manifest_.size());
  answer_ = answer;
  state_ = State::Content;
}

const Span& ReceiverCore::span_of(std::uint32_t entry) {  // entries are asked about in order
  while (answer_.spans[span_].first + answer_.spans[span_].count <= entry) ++span_;
  return answer_.spans[span_];
}

bool ReceiverCore::is_wanted(std::uint32_t entry) {
  return manifest_[entry].has_content() && span_of(entry).wish != Span::Wish::Skip;
}

std::expected<bool, Refusal> ReceiverCore::turn_to(std::uint32_t entry) {
  if (current_) {
    if (*current_ == entry) return false;
    return refuse(Fault::MissingFile, *current_);
  }
  if (entry >= manifest_.size()) return std::unexpected(Refusal{Fault::NotAsked});
  if (entry < next_) return refuse(Fault::NotAsked, entry);
  for (; next_ < entry; ++next_)
    if (is_wanted(next_)) return refuse(Fault::MissingFile, next_);
  if (!is_wanted(entry)) return refuse(Fault::NotAsked, entry);
  return true;
}

std::expected<void, Refusal> ReceiverCore::start(std::uint32_t entry, std::uint32_t first) {
  const Span& span = span_of(entry);
  const bool resumes = span.wish == Span::Wish::Resume && first == span.blocks;
  if (first != 0 && !resumes) return refuse(Fault::BlockOrder, entry);
  current_ = entry;
  next_block_ = first;
  started_ = FileStarted{entry, first};
  return {};
}

ReceiverCore::Outcome ReceiverCore::on_block(const BlockRecord& block) {
  const auto fresh = turn_to(block.entry);
  if (!fresh) return std::unexpected(fresh.error());
  if (*fresh) {
    if (auto good = start(block.entry, block.block); !good) return std::unexpected(good.error());
  }
  if (block.block != next_block_) return refuse(Fault::BlockOrder, block.entry);
  const std::uint64_t size = manifest_[block.entry].size;
  if (block.block >= block_count(size) || block.data.size() != block_size(size, block.block))
    return refuse(Fault::BlockSize, block.entry);
  if (block_digest(block.data) != block.digest) return refuse(Fault::DamagedBlock, block.entry);
  ++next_block_;
  return BlockArrived{block.entry, block.block, block.digest, block.data};
}

ReceiverCore::Outcome ReceiverCore::on_hole(const HoleRecord& hole) {
  const auto fresh = turn_to(hole.entry);
  if (!fresh) return std::unexpected(fresh.error());
  if (*fresh) {
    if (auto good = start(hole.entry, hole.first); !good) return std::unexpected(good.error());
  }
  const Entry& entry = manifest_[hole.entry];
  if (hole.first != next_block_) return refuse(Fault::BlockOrder, hole.entry);
  if (!entry.sparse || hole.count > block_count(entry.size) - next_block_)
    return refuse(Fault::BlockSize, hole.entry);
  next_block_ += hole.count;
  return HoleArrived{hole.entry, hole.first, hole.count};
}

ReceiverCore::Outcome ReceiverCore::on_file_end(const FileEndRecord& end) {
  const auto fresh = turn_to(end.entry);
  if (!fresh) return std::unexpected(fresh.error());
  const Entry& entry = manifest_[end.entry];
  if (end.size != entry.size) return refuse(Fault::FileSize, end.entry);
  if (end.sha256.has_value() != hello_.verify) return refuse(Fault::DamagedFile, end.entry);
  const bool is_here = *fresh && span_of(end.entry).wish == Span::Wish::Have;
  if (*fresh && !is_here) {
    if (auto good = start(end.entry, 0); !good) return std::unexpected(good.error());
  }
  if (!is_here && next_block_ != block_count(entry.size)) return refuse(Fault::FileSize, end.entry);
  current_.reset();
  next_ = end.entry + 1;
  return FileArrived{end.entry, end.sha256};
}

ReceiverCore::Outcome ReceiverCore::on_failed(const FailedRecord& failed) {
  const auto fresh = turn_to(failed.entry);
  if (!fresh) return std::unexpected(fresh.error());
  current_.reset();
  next_ = failed.entry + 1;
  ++failed_;
  return EntryFailed{failed.entry, failed.reason, failed.text};
}

ReceiverCore::Outcome ReceiverCore::on_end_record(const EndRecord& end) {
  if (current_) return refuse(Fault::MissingFile, *current_);
  for (; next_ < manifest_.size(); ++next_)
    if (is_wanted(next_)) return refuse(Fault::MissingFile, next_);
  if (end.failed != failed_) return std::unexpected(Refusal{Fault::WrongTotals});
  state_ = State::Over;
  return AllArrived{failed_};
}

}  // namespace dh::transfer
