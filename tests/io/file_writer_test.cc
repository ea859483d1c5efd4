#include "io/file_writer.hh"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rng.hh"
#include "bell.hh"
#include "io/file_pump.hh"
#include "scratch_directory.hh"
#include "transfer_world.hh"

namespace dh::io {
namespace {

constexpr std::uint64_t kMany = WriteWay::kFirstBytes + 3 * WriteWay::kSampleBytes;

/// Memory at the start of a page, like a ring's, with content that differs from page to page.
class Pages {
public:
  explicit Pages(std::size_t size) : size_(size) {
    void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(at, MAP_FAILED);
    bytes_ = static_cast<std::byte*>(at);
    SeededRng(3).fill(ByteSpan(bytes_, size));
  }
  ~Pages() { ::munmap(bytes_, size_); }
  Pages(const Pages&) = delete;
  ByteView view() const { return {bytes_, size_}; }

private:
  std::byte* bytes_;
  std::size_t size_;
};

void expect_repeats(const std::string& path, std::uint64_t from, std::uint64_t size, ByteView pattern) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info {};
  ASSERT_EQ(::fstat(file.get(), &info), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(info.st_size), from + size);
  Bytes block(pattern.size());
  for (std::uint64_t at = 0; at < size; at += block.size()) {
    const std::size_t here = static_cast<std::size_t>(std::min<std::uint64_t>(block.size(), size - at));
    ASSERT_EQ(::pread(file.get(), block.data(), here, static_cast<off_t>(from + at)),
              static_cast<ssize_t>(here));
    ASSERT_TRUE(std::equal(block.begin(), block.begin() + static_cast<std::ptrdiff_t>(here), pattern.begin()))
        << "at " << at;
  }
}

class FileWriting : public testing::Test {
protected:
  // `size` bytes of the pattern again and again, in pieces that the rng chooses.
  void write_all(FileWriter& writer, std::uint64_t size, ByteView pattern, SeededRng& rng) {
    for (std::uint64_t at = 0; at < size;) {
      ByteView rest = pattern.subspan(static_cast<std::size_t>(at % pattern.size()));
      rest = rest.first(static_cast<std::size_t>(std::min<std::uint64_t>(rest.size(), size - at)));
      if (rng.below(20) == 0) rest = rest.first(1 + static_cast<std::size_t>(rng.below(rest.size())));
      ++writes_;
      writes_.notify_one();
      const ssize_t written = writer.write(rest);
      ASSERT_GT(written, 0) << errno;
      at += static_cast<std::uint64_t>(written);
    }
  }

  ScratchDirectory scratch_;
  Pages pages_{1 << 20};
  SeededRng rng_{11};
  std::atomic<unsigned> writes_ = 0;  // begun, for who waits for the next one
};

TEST_F(FileWriting, BothWaysWriteTheSame) {
  const std::string path = scratch_ / "file";
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  FileWriter writer(file.get());
  write_all(writer, kMany + 777, pages_.view(), rng_);
  EXPECT_EQ(::lseek(file.get(), 0, SEEK_CUR), static_cast<off_t>(kMany + 777));
  expect_repeats(path, 0, kMany + 777, pages_.view());
  const Fd probe(::open(path.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC));
  EXPECT_TRUE(!probe || writer.direct_bytes() >= WriteWay::kSampleBytes / 2);  // where the file system can
}

TEST_F(FileWriting, WhatBeginsInTheMiddleOfABlockNeverFitsAndIsWrittenAllTheSame) {
  const std::string path = scratch_ / "file";
  const Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(::pwrite(file.get(), "0123456789", 10, 0), 10);
  ASSERT_EQ(::lseek(file.get(), 10, SEEK_SET), 10);
  FileWriter writer(file.get());
  write_all(writer, kMany, pages_.view(), rng_);
  EXPECT_EQ(writer.direct_bytes(), 0u);
  expect_repeats(path, 10, kMany, pages_.view());
}

// Somebody with the same position, as stderr with `2>&1`, says something in between.
class SharedFileWriting : public FileWriting {
protected:
  void say(std::size_t size) {
    Bytes line(size);
    SeededRng(99).fill(line);
    said_ = std::string(as_text(line));
    ASSERT_EQ(::write(other_.get(), line.data(), size), static_cast<ssize_t>(size));
    ++times_;
  }
  // Every line whole, and around them what was written.
  void expect_both(std::uint64_t size) {
    const std::string all = read_file(path_);
    std::string rest;
    std::size_t lines = 0;
    for (std::size_t from = 0;; ++lines) {
      const std::size_t to = all.find(said_, from);
      rest.append(all, from, to == std::string::npos ? to : to - from);
      if (to == std::string::npos) break;
      from = to + said_.size();
    }
    EXPECT_EQ(lines, times_);
    ASSERT_EQ(rest.size(), size);
    for (std::size_t at = 0; at < size; at += pages_.view().size()) {
      const std::string_view here = std::string_view(rest).substr(at, pages_.view().size());
      ASSERT_EQ(here, as_text(pages_.view()).substr(0, here.size())) << "at " << at;
    }
  }

