#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <variant>
#include <vector>

#include "transfer/answer.hh"
#include "transfer/manifest.hh"
#include "transfer/records.hh"

namespace dh::transfer {

/// The manifest is whole: decide with check_names() and what is on disk, then answer().
struct Offered {};
/// A file's content comes next, from block `first` on: 0, or where the answer said it stopped.
struct FileStarted {
  std::uint32_t entry;
  std::uint32_t first;
};
/// One verified block of it. The view is valid until the next input.
struct BlockArrived {
  std::uint32_t entry;
  std::uint32_t block;
  BlockDigest digest;
  ByteView data;
};
struct HoleArrived {
  std::uint32_t entry;
  std::uint32_t first, count;
};
/// All of its blocks came, or (never started) the sender agrees that it is here already.
struct FileArrived {
  std::uint32_t entry;
  std::optional<ByteArray<32>> sha256;  // to be compared by whoever has the bytes
};
/// It will not come; whatever there is of it must not get its final name.
struct EntryFailed {
  std::uint32_t entry;
  FailReason reason;
  std::string text;
};
/// The sender has nothing more.
struct AllArrived {
  std::uint32_t failed;
};
using ReceiverEvent = std::variant<Offered, BlockArrived, HoleArrived, FileArrived, EntryFailed, AllArrived>;

/// The receiving end of a transfer: the stream's bytes in, what to do with them out. Pure. Files come in the
/// order of the manifest, each from its first block (or where it was resumed) to its last.
///
///   Hello --> Names --manifest end--> Offered --answer()--> Content --end--> Over
class ReceiverCore {
public:
  struct Step {
    std::size_t consumed = 0;
    std::optional<FileStarted> started;  // before the event
    std::optional<ReceiverEvent> event;
  };
  /// Takes bytes up to the next event; takes none while Offered or Over. Errors: the sender's fault; the
  /// transfer is over.
  std::expected<Step, Refusal> on_bytes(ByteView input);
  /// With that many bytes in one piece, the next step would not have to copy them; 0: any number is good.
  std::size_t likes(ByteView input) const { return reader_.in_record() ? 0 : record_bytes(input); }
  /// Once, after Offered. CHECKs that the spans cover the manifest.
  void answer(const Answer& answer);
  /// The stream has ended. Errors: before the transfer did.
  std::expected<void, Refusal> on_end() const;

  const Manifest& manifest() const { return manifest_; }
  bool verify() const { return hello_.verify; }
  const ByteArray<16>& sender_nonce() const { return hello_.nonce; }
  bool over() const { return state_ == State::Over; }

private:
  enum class State : std::uint8_t { Hello, Names, Offered, Content, Over };

  using Outcome = std::expected<std::optional<ReceiverEvent>, Refusal>;
  Outcome on_record(const Record& record);
  Outcome on_manifest_end();
  Outcome on_block(const BlockRecord& block);
  Outcome on_hole(const HoleRecord& hole);
  Outcome on_file_end(const FileEndRecord& end);
  Outcome on_failed(const FailedRecord& failed);
  Outcome on_end_record(const EndRecord& end);
  // true: it is the turn of `entry`, and nothing of it came yet. false: its content is coming.
  std::expected<bool, Refusal> turn_to(std::uint32_t entry);
  std::expected<void, Refusal> start(std::uint32_t entry, std::uint32_t first);
  std::unexpected<Refusal> refuse(Fault fault, std::uint32_t entry) const;
  const Span& span_of(std::uint32_t entry);
  bool is_wanted(std::uint32_t entry);

  State state_ = State::Hello;
  RecordReader reader_;
  HelloRecord hello_;
  Manifest manifest_;
  Answer answer_;
  std::size_t span_ = 0;                  // where the entry last asked about is
  std::uint32_t next_ = 0;                // first entry not dealt with
  std::optional<std::uint32_t> current_;  // its content is coming
  std::uint32_t next_block_ = 0;
  std::uint32_t failed_ = 0;
  std::optional<FileStarted> started_;
};

}  // namespace dh::transfer
