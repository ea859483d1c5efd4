// What can have happened to the receiver's disk between two tries, and what a person does with a text.

#include <fcntl.h>
#include <sys/stat.h>

#include "io/temporary_file.hh"
#include "io/text_file.hh"
#include "transfer/limits.hh"
#include "transfer_world.hh"

namespace dh::io {
namespace {

namespace fs = std::filesystem;
using transfer::kBlockBytes;

TEST_F(TransferTest, WhatSomebodyMadeOfItSinceIsNotTakenForOurs) {
  write_file(from("f"), pattern(2 * kBlockBytes));
  {
    TransferWorld world;
    auto sending = std::make_shared<Sending>(*scan_tree({from("f")}, {}), SendingOptions{});
    auto receiving = world.receiving(hooks);
    world.run(sending, receiving);  // the receiver dies before it can forget
  }
  ASSERT_EQ(::truncate(to("f").c_str(), 5), 0);
  const ReceiveReport report = transfer_paths({from("f")}, hooks);
  ASSERT_TRUE(report.problem);
  EXPECT_NE(report.problem->sentence.find("exists"), std::string::npos);
  EXPECT_EQ(fs::file_size(to("f")), 5u);
}

TEST_F(TransferTest, ADirectoryPlacedButNotYetLockedIsLockedByTheNextTry) {
  fs::create_directories(from("d/e"));
  write_file(from("d/e/f"), "x");
  ::chmod(from("d/e").c_str(), 0500);
  {
    TransferWorld world;
    auto sending = std::make_shared<Sending>(*scan_tree({from("d")}, {}), SendingOptions{});
    auto receiving = world.receiving(hooks);
    world.run(sending, receiving);
  }
  ::chmod(to("d/e").c_str(), 0700);  // as it is until the last step
  ASSERT_TRUE(transfer_paths({from("d")}, hooks).in_place);
  expect_equal_trees("d");
}

TEST_F(TransferTest, WhatWasPlacedCountsAsKept) {
  write_file(from("f"), pattern(2 * kBlockBytes));
  for (int i = 0; i < 2; ++i) {
    TransferWorld world;
    auto sending = std::make_shared<Sending>(*scan_tree({from("f")}, {}), SendingOptions{});
    auto receiving = world.receiving(hooks);
    world.run(sending, receiving);
    EXPECT_EQ(hooks.kept_bytes, i == 0 ? 0 : 2 * kBlockBytes);
  }
}

// Somebody who could write to the staging directory of an interrupted try has put things into it.
TEST_F(TransferTest, NothingIsReadOrWrittenThroughAPoisonedStagingDirectory) {
  fs::create_directories(from("d"));
  for (const char* name : {"a", "b", "c", "e"})
    write_file(from(std::string("d/") + name), pattern(2 * kBlockBytes));
  fs::create_directories(scratch / "outside");
  write_file(scratch / "outside/victim", pattern(2 * kBlockBytes));
  const auto outside = snapshot(scratch / "outside");
  for (int kind = 0; kind < 5; ++kind) {
    {
      TransferWorld world;
      world.cut_after = 7 * kBlockBytes;
      transfer_paths({from("d")}, hooks, world);
    }
    std::string staging;
    for (const auto& entry : fs::directory_iterator(scratch / "to")) staging = entry.path();
    ASSERT_NE(staging, "");
    const std::string a = staging + "/tree/d/a", journal = staging + "/journal";
    if (kind == 0) {
      fs::remove(a);
      fs::create_symlink(scratch / "outside/victim", a);
    } else if (kind == 1) {
      fs::remove(a);
      fs::create_hard_link(scratch / "outside/victim", a);
    } else if (kind == 2) {
      fs::remove(a);
      ASSERT_EQ(::mkfifo(a.c_str(), 0600), 0);
    } else if (kind == 3) {
      fs::remove(journal);
      fs::create_symlink(scratch / "outside/victim", journal);
      fs::create_symlink(scratch / "outside/victim", journal + ".new");
    } else {
      fs::remove_all(staging + "/tree/d");
      fs::create_directory_symlink(scratch / "outside", staging + "/tree/d");
    }
    const ReceiveReport report = transfer_paths({from("d")}, hooks);
    EXPECT_EQ(snapshot(scratch / "outside"), outside) << kind;
    if (report.in_place) {
      expect_equal_trees("d");
    }
    EXPECT_EQ(report.in_place, kind != 3) << kind << (report.problem ? report.problem->sentence : "");
    fs::remove_all(scratch / "to");
    fs::create_directories(scratch / "to");
  }
}

TEST_F(TransferTest, FilesAreLookedAtAgainOnTheSendersThread) {
  write_file(from("f"), "old");
  auto tree = scan_tree({from("f")}, {});
  write_file(from("f"), "newer");
  auto sending = std::make_shared<Sending>(*tree, SendingOptions{}, [&](const std::atomic<bool>& stop) {
    return std::optional(*scan_tree({from("f")}, {.excludes = {}, .follow = false, .stop = &stop}));
  });
  EXPECT_FALSE(sending->is_ready());
  TransferWorld world;
  auto receiving = world.receiving(hooks);
  world.run(sending, receiving);
  ASSERT_TRUE(world.is_complete);
  EXPECT_EQ(read_file(to("f")), "newer");
}

TEST_F(TransferTest, AScanEndsWhenItIsTold) {
  fs::create_directories(from("d"));
  for (int i = 0; i < 10; ++i) write_file(from("d/" + std::to_string(i)), "x");
  const std::atomic<bool> stop = true;
  EXPECT_EQ(scan_tree({from("d")}, {.excludes = {}, .follow = false, .stop = &stop})->manifest.size(), 1u);
}

std::optional<std::string> save_text(const std::string& path, const std::string& text, Conflict conflict) {
  TextFile file(path);
  file.decide(conflict);
  return file.save(text);
}

TEST_F(TransferTest, ATextIsSavedAsCarefullyAsAFile) {
  const std::string path = to("note.txt");
  EXPECT_EQ(save_text(path, "one", Conflict::Refuse), path);
  EXPECT_EQ(read_file(path), "one");
  EXPECT_THROW(save_text(path, "two", Conflict::Refuse), DiskError);
  EXPECT_EQ(read_file(path), "one");
  EXPECT_EQ(save_text(path, "two", Conflict::Rename), to("note (1).txt"));
  EXPECT_EQ(save_text(path, "three", Conflict::Skip), std::nullopt);
  EXPECT_EQ(save_text(path, "four", Conflict::Overwrite), path);
  EXPECT_EQ(read_file(path), "four");
  write_file(scratch / "victim", "safe");
  fs::create_symlink(scratch / "victim", to("link"));
  EXPECT_THROW(save_text(to("link"), "evil", Conflict::Refuse), DiskError);
  EXPECT_EQ(save_text(to("link"), "mine", Conflict::Overwrite), to("link"));
  EXPECT_EQ(read_file(scratch / "victim"), "safe");
  EXPECT_THROW(save_text(scratch / "to", "x", Conflict::Overwrite), DiskError);
  EXPECT_THROW(save_text(to("no/such/place"), "x", Conflict::Refuse), DiskError);
  EXPECT_FALSE(has_leftovers());
}

TEST_F(TransferTest, WhatForbidsATextIsKnownBeforeItIsHere) {
  fs::create_directories(to("d"));
  EXPECT_THROW(TextFile(to("no/such/place")), DiskError);
  EXPECT_THROW(TextFile(to("d/")), DiskError);
  EXPECT_THROW(TextFile(to("..")), DiskError);
  if (::geteuid() != 0) {
    ::chmod(to("d").c_str(), 0500);
    EXPECT_THROW(TextFile(to("d/f")), DiskError);
    ::chmod(to("d").c_str(), 0700);
  }
  TextFile directory(to("d"));
  EXPECT_TRUE(directory.is_taken());
  EXPECT_THROW(directory.decide(Conflict::Overwrite), DiskError);
  EXPECT_EQ(save_text(to("d"), "x", Conflict::Skip), std::nullopt);
  EXPECT_EQ(save_text(to("d"), "x", Conflict::Rename), to("d (1)"));
  TextFile fresh(to("fresh"));
  EXPECT_FALSE(fresh.is_taken());
  write_file(to("fresh"), "somebody's, meanwhile");
  EXPECT_THROW(fresh.save("x"), DiskError);
  EXPECT_EQ(read_file(to("fresh")), "somebody's, meanwhile");
  EXPECT_FALSE(has_leftovers());
}

// A program that is killed leaves its temporary file, and a container gives the next one the same number.
TEST_F(TransferTest, ATextIsSavedBesideWhatAKilledProcessOfOurNumberLeft) {
  const std::string left = to(".derphole-text-" + std::to_string(::getpid()));
  write_file(left, "half of");
  EXPECT_EQ(save_text(to("note.txt"), "one", Conflict::Refuse), to("note.txt"));
  EXPECT_EQ(read_file(to("note.txt")), "one");
  EXPECT_EQ(read_file(left), "half of");
}

TEST_F(TransferTest, ATemporaryFileIsGoneUnlessItWasMoved) {
  const Fd folder(::open((scratch / "to").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  {
    auto first = TemporaryFile::create(folder.get(), ".derphole-", 0600);
    auto second = TemporaryFile::create(folder.get(), ".derphole-", 0600);
    ASSERT_TRUE(first && second);
    EXPECT_NE(first->name(), second->name());
    ASSERT_TRUE(second->write("kept"));
    ASSERT_EQ(::renameat(folder.get(), second->name().c_str(), folder.get(), "kept"), 0);
    write_file(to(second->name()), "another's");
    second->moved();
    const TemporaryFile taken = std::move(*first);
    EXPECT_TRUE(fs::exists(to(taken.name())));
  }
  EXPECT_EQ(read_file(to("kept")), "kept");
  EXPECT_EQ(std::distance(fs::directory_iterator(scratch / "to"), fs::directory_iterator()), 2);
  EXPECT_EQ(TemporaryFile::create(-1, "x", 0600).error(), EBADF);
}

class UnheardTransferTest : public TransferTest {
protected:
  // Everything gets its name, and the receiver ends before the sender has heard of it.
  void place_unheard(const std::string& path) {
    TransferWorld world;
    auto sending = std::make_shared<Sending>(*scan_tree({path}, {}), SendingOptions{});
    auto receiving = world.receiving(hooks);
    world.run(sending, receiving);
    ASSERT_TRUE(receiving->report().in_place);
  }
};

TEST_F(UnheardTransferTest, WhatAMergeHasPutInPlaceIsKnownToTheNextTry) {
  fs::create_directories(from("d/new/locked"));
  write_file(from("d/both"), pattern(3 * kBlockBytes));
  write_file(from("d/changed"), pattern(100));
  write_file(from("d/new/locked/f"), pattern(2 * kBlockBytes));
  ::chmod(from("d/new/locked").c_str(), 0500);  // nobody may put anything into it later
  fs::create_directories(to("d"));
  write_file(to("d/both"), "mine");
  hooks.conflict = Conflict::Overwrite;
  place_unheard(from("d"));
  expect_equal_trees("d");
  write_file(to("d/changed"), pattern(100, 2));
  TransferWorld again;
  ASSERT_TRUE(transfer_paths({from("d")}, hooks, again).in_place);
  EXPECT_LT(again.moved, 2000u);
  expect_equal_trees("d");
  EXPECT_FALSE(has_leftovers());
}

TEST_F(UnheardTransferTest, WhatWasPutBesideANameIsKnownToTheNextTry) {
  write_file(from("f.txt"), pattern(3 * kBlockBytes));
  write_file(to("f.txt"), "mine");
  hooks.conflict = Conflict::Rename;
  place_unheard(from("f.txt"));
  TransferWorld again;
  const ReceiveReport report = transfer_paths({from("f.txt")}, hooks, again);
  ASSERT_TRUE(report.in_place);
  ASSERT_EQ(report.outcome.placed.size(), 1u);
  EXPECT_EQ(fs::path(report.outcome.placed[0]).filename(), "f (1).txt");
  EXPECT_LT(again.moved, 1000u);
  EXPECT_EQ(read_file(to("f.txt")), "mine");
  EXPECT_EQ(read_file(to("f (1).txt")), pattern(3 * kBlockBytes));
  EXPECT_FALSE(fs::exists(to("f (2).txt")));
  EXPECT_FALSE(has_leftovers());
}

}  // namespace
}  // namespace dh::io
