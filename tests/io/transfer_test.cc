// Real files from end to end through the two threads of a transfer; only the session between them is missing.

#include <algorithm>

#include <fcntl.h>

#include "io/tree_placer.hh"
#include "transfer/limits.hh"
#include "transfer_world.hh"

namespace dh::io {
namespace {

namespace fs = std::filesystem;
using transfer::kBlockBytes;

TEST_F(TransferTest, ATreeArrivesAsItIs) {
  fs::create_directories(from("tree/a/b/c"));
  fs::create_directories(from("tree/empty"));
  write_file(from("tree/empty file"), "");
  write_file(from("tree/a/one"), pattern(1));
  write_file(from("tree/a/b/block"), pattern(kBlockBytes));
  write_file(from("tree/a/b/c/more"), pattern(3 * kBlockBytes + 17));
  write_file(from("tree/name with \x1b[31m escape\nand newline"), "x");
  write_file(from("tree/not utf-8 \xff\xfe"), "y");
  write_file(from("tree/.hidden"), "z");
  fs::create_symlink("a/one", from("tree/link"));
  fs::create_symlink("../../tree", from("tree/a/outside"));  // leaves what is sent
  fs::create_symlink("../a/b", from("tree/a/up"));
  ::chmod(from("tree/a/one").c_str(), 0751);
  ::chmod(from("tree/empty file").c_str(), 0400);
  ::chmod(from("tree/empty").c_str(), 0500);
  const timespec times[2] = {{.tv_sec = 1, .tv_nsec = 2}, {.tv_sec = 1'000'000'000, .tv_nsec = 123'456'789}};
  ::utimensat(AT_FDCWD, from("tree/a/one").c_str(), times, 0);
  ::utimensat(AT_FDCWD, from("tree/empty").c_str(), times, 0);
  ::umask(0);
  const ReceiveReport report = transfer_paths({from("tree")}, hooks);
  ::umask(022);
  ASSERT_FALSE(report.problem) << report.problem->sentence;
  ASSERT_EQ(report.outcome.placed, std::vector{fs::canonical(scratch / "to").string() + "/tree"});
  fs::remove(from("tree/a/outside"));
  expect_equal_trees("tree");
  struct stat info {};
  ASSERT_EQ(::stat(to("tree/empty").c_str(), &info), 0);
  EXPECT_EQ(to_ns(info.st_mtim), 1'000'000'000'123'456'789);
  EXPECT_FALSE(has_leftovers());
}

TEST_F(TransferTest, TheUmaskOfTheReceiverHolds) {
  write_file(from("f"), "x");
  ::chmod(from("f").c_str(), 0777);
  ::umask(027);
  EXPECT_TRUE(transfer_paths({from("f")}, hooks).in_place);
  ::umask(022);
  struct stat info {};
  ASSERT_EQ(::stat(to("f").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0750u);
}

TEST_F(TransferTest, ATextIsShown) {
  auto sending = std::make_shared<Sending>(pattern(2 * kBlockBytes + 3), SendingOptions{});
  TransferWorld world;
  auto receiving = world.receiving(hooks);
  world.run(sending, receiving);
  EXPECT_TRUE(world.is_complete);
  EXPECT_EQ(hooks.text, pattern(2 * kBlockBytes + 3));
  EXPECT_TRUE(fs::is_empty(scratch / "to"));
}

TEST_F(TransferTest, HolesStayHoles) {
  write_file(from("sparse"), "");
  const int fd = ::open(from("sparse").c_str(), O_WRONLY);
  constexpr off_t kSize = 24 << 20;
  ASSERT_EQ(::ftruncate(fd, kSize), 0);
  ASSERT_EQ(::pwrite(fd, "middle", 6, 9 << 20), 6);
  ASSERT_EQ(::pwrite(fd, "page", 4, (9 << 20) + 200'000), 4);
  ::close(fd);
  TransferWorld world;
  const ReceiveReport report = transfer_paths({from("sparse")}, hooks, world);
  ASSERT_TRUE(report.in_place);
  EXPECT_LT(world.moved, 2u << 20);
  struct stat source {
  }, copy{};
  ASSERT_EQ(::stat(from("sparse").c_str(), &source), 0);
  ASSERT_EQ(::stat(to("sparse").c_str(), &copy), 0);
  EXPECT_EQ(copy.st_size, kSize);
  EXPECT_LE(copy.st_blocks, source.st_blocks + 16);
  EXPECT_EQ(read_file(from("sparse")), read_file(to("sparse")));
}

TEST_F(TransferTest, VerifyGivesBothTheSameString) {
  fs::create_directories(from("d"));
  write_file(from("d/abc"), "abc");
  write_file(from("d/empty"), "");
  auto tree = scan_tree({from("d")}, {});
  auto sending = std::make_shared<Sending>(std::move(*tree), SendingOptions{.verify = true});
  TransferWorld world;
  auto receiving = world.receiving(hooks);
  world.run(sending, receiving);
  ASSERT_TRUE(world.is_complete);
  receiving->forget();
  const ReceiveReport& report = receiving->report();
  ASSERT_EQ(report.digests.size(), 2u);
  EXPECT_EQ(report.digests[0].first, "d/abc");
  EXPECT_EQ(to_hex(report.digests[0].second),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(report.check_string, sending->check_string());
  EXPECT_EQ(report.check_string.size(), 14u);
}

TEST_F(TransferTest, GoesOnWhereItStopped) {
  fs::create_directories(from("d/e"));
  for (int i = 0; i < 50; ++i)
    write_file(from("d/e/" + std::to_string(i)), pattern(1000, static_cast<unsigned>(i)));
  write_file(from("d/large"), pattern(20 * kBlockBytes + 5));
  write_file(from("d/z"), "last");
  {
    TransferWorld world;
    world.cut_after = 12 << 20;
    transfer_paths({from("d")}, hooks, world);
    EXPECT_FALSE(world.is_complete);
    EXPECT_FALSE(fs::exists(to("d")));
    EXPECT_TRUE(has_leftovers());
  }
  TransferWorld world;
  const ReceiveReport report = transfer_paths({from("d")}, hooks, world, {}, true);
  ASSERT_TRUE(report.in_place) << report.problem->sentence;
  EXPECT_LT(world.moved, 13u << 20);  // of 20: at most 4 MiB again
  expect_equal_trees("d");
  EXPECT_EQ(report.digests.size(), 52u);
  EXPECT_FALSE(has_leftovers());
}

TEST_F(TransferTest, ADamagedPartIsSentAgainFromThere) {
  write_file(from("large"), pattern(8 * kBlockBytes));
  {
    TransferWorld world;
    world.cut_after = 6 << 20;
    transfer_paths({from("large")}, hooks, world);
  }
  std::string part;
  for (const auto& entry : fs::recursive_directory_iterator(scratch / "to"))
    if (entry.path().filename() == "large") part = entry.path();
  ASSERT_NE(part, "");
  const int fd = ::open(part.c_str(), O_WRONLY);
  ASSERT_EQ(::pwrite(fd, "torn", 4, 2 * kBlockBytes + 100), 4);
  ::close(fd);
  TransferWorld world;
  EXPECT_TRUE(transfer_paths({from("large")}, hooks, world).in_place);
  EXPECT_GT(world.moved, 6u << 20);
  EXPECT_LT(world.moved, 7u << 20);
  expect_equal_trees("large");
}

TEST_F(TransferTest, APartOfAnotherFileWithSameSizeAndTimeIsNotUsed) {
  write_file(from("f"), pattern(4 * kBlockBytes, 1));
  const timespec times[2] = {{.tv_sec = 5, .tv_nsec = 0}, {.tv_sec = 5, .tv_nsec = 0}};
  ::utimensat(AT_FDCWD, from("f").c_str(), times, 0);
  {
    TransferWorld world;
    world.cut_after = 3 << 20;
    transfer_paths({from("f")}, hooks, world);
  }
  write_file(from("f"), pattern(4 * kBlockBytes, 2));
  ::utimensat(AT_FDCWD, from("f").c_str(), times, 0);
  TransferWorld world;
  EXPECT_TRUE(transfer_paths({from("f")}, hooks, world).in_place);
  EXPECT_GT(world.moved, 4u << 20);
  expect_equal_trees("f");
}

TEST_F(TransferTest, WhatWasRemovedAtTheSourceDoesNotStayInTheParts) {
  fs::create_directories(from("d"));
  write_file(from("d/a"), pattern(kBlockBytes));
  write_file(from("d/b"), pattern(3 * kBlockBytes));
  {
    TransferWorld world;
    world.cut_after = (3 << 20) + 500'000;
    transfer_paths({from("d")}, hooks, world);
  }
  fs::remove(from("d/a"));
  EXPECT_TRUE(transfer_paths({from("d")}, hooks).in_place);
  EXPECT_FALSE(fs::exists(to("d/a")));
  expect_equal_trees("d");
}

TEST_F(TransferTest, AFileThatChangesIsGivenUpAndTheOthersArrive) {
  fs::create_directories(from("d"));
  write_file(from("d/a"), "a");
  write_file(from("d/grows"), pattern(8 * kBlockBytes));
  write_file(from("d/z"), "z");
  TransferWorld world;
  world.while_moving = [&, done = false](std::uint64_t moved) mutable {
    if (done || moved < 2 << 20) return;
    done = true;
    std::ofstream(from("d/grows"), std::ios::app) << "more";
  };
  const ReceiveReport report = transfer_paths({from("d")}, hooks, world);
  ASSERT_TRUE(report.in_place);
  ASSERT_EQ(report.failures.size(), 1u);
  EXPECT_TRUE(report.has_changed);
  EXPECT_NE(report.failures[0].find("d/grows: it was changed"), std::string::npos) << report.failures[0];
  EXPECT_FALSE(fs::exists(to("d/grows")));
  EXPECT_EQ(read_file(to("d/a")), "a");
  EXPECT_EQ(read_file(to("d/z")), "z");
}

TEST_F(TransferTest, WhatIsNotAFileStaysBehind) {
  fs::create_directories(from("d/e"));
  ASSERT_EQ(::mkfifo(from("d/fifo").c_str(), 0600), 0);
  fs::create_symlink("/etc/passwd", from("d/absolute"));
  fs::create_symlink("../../x", from("d/e/out"));
  fs::create_symlink("..", from("d/e/loop"));
  write_file(from("d/skip.o"), "o");
  write_file(from("d/e/keep.c"), "c");
  const auto tree = scan_tree({from("d")}, {.excludes = {"*.o"}, .follow = false});
  ASSERT_TRUE(tree);
  std::vector<std::string> left;
  for (const LeftOut& one : tree->left_out) left.push_back(fs::path(one.path).filename());
  std::sort(left.begin(), left.end());
  EXPECT_EQ(left, (std::vector<std::string>{"absolute", "fifo", "out"}));
  EXPECT_EQ(tree->manifest.files(), 1u);
  const auto followed = scan_tree({from("d")}, {.excludes = {"e/keep.*", "absolute"}, .follow = true});
  ASSERT_TRUE(followed);
  EXPECT_EQ(followed->manifest.files(), 1u);  // skip.o; the loop was noticed
}

TEST_F(TransferTest, NamedThingsMustBeThere) {
  EXPECT_FALSE(scan_tree({from("nothing")}, {}));
  EXPECT_FALSE(scan_tree({"/dev/null"}, {}));
  write_file(from("f"), "x");
  fs::create_directories(from("d"));
  write_file(from("d/f"), "y");
  EXPECT_FALSE(scan_tree({from("f"), from("d/f")}, {}));  // both would be called f
  const auto dot = scan_tree({from("d/.")}, {});
  ASSERT_TRUE(dot);
  EXPECT_EQ(dot->manifest.name(0), "d");
}

TEST_F(TransferTest, ExistingNamesAreRefusedBeforeTheFirstByte) {
  write_file(from("f"), pattern(3 * kBlockBytes));
  write_file(to("f"), "mine");
  TransferWorld world;
  const ReceiveReport report = transfer_paths({from("f")}, hooks, world);
  ASSERT_TRUE(report.problem);
  EXPECT_EQ(report.problem->kind, ReceiveProblem::Kind::Local);
  EXPECT_LT(world.moved, 1000u);
  EXPECT_EQ(read_file(to("f")), "mine");
  EXPECT_FALSE(has_leftovers());
}

TEST_F(TransferTest, RenameFindsAFreeName) {
  write_file(from("f.txt"), "new");
  write_file(to("f.txt"), "mine");
  write_file(to("f (1).txt"), "too");
  hooks.conflict = Conflict::Rename;
  const ReceiveReport report = transfer_paths({from("f.txt")}, hooks);
  ASSERT_TRUE(report.in_place);
  EXPECT_EQ(read_file(to("f.txt")), "mine");
  EXPECT_EQ(read_file(to("f (2).txt")), "new");
}

TEST_F(TransferTest, OverwriteMergesAndReplaces) {
  fs::create_directories(from("d/sub"));
  write_file(from("d/both"), "new");
  write_file(from("d/sub/both"), "new");
  write_file(from("d/sub/fresh"), "new");
  fs::create_directories(to("d/sub"));
  ::chmod(to("d").c_str(), 0711);
  write_file(to("d/both"), "mine");
  write_file(to("d/sub/both"), "mine");
  write_file(to("d/sub/other"), "mine");
  hooks.conflict = Conflict::Overwrite;
  ASSERT_TRUE(transfer_paths({from("d")}, hooks).in_place);
  EXPECT_EQ(read_file(to("d/both")), "new");
  EXPECT_EQ(read_file(to("d/sub/both")), "new");
  EXPECT_EQ(read_file(to("d/sub/fresh")), "new");
  EXPECT_EQ(read_file(to("d/sub/other")), "mine");
  struct stat info {};
  ::stat(to("d").c_str(), &info);
  EXPECT_EQ(info.st_mode & 0777, 0711u);
  EXPECT_FALSE(has_leftovers());
}

TEST_F(TransferTest, SkipLeavesWhatExistsAndDoesNotSendIt) {
  fs::create_directories(from("d"));
  write_file(from("d/both"), pattern(5 * kBlockBytes));
  write_file(from("d/fresh"), "new");
  fs::create_directories(to("d"));
  write_file(to("d/both"), "mine");
  hooks.conflict = Conflict::Skip;
  TransferWorld world;
  ASSERT_TRUE(transfer_paths({from("d")}, hooks, world).in_place);
  EXPECT_LT(world.moved, 1000u);
  EXPECT_EQ(read_file(to("d/both")), "mine");
  EXPECT_EQ(read_file(to("d/fresh")), "new");
}

TEST_F(TransferTest, SkipPassesOverADirectoryWhoseNameIsAFilesAndTakesTheRest) {
  fs::create_directories(from("d/e"));
  write_file(from("d/e/f"), pattern(5 * kBlockBytes));
  ::chmod(from("d/e").c_str(), 0500);
  write_file(from("g"), "new");
  write_file(to("d"), "mine");
  hooks.conflict = Conflict::Skip;
  TransferWorld world;
  const ReceiveReport report = transfer_paths({from("d"), from("g")}, hooks, world);
  ASSERT_TRUE(report.in_place) << (report.problem ? report.problem->sentence : "");
  EXPECT_LT(world.moved, 1000u);
  EXPECT_EQ(report.outcome.placed, std::vector<std::string>{to("g")});
  EXPECT_EQ(report.outcome.failed, 0u);
  EXPECT_EQ(read_file(to("d")), "mine");
  EXPECT_EQ(read_file(to("g")), "new");
  EXPECT_FALSE(has_leftovers());
}

TEST_F(TransferTest, NothingIsWrittenThroughLinksThatAreThere) {
  fs::create_directories(scratch / "outside");
  write_file(scratch / "outside/f", "theirs");
  fs::create_directories(from("d"));
  write_file(from("d/f"), "new");
  fs::create_symlink(scratch / "outside", to("d"));
  const auto before = snapshot(scratch / "outside");
  for (const std::optional<Conflict> conflict :
       {std::optional<Conflict>(), std::optional(Conflict::Overwrite), std::optional(Conflict::Skip)}) {
    hooks.conflict = conflict;
    EXPECT_EQ(transfer_paths({from("d")}, hooks).in_place, conflict == Conflict::Skip);
    EXPECT_EQ(snapshot(scratch / "outside"), before);
    EXPECT_TRUE(fs::is_symlink(to("d")));
  }
  // A link where a file goes is replaced itself, not what it points to.
  write_file(from("g"), "new");
  fs::create_symlink(scratch / "outside/f", to("g"));
  hooks.conflict = Conflict::Overwrite;
  EXPECT_TRUE(transfer_paths({from("g")}, hooks).in_place);
  EXPECT_EQ(snapshot(scratch / "outside"), before);
  EXPECT_FALSE(fs::is_symlink(to("g")));
  EXPECT_EQ(read_file(to("g")), "new");
}

TEST_F(TransferTest, AStagingDirectoryOfSomebodyElseIsNotUsed) {
  write_file(from("f"), pattern(4 * kBlockBytes));
  {
    TransferWorld world;
    world.cut_after = 3 * kBlockBytes + kBlockBytes / 2;
    transfer_paths({from("f")}, hooks, world);
  }
  std::string staging;
  for (const auto& entry : fs::directory_iterator(scratch / "to")) staging = entry.path();
  ASSERT_NE(staging, "");
  ::chmod(staging.c_str(), 0777);
  EXPECT_TRUE(transfer_paths({from("f")}, hooks).problem);
  fs::remove_all(staging);
  fs::create_directories(scratch / "outside");
  fs::create_symlink(scratch / "outside", staging);
  EXPECT_TRUE(transfer_paths({from("f")}, hooks).problem);
  EXPECT_TRUE(fs::is_empty(scratch / "outside"));
}

TEST_F(TransferTest, TwoReceiversOfTheSameDoNotMeet) {
  write_file(from("f"), pattern(2 * kBlockBytes));
  auto tree = scan_tree({from("f")}, {});
  struct NoWaits : WriterWaits {
    void wait_for_space(const std::string&) override { throw Stopped(); }
    void space_is_back() override {}
    const std::atomic<bool>& stopping() const override { return stop; }
    std::atomic<std::uint64_t>& checked() override { return bytes; }
    std::atomic<bool> stop = false;
    std::atomic<std::uint64_t> bytes = 0;
  } waits;
  TreeWriter first(scratch / "to", waits);
  first.begin(tree->manifest, "");
  const ReceiveReport report = transfer_paths({from("f")}, hooks);
  ASSERT_TRUE(report.problem);
  EXPECT_NE(report.problem->sentence.find("another derphole"), std::string::npos);
}

TEST_F(TransferTest, ANoLeavesNothingBehind) {
  write_file(from("f"), pattern(kBlockBytes));
  hooks.says_no = true;
  TransferWorld world;
  EXPECT_EQ(transfer_paths({from("f")}, hooks, world).problem->kind, ReceiveProblem::Kind::Declined);
  EXPECT_EQ(world.fault->code, bulk::AbortCode::Declined);
  EXPECT_TRUE(fs::is_empty(scratch / "to"));
}

TEST_F(TransferTest, TheOneThingMayGetAnotherName) {
  fs::create_directories(from("d"));
  write_file(from("d/f"), "x");
  hooks.where.only_name = "other";
  ASSERT_TRUE(transfer_paths({from("d")}, hooks).in_place);
  EXPECT_EQ(read_file(to("other/f")), "x");
}

TEST_F(TransferTest, DirectoriesThatMayNotBeWrittenArriveThatWay) {
  fs::create_directories(from("d/e"));
  write_file(from("d/e/f"), "x");
  ::chmod(from("d/e").c_str(), 0500);
  ::chmod(from("d").c_str(), 0555);
  ASSERT_TRUE(transfer_paths({from("d")}, hooks).in_place);
  expect_equal_trees("d");
}

TEST_F(TransferTest, SomethingInPlaceOfAnInterruptedTryIsRecognised) {
  write_file(from("f"), pattern(2 * kBlockBytes));
  auto tree = scan_tree({from("f")}, {});
  {
    TransferWorld world;
    auto sending = std::make_shared<Sending>(*tree, SendingOptions{});
    auto receiving = world.receiving(hooks);
    world.run(sending, receiving);
    ASSERT_TRUE(world.is_complete);  // but the receiver dies before it can forget
  }
  EXPECT_TRUE(has_leftovers());
  TransferWorld world;
  const ReceiveReport report = transfer_paths({from("f")}, hooks, world);
  EXPECT_TRUE(report.in_place);
  EXPECT_LT(world.moved, 1000u);
  expect_equal_trees("f");
  EXPECT_FALSE(has_leftovers());
}

TEST(NumberedName, KeepsTheEndingAndTheLimit) {
  EXPECT_EQ(numbered_name("photo.jpg", false, 1), "photo (1).jpg");
  EXPECT_EQ(numbered_name("v1.2", true, 3), "v1.2 (3)");
  EXPECT_EQ(numbered_name(".bashrc", false, 1), ".bashrc (1)");
  EXPECT_EQ(numbered_name("noending", false, 12), "noending (12)");
  EXPECT_EQ(numbered_name(std::string(251, 'x') + ".jpg", false, 1).size(), 255u);
  const std::string umlauts = [] {
    std::string out;
    for (int i = 0; i < 127; ++i) out += "\xc3\xa4";
    return out;
  }();
  const std::string cut = numbered_name(umlauts, false, 1);
  EXPECT_LE(cut.size(), 255u);
  EXPECT_EQ(cut.substr(cut.size() - 6), "\xc3\xa4 (1)");
}

}  // namespace
}  // namespace dh::io