  const std::string path_ = scratch_ / "file";
  const Fd file_{::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)};
  const Fd other_{::dup(file_.get())};
  std::string said_;
  std::size_t times_ = 0;
};

TEST_F(SharedFileWriting, LinesInBetweenAreNeitherOverwrittenNorOverwrite) {
  for (const std::size_t line : {WriteWay::kBlock, std::size_t{50}}) {  // blocks stay in step, or do not
    ASSERT_EQ(::ftruncate(file_.get(), 0), 0);
    ASSERT_EQ(::lseek(file_.get(), 0, SEEK_SET), 0);
    times_ = 0;
    FileWriter writer(file_.get());
    write_all(writer, WriteWay::kFirstBytes, pages_.view(), rng_);
    for (int i = 0; i < 20; ++i) {
      say(line);
      write_all(writer, 2 * pages_.view().size(), pages_.view(), rng_);
    }
    expect_both(WriteWay::kFirstBytes + 40 * pages_.view().size());
    const Fd probe(::open(path_.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC));
    EXPECT_TRUE(!probe || line != WriteWay::kBlock || writer.direct_bytes() > 0);
  }
}

TEST_F(SharedFileWriting, LinesInTheMiddleOfAWriteGoBehindIt) {
  FileWriter writer(file_.get());
  std::atomic<bool> stop = false;
  write_all(writer, WriteWay::kFirstBytes, pages_.view(), rng_);
  std::thread speaker([&, seen = writes_.load()]() mutable {
    do {
      writes_.wait(seen);
      seen = writes_;
      say(WriteWay::kBlock);  // while that write goes on
    } while (!stop);
  });
  write_all(writer, 3 * WriteWay::kSampleBytes, pages_.view(), rng_);
  stop = true;
  ++writes_;
  writes_.notify_one();
  speaker.join();
  expect_both(WriteWay::kFirstBytes + 3 * WriteWay::kSampleBytes);
}

TEST_F(FileWriting, WhereThereIsNoRoomThePositionIsBehindWhatWasWritten) {
  const std::string path = scratch_ / "file";
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  const std::uint64_t most = WriteWay::kFirstBytes + pages_.view().size() * 5 / 2 + 100;
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit less{.rlim_cur = most, .rlim_max = before.rlim_max};
  const auto signal = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &less), 0);
  FileWriter writer(file.get());
  std::uint64_t at = 0;
  ssize_t written = 0;
  while ((written = writer.write(pages_.view().subspan(at % pages_.view().size()))) > 0)
    at += static_cast<std::uint64_t>(written);
  EXPECT_EQ(errno, EFBIG);
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, signal);
  EXPECT_EQ(at, most);
  EXPECT_EQ(::lseek(file.get(), 0, SEEK_CUR), static_cast<off_t>(most));
  expect_repeats(path, 0, most, pages_.view());
}

TEST_F(FileWriting, WhatIsAppendedGoesThroughTheCache) {
  const std::string path = scratch_ / "file";
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  FileWriter writer(file.get());
  write_all(writer, kMany, pages_.view(), rng_);
  EXPECT_EQ(writer.direct_bytes(), 0u);
  expect_repeats(path, 0, kMany, pages_.view());
}

