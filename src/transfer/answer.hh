#pragma once

// What the receiver says over the session's control channel. Spec: docs/protocol/transfer.md "Messages".

#include <cstdint>
#include <expected>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.hh"
#include "transfer/fault.hh"
#include "transfer/manifest.hh"

namespace dh::transfer {

/// What the receiver wants of a run of entries. Directories and symlinks are in the manifest whole: for them
/// all of these mean the same.
struct Span {
  enum class Wish : std::uint8_t {
    Skip = 1,    // do not send
    Whole = 2,   // from the first byte
    Have = 3,    // is here whole; `digest` is over the content of all of the run's files
    Resume = 4,  // one file; its first `blocks` blocks are here, `digest` is over them
  };
  Wish wish = Wish::Whole;
  std::uint32_t first = 0;
  std::uint32_t count = 1;
  std::uint32_t blocks = 0;  // Resume
  ByteArray<32> digest{};    // Have, Resume: BLAKE2b-256

  bool operator==(const Span&) const = default;
};

/// The receiver's one answer to a manifest: spans in order that cover every entry exactly once.
struct Answer {
  ByteArray<16> nonce{};  // for the check string
  std::vector<Span> spans;

  /// Messages of at most kMaxMessageBytes each.
  std::vector<Bytes> serialize() const;
  bool operator==(const Answer&) const = default;
};

/// The receiver cannot write at the moment (disk full), or can again.
struct PausedMessage {
  std::string why;  // empty: it goes on
  bool operator==(const PausedMessage&) const = default;
};
/// The last message: how many entries could not be stored, and the first reason.
struct ResultMessage {
  std::uint32_t failed = 0;
  std::string why;
  bool operator==(const ResultMessage&) const = default;
};
Bytes serialize(const PausedMessage& message);
Bytes serialize(const ResultMessage& message);

/// The sender's ear.
class MessageReader {
public:
  explicit MessageReader(const Manifest& manifest) : manifest_(manifest) {}

  struct AnswerComplete {};
  struct Nothing {};  // a part of the answer
  using Heard = std::variant<Nothing, AnswerComplete, PausedMessage, ResultMessage>;
  std::expected<Heard, Refusal> on_message(ByteView message);
  const Answer& answer() const { return answer_; }
  bool answered() const { return complete_; }

private:
  std::expected<Heard, Refusal> on_spans(Reader& r);

  const Manifest& manifest_;
  Answer answer_;
  std::uint32_t covered_ = 0;
  bool started_ = false, complete_ = false;
};

}  // namespace dh::transfer
