// Senders that break one rule each, received into a tree with canaries around it by the real receiver with
// real files.

#include <iostream>
#include <set>
#include <thread>

#include <fcntl.h>

#include "base/printable.hh"
#include "transfer/limits.hh"
#include "transfer/varint.hh"
#include "transfer_world.hh"

namespace dh::io {
namespace {

namespace fs = std::filesystem;
using transfer::kBlockBytes;
using Kind = ReceiveProblem::Kind;
using namespace std::string_view_literals;

struct RawEntry {
  std::uint8_t kind = 2;
  std::uint64_t back = 0;
  std::string_view name = "f";
  std::uint64_t size = 0;
  std::uint16_t mode = 0644;
  std::string_view target = {};
};

// A stream put together by hand: nothing of ours checks it on the way out.
struct Hostile {
  Bytes stream;
  Writer w{stream};
  Bytes names;
  std::uint32_t entries = 0;
  std::uint64_t bytes = 0;

  void record(std::uint8_t type, ByteView payload) {
    w.u8(type);
    w.u32(static_cast<std::uint32_t>(payload.size()));
    w.bytes(payload);
  }
  Hostile& add(const RawEntry& e) {
    Writer n(names);
    n.u8(e.kind);
    transfer::put_varint(n, e.back);
    n.u16(e.mode);
    n.u64(1'000'000'000);
    const std::uint8_t kind = e.kind & 7;
    if (kind == 2 || kind == 4) transfer::put_varint(n, e.size);
    n.u8(static_cast<std::uint8_t>(e.name.size()));
    n.text(e.name);
    if (kind == 3) {
      n.u16(static_cast<std::uint16_t>(e.target.size()));
      n.text(e.target);
    }
    ++entries;
    bytes += kind == 2 || kind == 4 ? e.size : 0;
    return *this;
  }
  Hostile& directory(std::string_view name = "d", std::uint64_t back = 0) {
    return add({.kind = 1, .back = back, .name = name, .mode = 0755});
  }
  Hostile& file(std::string_view name, std::uint64_t size = 0, std::uint64_t back = 0) {
    return add({.back = back, .name = name, .size = size});
  }
  Hostile& link(std::string_view target, std::uint64_t back = 1, std::string_view name = "l") {
    return add({.kind = 3, .back = back, .name = name, .mode = 0, .target = target});
  }
  Hostile& hello() {
    transfer::HelloRecord{.verify = false, .nonce = {}, .entries = entries, .bytes = bytes}.serialize(w);
    return *this;
  }
  Hostile& offer() {
    hello();
    for (ByteView rest = names; !rest.empty();) {
      const ByteView part = rest.first(std::min(rest.size(), transfer::kManifestPartBytes));
      record(2, part);
      rest = rest.subspan(part.size());
    }
    record(3, {});
    return *this;
  }
  Hostile& block(std::uint32_t entry, std::uint32_t number, std::size_t size, bool damaged = false) {
    const Bytes data(size, std::byte{0x41});
    transfer::BlockDigest digest = transfer::block_digest(data);
    if (damaged) digest[3] ^= std::byte{1};
    transfer::BlockRecord{.entry = entry, .block = number, .digest = digest, .data = {}}.serialize_header(
        w, size);
    w.bytes(data);
    return *this;
  }
  Hostile& hole(std::uint32_t entry, std::uint32_t first, std::uint32_t count) {
    transfer::HoleRecord{entry, first, count}.serialize(w);
    return *this;
  }
  Hostile& end(std::uint32_t entry, std::uint64_t size) {
    transfer::FileEndRecord{entry, size, {}}.serialize(w);
    return *this;
  }
  Hostile& over(std::uint32_t failed = 0) {
    transfer::EndRecord{failed}.serialize(w);
    return *this;
  }
  Hostile& raw(std::string_view hex) {
    w.bytes(*from_hex(hex));
    return *this;
  }
};

struct Case {
  std::string_view what;
  std::function<void(Hostile&)> make;
  Kind kind;
  std::string_view words;  // part of the sentence
};

// clang-format off: one case a line
const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      // Names.
      {"parent as name", [](Hostile& h) { h.file("..").offer(); }, Kind::Unsafe, "is . or .."},
      {"dot as name", [](Hostile& h) { h.file(".").offer(); }, Kind::Unsafe, "is . or .."},
      {"parent as directory", [](Hostile& h) { h.directory("..").file("x", 0, 1).offer(); }, Kind::Unsafe,
       "is . or .."},
      {"empty name", [](Hostile& h) { h.file("").offer(); }, Kind::Unsafe, "is empty"},
      {"absolute name", [](Hostile& h) { h.file("/etc/cron.d/x").offer(); }, Kind::Unsafe, "a slash"},
      {"traversal in one name", [](Hostile& h) { h.file("../canary").offer(); }, Kind::Unsafe, "a slash"},
      {"slash at the end", [](Hostile& h) { h.directory("d/").offer(); }, Kind::Unsafe, "a slash"},
      {"hidden slash", [](Hostile& h) { h.file("a/../../canary").offer(); }, Kind::Unsafe, "a slash"},
      {"NUL in a name", [](Hostile& h) { h.file("x\0.txt"sv).offer(); }, Kind::Unsafe, "NUL"},
      {"NUL alone", [](Hostile& h) { h.file("\0"sv).offer(); }, Kind::Unsafe, "NUL"},
      {"hidden at the top", [](Hostile& h) { h.file(".bashrc").offer(); }, Kind::Unsafe, "hidden name"},
      {"ssh keys", [](Hostile& h) { h.directory(".ssh").file("authorized_keys", 3, 1).offer(); },
       Kind::Unsafe, "hidden name"},
      {"staging name", [](Hostile& h) { h.directory(".derphole-part-000000000000").offer(); }, Kind::Unsafe,
       "hidden name"},
      {"same file twice", [](Hostile& h) { h.file("f").file("f").offer(); }, Kind::Unsafe, "occurs twice"},
      {"same name deep down",
       [](Hostile& h) { h.directory().file("f", 0, 1).file("g", 0, 2).file("f", 0, 3).offer(); },
       Kind::Unsafe, "occurs twice"},
      {"same directory twice", [](Hostile& h) { h.directory().directory().offer(); }, Kind::Unsafe,
       "occurs twice"},
      {"file and directory", [](Hostile& h) { h.directory("x").file("x").offer(); }, Kind::Unsafe,
       "a directory and something else"},
      {"link and directory", [](Hostile& h) { h.directory().directory("x", 1).link("y", 2, "x").offer(); },
       Kind::Unsafe, "a directory and something else"},
      {"link and file", [](Hostile& h) { h.directory().link("y", 1, "x").file("x", 0, 2).offer(); },
       Kind::Unsafe, "occurs twice"},
      {"composed and not", [](Hostile& h) { h.file("\xc3\xa9").file("e\xcc\x81").offer(); }, Kind::Unsafe,
       "look the same"},
      {"zero width twin", [](Hostile& h) { h.file("paypal").file("pay\xe2\x80\x8bpal").offer(); },
       Kind::Unsafe, "look the same"},
      {"soft hyphen twin",
       [](Hostile& h) {
         h.file("key")
             .file(
                 "k\xc2\xad"
                 "ey")
             .offer();
       },
       Kind::Unsafe, "look the same"},
      {"Kelvin twin", [](Hostile& h) { h.file("\xe2\x84\xab").file("\xc3\x85").offer(); }, Kind::Unsafe,
       "look the same"},
      {"escape in a bad name", [](Hostile& h) { h.file("\x1b]0;owned\x07/").offer(); }, Kind::Unsafe,
       "\\x1b]0;owned\\x07/"},
      {"too deep",
       [](Hostile& h) {
         h.directory();
         for (int i = 0; i < 64; ++i) h.directory("d", 1);
         h.offer();
       },
       Kind::Unsafe, "64 components"},
      // Links.
      {"absolute link", [](Hostile& h) { h.directory().link("/etc/passwd").offer(); }, Kind::Unsafe,
       "absolute target"},
      {"link to above", [](Hostile& h) { h.directory().link("../canary").offer(); }, Kind::Unsafe, "outside"},
      {"link to above, dressed", [](Hostile& h) { h.directory().link("./.././canary").offer(); },
       Kind::Unsafe, "outside"},
      {"link up, down, up", [](Hostile& h) { h.directory().link("x/../../canary").offer(); }, Kind::Unsafe,
       "outside"},
      {"link that is .. behind a link",
       [](Hostile& h) {
         h.directory().directory("e", 1).link("..", 1, "up").link("e/up/../..", 3, "out").offer();
       },
       Kind::Unsafe, "outside"},
      {"deep link out", [](Hostile& h) { h.directory().directory("e", 1).link("../../canary", 1).offer(); },
       Kind::Unsafe, "outside"},
      {"link at the top", [](Hostile& h) { h.link("canary", 0).offer(); }, Kind::Unsafe, "outside"},
      {"link without target", [](Hostile& h) { h.directory().link("").offer(); }, Kind::Unsafe, "no target"},
      {"link with NUL", [](Hostile& h) { h.directory().link("a\0b"sv).offer(); }, Kind::Unsafe, "NUL"},
      {"link too long",
       [](Hostile& h) {
         static const std::string kLong(4096, 'x');
         h.directory().link(kLong).offer();
       },
       Kind::Unsafe, "4095"},
      {"file through a link", [](Hostile& h) { h.directory().link("e").file("x", 0, 1).offer(); },
       Kind::Protocol, "not a directory listed before"},
      // The list.
      {"parent that is a file", [](Hostile& h) { h.file("f").file("g", 0, 1).offer(); }, Kind::Protocol,
       "not a directory listed before"},
      {"parent that comes later", [](Hostile& h) { h.file("f", 0, 9).offer(); }, Kind::Protocol,
       "not a directory listed before"},
      {"device", [](Hostile& h) { h.add({.kind = 5}).offer(); }, Kind::Unsafe, "neither file"},
      {"FIFO", [](Hostile& h) { h.add({.kind = 6}).offer(); }, Kind::Unsafe, "neither file"},
      {"kind zero", [](Hostile& h) { h.add({.kind = 0}).offer(); }, Kind::Unsafe, "neither file"},
      {"unknown flag", [](Hostile& h) { h.add({.kind = 0x12}).offer(); }, Kind::Protocol, "malformed record"},
      {"setuid", [](Hostile& h) { h.add({.mode = 04755}).offer(); }, Kind::Unsafe, "permission bits"},
      {"setgid directory", [](Hostile& h) { h.add({.kind = 1, .mode = 02755}).offer(); }, Kind::Unsafe,
       "permission bits"},
      {"file type in the mode", [](Hostile& h) { h.add({.mode = 0060000 & 0xffff}).offer(); }, Kind::Unsafe,
       "permission bits"},
      {"size bomb", [](Hostile& h) { h.file("f", UINT64_MAX / 2).offer(); }, Kind::Unsafe, "larger than any"},
      {"sizes that add up to nothing",
       [](Hostile& h) {
         for (int i = 0; i < 70; ++i) h.file("f", transfer::kMaxFileBytes);
         h.offer();
       },
       Kind::Unsafe, "larger than any"},
      {"more than the disk", [](Hostile& h) { h.file("f", transfer::kMaxFileBytes).offer(); }, Kind::Local,
       "not enough space"},
      {"too many entries",
       [](Hostile& h) {
         h.entries = transfer::kMaxEntries + 1;
         h.hello();
       },
       Kind::Unsafe, "4 million"},
      {"more entries than said",
       [](Hostile& h) {
         h.file("f").file("g");
         h.entries = 1;
         h.offer();
       },
       Kind::Protocol, "announced totals"},
      {"fewer entries than said",
       [](Hostile& h) {
         h.file("f");
         h.entries = 2;
         h.offer();
       },
       Kind::Protocol, "announced totals"},
      {"more bytes than said",
       [](Hostile& h) {
         h.file("f", 10);
         h.bytes = 9;
         h.offer();
       },
       Kind::Protocol, "announced totals"},
      {"nothing", [](Hostile& h) { h.offer(); }, Kind::Protocol, "empty"},
      {"text with files", [](Hostile& h) { h.add({.kind = 4, .name = "t", .size = 1}).file("f").offer(); },
       Kind::Protocol, "together with files"},
      {"text too large", [](Hostile& h) { h.add({.kind = 4, .name = "t", .size = 20 << 20}).offer(); },
       Kind::Unsafe, "16 MiB"},
      {"text in a directory",
       [](Hostile& h) { h.directory().add({.kind = 4, .back = 1, .name = "t"}).offer(); }, Kind::Protocol,
       "not a directory listed before"},
      {"an entry cut short",
       [](Hostile& h) {
         h.file("f");
         h.names.pop_back();
         h.offer();
       },
       Kind::Protocol, "malformed record"},
      {"a varint without end",
       [](Hostile& h) {
         h.entries = 1;
         h.hello().raw("020000000c02ffffffffffffffffffffff");
       },
       Kind::Protocol, "malformed record"},
      // The format.
      {"not a transfer", [](Hostile& h) { h.raw("010000000a476574202f2048545450"); }, Kind::Protocol,
       "not a transfer"},
      {"another version", [](Hostile& h) { h.raw("010000000a64657270686f6c650200"); }, Kind::Protocol,
       "newer version"},
      {"unknown flags", [](Hostile& h) { h.raw("010000000a64657270686f6c650180"); }, Kind::Protocol,
       "newer version"},
      {"unknown record", [](Hostile& h) { h.raw("2a00000000"); }, Kind::Protocol, "unknown type"},
      {"endless record", [](Hostile& h) { h.raw("02ffffffff"); }, Kind::Protocol, "longer than its type"},
      {"hello twice", [](Hostile& h) { h.file("f").hello().hello(); }, Kind::Protocol, "does not belong"},
      {"content first", [](Hostile& h) { h.end(0, 0); }, Kind::Protocol, "does not belong"},
      {"names after content", [](Hostile& h) { h.file("f").offer().record(2, h.names); }, Kind::Protocol,
       "does not belong"},
      {"stream ends in the names", [](Hostile& h) { h.file("f").hello(); }, Kind::Protocol,
       "does not belong"},
      {"stream ends in a record", [](Hostile& h) { h.file("f").offer().raw("06000000"); }, Kind::Protocol,
       "does not belong"},
      {"stream ends too early", [](Hostile& h) { h.file("f").offer().end(0, 0); }, Kind::Protocol,
       "does not belong"},
      {"more behind the end", [](Hostile& h) { h.file("f").offer().end(0, 0).over().over(); }, Kind::Protocol,
       "does not belong"},
      // Content.
      {"content for a directory", [](Hostile& h) { h.directory().offer().block(0, 0, 4); }, Kind::Protocol,
       "not asked for"},
      {"content for a link", [](Hostile& h) { h.directory().link("x").offer().end(1, 0); }, Kind::Protocol,
       "not asked for"},
      {"content for nobody", [](Hostile& h) { h.file("f", 4).offer().block(77, 0, 4); }, Kind::Protocol,
       "not asked for"},
      {"a file twice", [](Hostile& h) { h.file("f", 4).offer().block(0, 0, 4).end(0, 4).block(0, 0, 4); },
       Kind::Protocol, "not asked for"},
      {"longer than announced", [](Hostile& h) { h.file("f", 4).offer().block(0, 0, 5); }, Kind::Protocol,
       "wrong size"},
      {"endless file", [](Hostile& h) { h.file("f", 4).offer().block(0, 0, 4).block(0, 1, kBlockBytes); },
       Kind::Protocol, "wrong size"},
      {"shorter than announced", [](Hostile& h) { h.file("f", 4).offer().block(0, 0, 3); }, Kind::Protocol,
       "wrong size"},
      {"empty instead", [](Hostile& h) { h.file("f", 4).offer().end(0, 4); }, Kind::Protocol,
       "announced size"},
      {"another size at the end", [](Hostile& h) { h.file("f", 4).offer().block(0, 0, 4).end(0, 5); },
       Kind::Protocol, "announced size"},
      {"starts in the middle",
       [](Hostile& h) { h.file("f", 3 * kBlockBytes).offer().block(0, 2, kBlockBytes); }, Kind::Protocol,
       "out of order"},
      {"goes back",
       [](Hostile& h) {
         h.file("f", 3 * kBlockBytes).offer().block(0, 0, kBlockBytes).block(0, 0, kBlockBytes);
       },
       Kind::Protocol, "out of order"},
      {"damaged block", [](Hostile& h) { h.file("f", 4).offer().block(0, 0, 4, true); }, Kind::Integrity,
       "damaged"},
      {"hole in a file without", [](Hostile& h) { h.file("f", 4).offer().hole(0, 0, 1); }, Kind::Protocol,
       "wrong size"},
      {"hole bomb", [](Hostile& h) { h.add({.kind = 0x0a, .size = 4}).offer().hole(0, 0, UINT32_MAX); },
       Kind::Protocol, "wrong size"},
      {"a file is missing", [](Hostile& h) { h.file("f", 4).file("g", 4).offer().block(1, 0, 4); },
       Kind::Protocol, "never came"},
      {"a file is not finished", [](Hostile& h) { h.file("f", 4).offer().block(0, 0, 4).over(); },
       Kind::Protocol, "never came"},
      {"nothing comes at all", [](Hostile& h) { h.file("f", 4).offer().over(); }, Kind::Protocol,
       "never came"},
      {"failures that were none", [](Hostile& h) { h.file("f").offer().end(0, 0).over(3); }, Kind::Protocol,
       "announced totals"},
      {"digest nobody asked for",
       [](Hostile& h) {
         h.file("f").offer();
         transfer::FileEndRecord{0, 0, ByteArray<32>{}}.serialize(h.w);
         h.over();
       },
       Kind::Integrity, "digest"},
  };
  return all;
}

// clang-format on

// ext4 makes sparse files up to 16 TiB: nothing here is written that far.
struct HostileTransfer : testing::Test {
  HostileTransfer() {
    fs::create_directories(scratch / "to/photos");
    write_file(scratch / "canary", "sings");
    write_file(scratch / "to/photos/canary", "sings too");
    write_file(scratch / "to/notes.txt", "mine");
    fs::create_symlink("../canary", scratch / "to/link out");
    hooks.where.directory = scratch / "to";
    hooks.conflict = Conflict::Overwrite;  // even then
    before = snapshot(scratch.path());
  }
  ReceiveReport receive(const Hostile& hostile) {
    TransferWorld world;
    auto receiving = world.receiving(hooks);
    world.feed(hostile.stream, receiving);
    return receiving->report();
  }