TEST_F(FileWriting, PiecesOfSeveralFilesLandWhereTheyBelong) {
  const Bytes pattern = to_bytes(pages_.view());
  PieceWriter writer;
  for (const std::string& name : {std::string("first"), std::string("second")}) {
    const std::string path = scratch_ / name;
    const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    for (std::uint64_t at = 0; at < kMany + 5;) {
      ByteView rest = ByteView(pattern).subspan(static_cast<std::size_t>(at % pattern.size()));
      rest = rest.first(static_cast<std::size_t>(std::min<std::uint64_t>(rest.size(), kMany + 5 - at)));
      const ssize_t written = writer.write(file.get(), at, rest);
      ASSERT_GT(written, 0);
      at += static_cast<std::uint64_t>(written);
    }
    writer.end_file();
    expect_repeats(path, 0, kMany + 5, pattern);
  }
  const Fd probe(::open((scratch_ / "first").c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC));
  EXPECT_TRUE(!probe || writer.direct_bytes() >= WriteWay::kSampleBytes / 2);
}

TEST(WriteWay, TheCheaperWayIsTakenAndLookedAtAgain) {
  for (const bool direct_is_cheaper : {true, false}) {
    WriteWay way;
    std::uint64_t direct = 0;
    const std::uint64_t all = 4 * WriteWay::kPeriodBytes;
    for (std::uint64_t at = 0; at < all; at += 1 << 20) {
      const bool here = way.is_direct();
      direct += here ? 1u << 20 : 0;
      way.went(here, 1 << 20, here == direct_is_cheaper ? 1ms : 2ms);
    }
    EXPECT_GE(direct, direct_is_cheaper ? all * 8 / 10 : 3 * WriteWay::kSampleBytes);
    EXPECT_LE(direct, direct_is_cheaper ? all : all / 10);
  }
}

TEST(WriteWay, WhatBecomesCheaperLaterIsFound) {
  WriteWay way;
  std::uint64_t direct = 0, late = 0;
  for (std::uint64_t at = 0; at < 3 * WriteWay::kPeriodBytes; at += 1 << 20) {
    const bool here = way.is_direct(), cheap_now = at > WriteWay::kPeriodBytes;
    (cheap_now ? late : direct) += here ? 1u << 20 : 0;
    way.went(here, 1 << 20, here == cheap_now ? 1ms : 2ms);
  }
  EXPECT_LE(direct, 2 * WriteWay::kSampleBytes);
  EXPECT_GE(late, WriteWay::kPeriodBytes);
}

TEST(WriteWay, WhatDoesNotFitIsNoSampleAndGivingUpIsForGood) {
  WriteWay way;
  way.went(false, WriteWay::kFirstBytes, 1s);
  ASSERT_TRUE(way.is_direct());
  way.went(false, WriteWay::kPeriodBytes, 1s);
  EXPECT_TRUE(way.is_direct());
  way.give_up();
  way.went(false, 10 * WriteWay::kPeriodBytes, 1s);
  EXPECT_FALSE(way.is_direct());
}

// Through the ring, with pauses in which less than a block lies there.
TEST_F(FileWriting, ASinkWritesALargeFileWhole) {
  const std::string path = scratch_ / "file";
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  Bell bell;
  FileSink sink(file.get(), [&] { bell.ring(); });
  for (std::uint64_t at = 0; at < kMany + 99;) {
    ByteView rest = pages_.view().subspan(static_cast<std::size_t>(at % pages_.view().size()));
    rest = rest.first(static_cast<std::size_t>(std::min<std::uint64_t>(rest.size(), kMany + 99 - at)));
    rest = rest.first(std::min<std::size_t>(rest.size(), 1 + rng_.below(300'000)));
    at += sink.write(rest);
    if (rng_.below(200) == 0) {  // no more until all of it is written
      while (::lseek(file.get(), 0, SEEK_CUR) < static_cast<off_t>(at)) ASSERT_TRUE(bell.wait());
    }
    ASSERT_EQ(sink.error(), "");
  }
  sink.finish();
  while (!sink.finished()) ASSERT_TRUE(bell.wait());
  expect_repeats(path, 0, kMany + 99, pages_.view());
}

}  // namespace
}  // namespace dh::io
