#include "io/cached_file.hh"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/rng.hh"
#include "bell.hh"
#include "io/listen_socket.hh"
#include "scratch_directory.hh"

namespace {

int reads_until_a_false_end = -1;  // negative: there is none

}  // namespace

// In the place of libc's: may say 0 before the end, once, as Linux 5.9 and 5.10 do.
extern "C" ssize_t preadv2(int fd, const iovec* into, int count, off_t at, int flags) {
  if (reads_until_a_false_end >= 0 && reads_until_a_false_end-- == 0) return 0;
  return ::syscall(SYS_preadv2, fd, into, count, at, at < 0 ? -1 : 0, flags);
}

namespace dh::io {
namespace {

class CachedFile : public testing::Test {
protected:
  Fd make(const std::string& path, std::size_t size) {
    SeededRng(7).fill(content_.emplace_back(size));
    Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    EXPECT_EQ(::pwrite(file.get(), content_.back().data(), size, 0), static_cast<ssize_t>(size));
    return file;
  }
  // Everything, in pieces of different sizes.
  Bytes drain(StreamSource& source) {
    Bytes out, room(100'000);
    for (std::size_t piece = 1; !source.finished(); piece = piece * 7 % room.size() + 1) {
      const std::size_t size = source.read(ByteSpan(room).first(piece));
      out.insert(out.end(), room.begin(), room.begin() + static_cast<std::ptrdiff_t>(size));
      if (size == 0 && !source.finished() && !bell_.wait()) {
        ADD_FAILURE() << "it does not end";
        break;
      }
    }
    return out;
  }

  ScratchDirectory scratch_;
  std::vector<Bytes> content_;
  Bell bell_;
  PumpNotify notify_ = [this] { bell_.ring(); };
};

TEST_F(CachedFile, WhatLiesInMemoryIsReadWithoutAThread) {
  std::vector<std::string> paths = {scratch_ / "file"};
  if (::access("/dev/shm", W_OK) == 0)
    paths.push_back("/dev/shm/derphole-test-" + std::to_string(::getpid()));
  for (const std::string& path : paths) {
    const Fd file = make(path, 3'000'017);
    ::unlink(path.c_str());
    CachedFileSource source(file.get(), notify_);
    EXPECT_EQ(source.expected_bytes(), content_.back().size());
    EXPECT_EQ(drain(source), content_.back()) << path;
    EXPECT_FALSE(source.fault());
    EXPECT_TRUE(source.waits_for_disk() || bell_.rings() == 0) << path;
  }
}

TEST_F(CachedFile, WhatHasToComeFromTheDiskIsWaitedForByAThread) {
  const Fd file = make(scratch_ / "file", 5'000'000);
  ::fsync(file.get());
  ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);  // a wish: the content is right either way
  CachedFileSource source(file.get(), notify_);
  EXPECT_EQ(drain(source), content_.back());
  EXPECT_EQ(source.read(ByteSpan(content_.back())), 0u);
}

TEST_F(CachedFile, AnEndBeforeTheSizeIsNotBelieved) {
  for (const int reads : {0, 3}) {
    const Fd file = make(scratch_ / ("file" + std::to_string(reads)), 1'000'003);
    CachedFileSource source(file.get(), notify_);
    reads_until_a_false_end = reads;
    EXPECT_EQ(drain(source), content_.back());
    reads_until_a_false_end = -1;
    EXPECT_FALSE(source.fault());
  }
}

TEST_F(CachedFile, AFileSystemThatCannotTellIsReadByAThread) {
  const Fd file(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));  // says that it has no size, too
  CachedFileSource source(file.get(), notify_);
  const Bytes all = drain(source);
  EXPECT_TRUE(source.waits_for_disk());
  EXPECT_NE(as_text(all).find("VmRSS"), std::string_view::npos);
  EXPECT_FALSE(source.fault());
}

TEST_F(CachedFile, ReadingBeginsAtThePositionAndMovesIt) {
  const Fd file = make(scratch_ / "file", 10'000);
  ASSERT_EQ(::lseek(file.get(), 9'000, SEEK_SET), 9'000);
  CachedFileSource source(file.get(), notify_);
  EXPECT_EQ(source.expected_bytes(), 1'000u);
  EXPECT_EQ(drain(source), Bytes(content_.back().begin() + 9'000, content_.back().end()));
  EXPECT_EQ(::lseek(file.get(), 0, SEEK_CUR), 10'000);
}

TEST_F(CachedFile, AFileThatCannotBeReadSaysWhy) {
  const std::string path = scratch_ / "file";
  make(path, 100);
  const Fd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  CachedFileSource source(file.get(), notify_);
  EXPECT_TRUE(drain(source).empty());
  ASSERT_TRUE(source.fault());
  EXPECT_EQ(source.fault()->code, bulk::AbortCode::ReadFailed);
  EXPECT_NE(source.fault()->reason.find("Bad file descriptor"), std::string::npos);
}

}  // namespace
}  // namespace dh::io
