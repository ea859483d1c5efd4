#include "wire/bulk_packet.hh"

#include <gtest/gtest.h>

namespace dh::wire {
namespace {

Bytes written(auto&& fill) {
  Bytes out(2048);
  FrameWriter writer(out);
  fill(writer);
  out.resize(writer.size());
  return out;
}

AckFrame small_ack() {
  AckFrame ack;
  ack.path = 3;
  ack.delay_us = 1500;
  ack.receive_limit = 0x800000;
  ack.received = 7;
  ack.duplicates = 2;
  ack.ranges[0] = {0x105, 0x109};
  ack.ranges[1] = {0x100, 0x101};
  ack.range_count = 2;
  return ack;
}

TEST(BulkHeader, HasTheseGoldenBytes) {
  BulkHeader header;
  header.key_phase = true;
  header.ack_me = true;
  header.path = 5;
  header.connection_id = 0xa1b2c3d4;
  header.packet_number = 0x010203040506;
  Bytes bytes(BulkHeader::kSize);
  header.store(bytes.data());
  EXPECT_EQ(to_hex(bytes), "8c05a1b2c3d4010203040506");
  EXPECT_EQ(BulkHeader::parse(bytes), header);
  EXPECT_EQ(packet_kind(bytes), PacketKind::Bulk);
}

TEST(BulkHeader, RefusesOtherKindsReservedBitsAndUnknownPaths) {
  const Bytes good = *from_hex("8005a1b2c3d4010203040506");
  ASSERT_TRUE(BulkHeader::parse(good));
  for (const auto& [index, value, error] : {std::tuple{0, 0x90, WireError::BadMagic},
                                            {0, 0xa0, WireError::BadMagic},
                                            {0, 0x40, WireError::BadMagic},
                                            {0, 0x81, WireError::BadValue},
                                            {1, 64, WireError::BadValue}}) {
    Bytes bad = good;
    bad[static_cast<std::size_t>(index)] = static_cast<std::byte>(value);
    EXPECT_EQ(BulkHeader::parse(bad).error(), error);
  }
  for (std::size_t size = 0; size < good.size(); ++size)
    EXPECT_FALSE(BulkHeader::parse(ByteView(good).first(size)));
}

TEST(BulkFrames, HaveTheseGoldenBytes) {
  EXPECT_EQ(to_hex(written([](FrameWriter& w) { w.ping(); })), "01");
  EXPECT_EQ(to_hex(written([](FrameWriter& w) { w.ack(small_ack()); })),
            "0203000000000109000005dc0000000000800000000000070000000202"
            "00000004"
            "0000000200000001");
  EXPECT_EQ(to_hex(written([](FrameWriter& w) {
              const ByteSpan data = w.data(0x1122, 3);
              std::copy_n(as_bytes("abc").begin(), 3, data.begin());
            })),
            "030000000000001122616263");
  EXPECT_EQ(to_hex(written([](FrameWriter& w) {
              w.fin({5, 0x0102030405060708});
            })),
            "0400000000000000050102030405060708");
  EXPECT_EQ(to_hex(written([](FrameWriter& w) { w.abort(3, "full"); })), "0500030466756c6c");
  EXPECT_EQ(to_hex(written([](FrameWriter& w) { w.complete({9}); })), "060000000000000009");
  EXPECT_EQ(to_hex(written([](FrameWriter& w) { w.complete_ack(); })), "07");
  EXPECT_EQ(to_hex(written([](FrameWriter& w) { w.padding(2); })), "0000");
}

TEST(BulkFrames, ComeBackAsTheyWereWritten) {
  const Bytes bytes = written([](FrameWriter& w) {
    w.ping();
    w.ack(small_ack());
    w.fin({5, 6});
    w.abort(1, "because");
    w.complete({7});
    w.complete_ack();
    w.data(10, 1)[0] = std::byte{9};
  });
  BulkFrameReader reader(bytes);
  EXPECT_EQ(reader.next(), FrameType::Ping);
  ASSERT_EQ(reader.next(), FrameType::Ack);
  const AckFrame expected = small_ack();
  EXPECT_EQ(reader.ack().path, expected.path);
  EXPECT_EQ(reader.ack().delay_us, expected.delay_us);
  EXPECT_EQ(reader.ack().receive_limit, expected.receive_limit);
  EXPECT_EQ(reader.ack().received, expected.received);
  EXPECT_EQ(reader.ack().duplicates, expected.duplicates);
  ASSERT_EQ(reader.ack().range_count, 2u);
  EXPECT_EQ(reader.ack().ranges[0], expected.ranges[0]);
  EXPECT_EQ(reader.ack().ranges[1], expected.ranges[1]);
  ASSERT_EQ(reader.next(), FrameType::Fin);
  EXPECT_EQ(reader.fin(), (FinFrame{5, 6}));
  ASSERT_EQ(reader.next(), FrameType::Abort);
  EXPECT_EQ(reader.abort().code, 1);
  EXPECT_EQ(reader.abort().reason, "because");
  ASSERT_EQ(reader.next(), FrameType::Complete);
  EXPECT_EQ(reader.complete().bytes, 7u);
  EXPECT_EQ(reader.next(), FrameType::CompleteAck);
  ASSERT_EQ(reader.next(), FrameType::Data);
  EXPECT_EQ(reader.data().offset, 10u);
  EXPECT_EQ(to_hex(reader.data().bytes), "09");
  EXPECT_FALSE(reader.next());
  EXPECT_FALSE(reader.error());
}

TEST(BulkFrames, AreErrorsAtEveryTruncation) {
  for (const Bytes& whole :
       {written([](FrameWriter& w) { w.ack(small_ack()); }), written([](FrameWriter& w) {
          w.fin({5, 6});
        }),
        written([](FrameWriter& w) { w.abort(1, "because"); }),
        written([](FrameWriter& w) { w.complete({7}); }), written([](FrameWriter& w) { w.data(10, 1); })}) {
    for (std::size_t size = 1; size < whole.size(); ++size) {
      BulkFrameReader reader(ByteView(whole).first(size));
      EXPECT_FALSE(reader.next()) << to_hex(whole) << " cut to " << size;
      EXPECT_TRUE(reader.error());
    }
  }
}

TEST(BulkFrames, RefuseImpossibleValues) {
  const Bytes good = written([](FrameWriter& w) { w.ack(small_ack()); });
  const auto refused = [](Bytes bytes, std::size_t at, std::uint8_t value) {
    bytes[at] = static_cast<std::byte>(value);
    BulkFrameReader reader(bytes);
    reader.next();
    return reader.error() == WireError::BadValue;
  };
  EXPECT_TRUE(refused(good, 1, 64));                                              // path
  EXPECT_TRUE(refused(good, 28, 0));                                              // no range
  EXPECT_TRUE(refused(good, 28, 65));                                             // too many
  EXPECT_TRUE(refused(good, 29, 1));                                              // first range below zero
  EXPECT_TRUE(refused(good, 33, 1));                                              // gap below zero
  EXPECT_TRUE(refused(good, 0, 8));                                               // unknown type
  EXPECT_TRUE(refused(written([](FrameWriter& w) { w.data(0, 1); }), 1, 0x40));   // offset 2^62
  EXPECT_TRUE(refused(written([](FrameWriter& w) { w.fin({0, 0}); }), 1, 0x40));  // size 2^62
  Bytes long_reason(4 + 201);
  long_reason[0] = std::byte{5};
  EXPECT_TRUE(refused(long_reason, 3, 201));
}

TEST(BulkFrames, AnAckWritesTheNewestRangesThatFit) {
  AckFrame ack = small_ack();
  ack.range_count = 0;
  for (std::uint64_t i = 0; i < AckFrame::kMaxRanges; ++i)
    ack.ranges[ack.range_count++] = {1000 - 4 * i, 1001 - 4 * i};
  Bytes out(AckFrame::kFixedSize + 8 * 10 + 7);
  FrameWriter writer(out);
  writer.ack(ack);
  EXPECT_EQ(writer.size(), AckFrame::kFixedSize + 8 * 10);
  BulkFrameReader reader(ByteView(out).first(writer.size()));
  ASSERT_EQ(reader.next(), FrameType::Ack);
  EXPECT_EQ(reader.ack().range_count, 11u);
  EXPECT_EQ(reader.ack().ranges[10], (PacketRange{960, 961}));
}

TEST(BulkFrames, ARangeOfMoreThanFourBillionPacketsIsCut) {
  AckFrame ack = small_ack();
  ack.ranges[0] = {10, 0x2'0000'0000};
  ack.ranges[1] = {1, 2};
  const Bytes bytes = written([&](FrameWriter& w) { w.ack(ack); });
  BulkFrameReader reader(bytes);
  ASSERT_EQ(reader.next(), FrameType::Ack);
  EXPECT_EQ(reader.ack().ranges[0], (PacketRange{0x2'0000'0000 - 0xffff'ffff, 0x2'0000'0000}));
}

}  // namespace
}  // namespace dh::wire
