#include "transfer/receiver_core.hh"

#include <gtest/gtest.h>

#include "base/overloaded.hh"
#include "transfer/limits.hh"
#include "transfer/sender_core.hh"

namespace dh::transfer {
namespace {

using Wish = Span::Wish;

// A directory with three files: 0 bytes, two blocks and a bit, ten bytes.
struct World {
  World(bool verify = false) {
    EXPECT_TRUE(manifest.add({.kind = EntryKind::Directory, .name = "d", .mode = 0755}));
    EXPECT_TRUE(manifest.add({.parent = 0, .name = "empty"}));
    EXPECT_TRUE(manifest.add({.parent = 0, .name = "long", .size = 2 * kBlockBytes + 5, .sparse = true}));
    EXPECT_TRUE(manifest.add({.parent = 0, .name = "short", .size = 10}));
    SenderCore::Options options;
    options.verify = verify;
    SenderCore sender(manifest, options);
    while (sender.poll_offer(stream)) {
    }
  }

  void block(std::uint32_t entry, std::uint32_t number, std::size_t size, bool damaged = false) {
    const Bytes data(size, std::byte{7});
    BlockDigest digest = block_digest(data);
    if (damaged) digest[0] ^= std::byte{1};
    BlockRecord{.entry = entry, .block = number, .digest = digest, .data = {}}.serialize_header(w, size);
    w.bytes(data);
  }
  void hole(std::uint32_t entry, std::uint32_t first, std::uint32_t count) {
    HoleRecord{entry, first, count}.serialize(w);
  }
  void end(std::uint32_t entry, std::uint64_t size) { FileEndRecord{entry, size, {}}.serialize(w); }
  void over(std::uint32_t failed = 0) { EndRecord{failed}.serialize(w); }

  // What the receiver does about it, as words; ends with the fault's number if there is one.
  std::string receive(const Answer& answer) {
    ReceiverCore core;
    std::string out;
    ByteView rest = stream;
    while (!rest.empty()) {
      const auto step = core.on_bytes(rest);
      if (!step) {
        fault = step.error().fault;
        return out + "refused";
      }
      rest = rest.subspan(step->consumed);
      if (step->started) out += fmt("start {}@{} ", step->started->entry, step->started->first);
      if (!step->event) continue;
      std::visit(Overloaded{
                     [&](const Offered&) { core.answer(answer); },
                     [&](const BlockArrived& b) { out += fmt("block {}@{} ", b.entry, b.block); },
                     [&](const HoleArrived& h) { out += fmt("hole {}@{} ", h.entry, h.first); },
                     [&](const FileArrived& f) { out += fmt("file {} ", f.entry, 0); },
                     [&](const EntryFailed& f) { out += fmt("failed {} ", f.entry, 0); },
                     [&](const AllArrived&) { out += "over"; },
                 },
                 *step->event);
    }
    if (!core.on_end()) out += "unfinished";
    return out;
  }
  static std::string fmt(std::string text, std::uint32_t a, std::uint32_t b) {
    text.replace(text.find("{}"), 2, std::to_string(a));
    if (const auto at = text.find("{}"); at != std::string::npos) text.replace(at, 2, std::to_string(b));
    return text;
  }
  static Answer all() { return {.nonce = {}, .spans = {{.wish = Wish::Whole, .first = 0, .count = 4}}}; }
  static Answer resume() {
    return {.nonce = {},
            .spans = {{.wish = Wish::Have, .first = 0, .count = 2},
                      {.wish = Wish::Resume, .first = 2, .count = 1, .blocks = 1},
                      {.wish = Wish::Skip, .first = 3, .count = 1}}};
  }
  Fault refused(const Answer& answer = all()) {
    EXPECT_TRUE(receive(answer).ends_with("refused"));
    return fault;
  }