  ScratchDirectory scratch;
  FixedHooks hooks;
  std::map<std::string, std::string> before;
};

TEST_F(HostileTransfer, EveryOneIsRefusedWithItsOwnWordsAndChangesNothing) {
  EXPECT_GE(cases().size(), 60u);
  for (const Case& one : cases()) {
    Hostile hostile;
    one.make(hostile);
    const ReceiveReport report = receive(hostile);
    ASSERT_TRUE(report.problem) << one.what;
    EXPECT_FALSE(report.in_place) << one.what;
    EXPECT_EQ(report.problem->kind, one.kind) << one.what << ": " << report.problem->sentence;
    EXPECT_NE(report.problem->sentence.find(one.words), std::string::npos)
        << one.what << ": " << report.problem->sentence;
    EXPECT_EQ(report.problem->sentence, printable(report.problem->sentence, 10'000)) << one.what;
    ASSERT_EQ(snapshot(scratch.path(), true, false), before) << one.what;
  }
}

TEST_F(HostileTransfer, WhatIsRefusedByItsListLeavesNoTraceAtAll) {
  for (const Case& one : cases()) {
    if (one.kind != Kind::Unsafe) continue;
    Hostile hostile;
    one.make(hostile);
    receive(hostile);
    EXPECT_EQ(snapshot(scratch.path()), before) << one.what;
  }
}

TEST_F(HostileTransfer, AGoodStreamOfTheSameMakeIsTaken) {
  Hostile good;
  good.directory("new").file("f", 4, 1).link("f", 2).offer().block(1, 0, 4).end(1, 4).over();
  EXPECT_TRUE(receive(good).in_place);
  EXPECT_EQ(read_file(scratch / "to/new/f"), "AAAA");
  EXPECT_EQ(fs::read_symlink(scratch / "to/new/l"), "f");
}

TEST_F(HostileTransfer, LinksThatAreHereAreNeverWrittenThrough) {
  Hostile file;
  file.file("link out", 4).offer().block(0, 0, 4).end(0, 4).over();
  EXPECT_TRUE(receive(file).in_place);  // the link itself was replaced
  EXPECT_EQ(read_file(scratch / "canary"), "sings");
  EXPECT_FALSE(fs::is_symlink(scratch / "to/link out"));
}

TEST_F(HostileTransfer, AFileWhereADirectoryIsChangesNothing) {
  Hostile hostile;
  hostile.file("photos", 4).offer().block(0, 0, 4).end(0, 4).over();
  EXPECT_EQ(receive(hostile).problem->kind, Kind::Local);
  EXPECT_EQ(snapshot(scratch.path()), before);
}

TEST_F(HostileTransfer, CutAnywhereItChangesNothing) {
  Hostile good;
  good.directory("new").file("f", 4, 1).offer().block(1, 0, 4).end(1, 4).over();
  for (std::size_t size = 0; size < good.stream.size(); ++size) {
    Hostile cut;
    cut.stream.assign(good.stream.begin(), good.stream.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_TRUE(receive(cut).problem) << size;
    ASSERT_EQ(snapshot(scratch.path(), true, false), before) << size;
  }
}

// Somebody with write access to the destination who exchanges `directory` and a link that leads outside, back
// and forth, as fast as the kernel can.
class Swapper {
public:
  Swapper(const std::string& above, const std::string& directory, const std::string& link)
      : above_(::open(above.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)), thread_([=, this] {
          while (!stop_.load(std::memory_order_relaxed) && exchange(directory, link))
            swaps_.fetch_add(1, std::memory_order_relaxed);
        }) {}
  ~Swapper() {
    stop_ = true;
    thread_.join();
  }
  std::uint64_t swaps() const { return swaps_; }

private:
  bool exchange(const std::string& one, const std::string& other) const {
    return ::renameat2(above_.get(), one.c_str(), above_.get(), other.c_str(), RENAME_EXCHANGE) == 0;
  }
  Fd above_;
  std::atomic<bool> stop_ = false;
  std::atomic<std::uint64_t> swaps_ = 0;
  std::thread thread_;
};

TEST_F(HostileTransfer, AMillionSwapsOfDirectoriesForLinksGetNothingOutside) {
  constexpr std::uint64_t kSwaps = 1'000'000;
  constexpr auto kPatience = std::chrono::seconds(20);  // a machine that is slower tries fewer
  fs::create_directories(scratch / "outside/inner");
  write_file(scratch / "outside/f0", "theirs");
  write_file(scratch / "outside/inner/f2", "theirs, too");
  const auto outside = snapshot(scratch / "outside");
  fs::create_directories(scratch / "to/race/inner");
  fs::create_symlink("../outside", scratch / "to/link");
  fs::create_symlink("../../outside/inner", scratch / "to/race/link");

  Hostile good;
  good.directory("race").directory("inner", 1);
  good.file("f0", 4, 2).file("f1", 4, 3).file("f2", 4, 3).file("f3", 4, 4).directory("new", 6).offer();
  for (const std::uint32_t entry : {2u, 3u, 4u, 5u}) good.block(entry, 0, 4).end(entry, 4);
  good.over();

  EXPECT_TRUE(receive(good).in_place);  // as long as nobody swaps
  EXPECT_EQ(read_file(scratch / "to/race/inner/f2"), "AAAA");
  for (const std::string name : {"f0", "f1", "inner/f2", "inner/f3", "new"})
    EXPECT_TRUE(fs::remove(scratch / ("to/race/" + name))) << name;

  Swapper inside(scratch / "to/race", "inner", "link");  // opens that: `top` must not have begun
  Swapper top(scratch / "to", "race", "link");
  const auto begin = std::chrono::steady_clock::now();
  std::uint64_t transfers = 0, in_place = 0;
  while (top.swaps() + inside.swaps() < kSwaps && std::chrono::steady_clock::now() - begin < kPatience) {
    TransferWorld world;
    auto receiving = world.receiving(hooks);
    world.feed(good.stream, receiving);
    in_place += receiving->report().in_place;
    receiving->forget();  // the next one starts anew
    ++transfers;
    ASSERT_EQ(snapshot(scratch / "outside"), outside) << "after " << transfers << " transfers";
  }
  EXPECT_GT(top.swaps(), 0u);
  EXPECT_GT(inside.swaps(), 0u);
  std::cout << top.swaps() << " + " << inside.swaps() << " swaps during " << transfers
            << " transfers, of which " << in_place << " found a way in between\n";
}

}  // namespace
}  // namespace dh::io
