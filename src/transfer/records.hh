#pragma once

// The records of the stream from sender to receiver. Spec: docs/protocol/transfer.md "Records". Big-endian.
//   0      1        5
//   | type | length | payload ...

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <variant>

#include "base/bytes.hh"
#include "transfer/block_digest.hh"
#include "transfer/fault.hh"

namespace dh::transfer {

/// First of all: what is to come. The totals are a hard cap.
struct HelloRecord {
  bool verify = false;    // every FileEnd carries a SHA-256
  ByteArray<16> nonce{};  // for the check string
  std::uint32_t entries = 0;
  std::uint64_t bytes = 0;  // of content

  static constexpr std::uint8_t kVersion = 1;
  void serialize(Writer& w) const;
  bool operator==(const HelloRecord&) const = default;
};
/// Entries in the format of Manifest::parse.
struct ManifestRecord {
  ByteView entries;
};
struct ManifestEndRecord {};
/// Block `block` of a file: exactly block_size() bytes.
struct BlockRecord {
  std::uint32_t entry = 0;
  std::uint32_t block = 0;
  BlockDigest digest{};
  ByteView data;

  static constexpr std::size_t kHeaderBytes = 24;                      // of the payload, before the data
  static constexpr std::size_t kRecordHeaderBytes = 5 + kHeaderBytes;  // what serialize_header writes
  /// Record header and payload header; the data follows.
  void serialize_header(Writer& w, std::size_t data_bytes) const;
};
/// Blocks that are nothing but a hole of the file.
struct HoleRecord {
  std::uint32_t entry = 0;
  std::uint32_t first = 0;
  std::uint32_t count = 0;

  void serialize(Writer& w) const;
  bool operator==(const HoleRecord&) const = default;
};
struct FileEndRecord {
  std::uint32_t entry = 0;
  std::uint64_t size = 0;
  std::optional<ByteArray<32>> sha256;

  void serialize(Writer& w) const;
  bool operator==(const FileEndRecord&) const = default;
};
/// Why an entry does not arrive although it was announced.
enum class FailReason : std::uint8_t {
  Changed = 1,     // while it was sent
  Unreadable = 2,  // gone, no permission, bad disk
};
struct FailedRecord {
  std::uint32_t entry = 0;
  FailReason reason = FailReason::Unreadable;
  std::string text;  // the sender's words, at most kMaxReasonBytes: printable() before showing

  void serialize(Writer& w) const;
  bool operator==(const FailedRecord&) const = default;
};
struct EndRecord {
  std::uint32_t failed = 0;  // FailedRecords sent

  void serialize(Writer& w) const;
};
void serialize_manifest_end(Writer& w);
/// Puts a record header before a payload of `size` bytes of manifest entries.
void serialize_manifest_header(Writer& w, std::size_t size);

using Record = std::variant<HelloRecord, ManifestRecord, ManifestEndRecord, BlockRecord, HoleRecord,
                            FileEndRecord, FailedRecord, EndRecord>;

/// Bytes of the record that begins here, its header included; 0: not known yet, or no record at all.
std::size_t record_bytes(ByteView begin);

/// Cuts a byte stream into records. A record that is in one piece in its input is not copied. Bounded: at
/// most one record is kept, and its length is checked against its type before anything is kept.
class RecordReader {
public:
  struct Step {
    std::size_t consumed = 0;
    std::optional<Record> record;  // views in it are valid until the next call, and while `input` is
  };
  /// Takes bytes up to the end of one record. Errors: the stream is unusable from here on.
  std::expected<Step, Refusal> next(ByteView input);
  /// Bytes of a record that is not whole are waiting.
  bool in_record() const { return !handed_out_ && !kept_.empty(); }

private:
  Bytes kept_;
  bool handed_out_ = false;  // kept_ is what the last record's views look at
};

}  // namespace dh::transfer