  Manifest manifest;
  Bytes stream;
  Writer w{stream};
  Fault fault{};
};

TEST(ReceiverCore, TakesAWholeTransfer) {
  World w;
  w.end(1, 0);
  w.block(2, 0, kBlockBytes);
  w.hole(2, 1, 1);
  w.block(2, 2, 5);
  w.end(2, 2 * kBlockBytes + 5);
  w.block(3, 0, 10);
  w.end(3, 10);
  w.over();
  EXPECT_EQ(w.receive(World::all()),
            "start 1@0 file 1 start 2@0 block 2@0 hole 2@1 block 2@2 file 2 start 3@0 block 3@0 file 3 over");
}

TEST(ReceiverCore, GoesOnWhereAFileStopped) {
  World w;
  w.end(1, 0);
  w.hole(2, 1, 2);
  w.end(2, 2 * kBlockBytes + 5);
  w.over();
  EXPECT_EQ(w.receive(World::resume()), "file 1 start 2@1 hole 2@1 file 2 over");
}

TEST(ReceiverCore, ASenderWhoseFileIsAnotherStartsItAnew) {
  World w;
  w.end(1, 0);
  w.hole(2, 0, 3);
  w.end(2, 2 * kBlockBytes + 5);
  w.over();
  EXPECT_EQ(w.receive(World::resume()), "file 1 start 2@0 hole 2@0 file 2 over");
}

TEST(ReceiverCore, AFailedFileIsGivenUpInTheMiddle) {
  World w;
  w.end(1, 0);
  w.block(2, 0, kBlockBytes);
  FailedRecord{2, FailReason::Changed, "x"}.serialize(w.w);
  FailedRecord{3, FailReason::Unreadable, "y"}.serialize(w.w);
  w.over(2);
  EXPECT_EQ(w.receive(World::all()), "start 1@0 file 1 start 2@0 block 2@0 failed 2 failed 3 over");
}

TEST(ReceiverCore, NothingMayBeMissing) {
  World a;
  a.block(2, 0, kBlockBytes);  // 1 was skipped over
  EXPECT_EQ(a.refused(), Fault::MissingFile);
  World b;
  b.over();
  EXPECT_EQ(b.refused(), Fault::MissingFile);
  World c;
  c.end(1, 0);
  c.block(2, 0, kBlockBytes);
  c.block(3, 0, 10);  // 2 is not finished
  EXPECT_EQ(c.refused(), Fault::MissingFile);
  World d;
  d.end(1, 0);
  d.block(2, 0, kBlockBytes);
  d.over();
  EXPECT_EQ(d.refused(), Fault::MissingFile);
  World e;
  e.end(1, 0);
  EXPECT_EQ(e.receive(World::all()), "start 1@0 file 1 unfinished");
}

TEST(ReceiverCore, NothingComesThatWasNotAsked) {
  World directory;
  directory.end(0, 0);
  EXPECT_EQ(directory.refused(), Fault::NotAsked);
  World unknown;
  unknown.end(4, 0);
  EXPECT_EQ(unknown.refused(), Fault::NotAsked);
  World twice;
  twice.end(1, 0);
  twice.end(1, 0);
  EXPECT_EQ(twice.refused(), Fault::NotAsked);
  World skipped;
  skipped.end(1, 0);
  skipped.hole(2, 1, 2);
  skipped.end(2, 2 * kBlockBytes + 5);
  skipped.block(3, 0, 10);
  EXPECT_EQ(skipped.refused(World::resume()), Fault::NotAsked);
  World late;
  late.end(1, 0);
  late.hole(2, 1, 2);
  late.end(2, 2 * kBlockBytes + 5);
  late.over();
  late.over();
  EXPECT_EQ(late.refused(World::resume()), Fault::WrongOrder);
}

TEST(ReceiverCore, BlocksComeInOrderAndFit) {
  const auto after_empty = [](auto act) {
    World w;
    w.end(1, 0);
    act(w);
    return w.refused();
  };
  EXPECT_EQ(after_empty([](World& w) { w.block(2, 1, kBlockBytes); }), Fault::BlockOrder);
  EXPECT_EQ(after_empty([](World& w) { w.block(2, 0, 5); }), Fault::BlockSize);
  EXPECT_EQ(after_empty([](World& w) { w.hole(2, 0, 4); }), Fault::BlockSize);
  EXPECT_EQ(after_empty([](World& w) { w.hole(2, 0, 0xffffffff); }), Fault::BlockSize);
  EXPECT_EQ(after_empty([](World& w) {
              w.hole(2, 0, 3);
              w.block(2, 3, 5);
            }),
            Fault::BlockSize);
  EXPECT_EQ(after_empty([](World& w) {
              w.block(2, 0, kBlockBytes);
              w.block(2, 0, kBlockBytes);
            }),
            Fault::BlockOrder);
  EXPECT_EQ(after_empty([](World& w) { w.block(2, 0, kBlockBytes, true); }), Fault::DamagedBlock);
  EXPECT_EQ(after_empty([](World& w) {
              w.block(2, 0, kBlockBytes);
              w.end(2, 2 * kBlockBytes + 5);
            }),
            Fault::FileSize);
  EXPECT_EQ(after_empty([](World& w) {
              w.hole(2, 0, 3);
              w.end(2, 2 * kBlockBytes + 6);
            }),
            Fault::FileSize);
  EXPECT_EQ(after_empty([](World& w) {
              w.hole(2, 0, 3);
              w.end(2, 2 * kBlockBytes + 5);
              w.hole(3, 0, 1);  // not announced as sparse
            }),
            Fault::BlockSize);
}

TEST(ReceiverCore, VerifyMeansADigestForEveryFile) {
  World w(true);
  w.end(1, 0);
  EXPECT_EQ(w.refused(), Fault::DamagedFile);
}

TEST(ReceiverCore, TheTotalsAreACap) {
  Bytes stream;
  Writer w(stream);
  HelloRecord{.verify = false, .nonce = {}, .entries = 1, .bytes = 5}.serialize(w);
  Manifest two;
  ASSERT_TRUE(two.add({.name = "a", .size = 3}));
  ASSERT_TRUE(two.add({.name = "b", .size = 1}));
  Bytes part;
  two.serialize(0, 1000, part);
  serialize_manifest_header(w, part.size());
  w.bytes(part);
  ReceiverCore core;
  EXPECT_EQ(core.on_bytes(stream).error().fault, Fault::WrongTotals);
}

TEST(ReceiverCore, RecordsBelongIntoTheirPhase) {
  World w;
  ReceiverCore core;
  Bytes stream;
  Writer early(stream);
  EndRecord{}.serialize(early);
  EXPECT_EQ(core.on_bytes(stream).error().fault, Fault::WrongOrder);
  Bytes nothing;
  Writer empty(nothing);
  HelloRecord{}.serialize(empty);
  serialize_manifest_end(empty);
  ReceiverCore second;
  EXPECT_EQ(second.on_bytes(nothing).error().fault, Fault::EmptyManifest);
}

}  // namespace
}  // namespace dh::transfer
