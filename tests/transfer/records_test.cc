#include "transfer/records.hh"

#include <gtest/gtest.h>

#include "transfer/limits.hh"

namespace dh::transfer {
namespace {

Bytes sample() {
  Bytes out;
  Writer w(out);
  HelloRecord{.verify = true, .nonce = {}, .entries = 2, .bytes = 0x0102}.serialize(w);
  serialize_manifest_header(w, 3);
  w.text("abc");
  serialize_manifest_end(w);
  const BlockDigest digest = block_digest(as_bytes("data"));
  BlockRecord{.entry = 1, .block = 2, .digest = digest, .data = {}}.serialize_header(w, 4);
  w.text("data");
  HoleRecord{.entry = 1, .first = 3, .count = 4}.serialize(w);
  FileEndRecord{.entry = 1, .size = 9, .sha256 = ByteArray<32>{}}.serialize(w);
  FailedRecord{.entry = 1, .reason = FailReason::Changed, .text = "gone"}.serialize(w);
  EndRecord{.failed = 1}.serialize(w);
  return out;
}

// Types and views as text, so that runs can be compared.
std::string read_all(ByteView bytes, std::size_t piece) {
  RecordReader reader;
  std::string out;
  while (!bytes.empty()) {
    const auto step = reader.next(bytes.first(std::min(piece, bytes.size())));
    if (!step) return out + "!" + std::to_string(static_cast<int>(step.error().fault));
    bytes = bytes.subspan(step->consumed);
    if (!step->record) continue;
    out += std::to_string(step->record->index()) + " ";
    if (const auto* block = std::get_if<BlockRecord>(&*step->record))
      out += std::string(as_text(block->data)) + " ";
    if (const auto* part = std::get_if<ManifestRecord>(&*step->record))
      out += std::string(as_text(part->entries)) + " ";
  }
  return out + (reader.in_record() ? "..." : "");
}

Fault fault_of(std::string_view hex) {
  RecordReader reader;
  const Bytes bytes = *from_hex(hex);
  const auto step = reader.next(bytes);
  EXPECT_FALSE(step);
  return step ? Fault::BadAnswer : step.error().fault;
}

TEST(Records, HaveTheirGoldenBytes) {
  EXPECT_EQ(to_hex(sample()),
            "0100000026"
            "64657270686f6c65"
            "01"
            "01"
            "00000000000000000000000000000000"
            "00000002"
            "0000000000000102"
            "0200000003"
            "616263"
            "0300000000"
            "040000001c"
            "00000001"
            "00000002" +
                to_hex(block_digest(as_bytes("data"))) +
                "64617461"
                "050000000c"
                "00000001"
                "00000003"
                "00000004"
                "060000002d"
                "00000001"
                "0000000000000009"
                "01"
                "0000000000000000000000000000000000000000000000000000000000000000"
                "0700000009"
                "00000001"
                "01"
                "676f6e65"
                "0800000004"
                "00000001");
}

TEST(Records, MeanTheSameHoweverTheyAreCut) {
  const Bytes bytes = sample();
  const std::string whole = read_all(bytes, SIZE_MAX);
  EXPECT_EQ(whole, "0 1 abc 2 3 data 4 5 6 7 ");
  for (std::size_t piece = 1; piece < 60; ++piece) EXPECT_EQ(read_all(bytes, piece), whole) << piece;
}

TEST(Records, LengthsAreCheckedBeforeAnythingIsKept) {
  EXPECT_EQ(fault_of("0100000101"), Fault::RecordTooLong);
  EXPECT_EQ(fault_of("0200010001"), Fault::RecordTooLong);
  EXPECT_EQ(fault_of("0300000001"), Fault::RecordTooLong);
  EXPECT_EQ(fault_of("0400100019"), Fault::RecordTooLong);  // 1 MiB and its header: 0x100018
  EXPECT_EQ(fault_of("07ffffffff"), Fault::RecordTooLong);
  EXPECT_EQ(fault_of("00"), Fault::UnknownRecord);
  EXPECT_EQ(fault_of("09"), Fault::UnknownRecord);
}

TEST(Records, MalformedOnesAreRefused) {
  EXPECT_EQ(fault_of("0100000000"), Fault::BadMagic);
  EXPECT_EQ(fault_of("0100000009"
                     "64657270686f6c6d"
                     "01"),
            Fault::BadMagic);
  EXPECT_EQ(fault_of("0100000009"
                     "64657270686f6c65"
                     "02"),
            Fault::BadVersion);
  EXPECT_EQ(fault_of("010000000a"
                     "64657270686f6c65"
                     "01"
                     "02"),
            Fault::BadVersion);
  EXPECT_EQ(fault_of("010000000a"
                     "64657270686f6c65"
                     "01"
                     "01"),
            Fault::BadRecord);
  EXPECT_EQ(fault_of("0200000000"), Fault::BadRecord);
  EXPECT_EQ(fault_of("0400000018" + std::string(48, '0')), Fault::BadRecord);  // a block of nothing
  EXPECT_EQ(fault_of("050000000c"
                     "00000001"
                     "00000003"
                     "00000000"),
            Fault::BadRecord);
  EXPECT_EQ(fault_of("060000000d"
                     "00000001"
                     "0000000000000009"
                     "02"),
            Fault::BadRecord);
  EXPECT_EQ(fault_of("060000000d"
                     "00000001"
                     "0000000000000009"
                     "01"),
            Fault::BadRecord);
  EXPECT_EQ(fault_of("060000000e"
                     "00000001"
                     "0000000000000009"
                     "00"
                     "00"),
            Fault::BadRecord);
  EXPECT_EQ(fault_of("0700000005"
                     "00000001"
                     "03"),
            Fault::BadRecord);
  EXPECT_EQ(fault_of("0800000003"
                     "000000"),
            Fault::BadRecord);
}

TEST(Records, LongWordsOfTheSenderAreCut) {
  Bytes out;
  Writer w(out);
  FailedRecord{.entry = 0, .reason = FailReason::Unreadable, .text = std::string(5000, 'x')}.serialize(w);
  EXPECT_EQ(out.size(), 5 + 5 + kMaxReasonBytes);
  EXPECT_EQ(read_all(out, SIZE_MAX), "6 ");
}

}  // namespace
}  // namespace dh::transfer
