#include "io/file_pump.hh"

#include <csignal>
#include <future>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace dh::io {
namespace {

struct Pipe {
  Pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) abort();
    read_end = ends[0];
    write_end = ends[1];
  }
  ~Pipe() {
    close_read();
    close_write();
  }
  void close_read() {
    if (read_end >= 0) ::close(read_end);
    read_end = -1;
  }
  void close_write() {
    if (write_end >= 0) ::close(write_end);
    write_end = -1;
  }
  int read_end, write_end;
};

// Counts notifications and lets a test wait for the next one.
struct Bell {
  PumpNotify ring() {
    return [this] {
      const std::lock_guard lock(mutex);
      ++rings;
      changed.notify_all();
    };
  }
  template <class Done>
  bool wait(Done done) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(10), [&] { return done(); });
  }
  std::mutex mutex;
  std::condition_variable changed;
  int rings = 0;
};

TEST(FileSource, ReadsAPipeToItsEnd) {
  Pipe pipe;
  Bell bell;
  FileSource source(pipe.read_end, bell.ring());
  ASSERT_EQ(::write(pipe.write_end, "hello", 5), 5);
  Bytes got(9);
  std::size_t size = 0;
  ASSERT_TRUE(bell.wait([&] {
    size += source.read(ByteSpan(got).subspan(size));
    return size == 5;
  }));
  EXPECT_EQ(as_text(ByteView(got).first(5)), "hello");
  EXPECT_FALSE(source.finished());
  pipe.close_write();
  ASSERT_TRUE(bell.wait([&] { return source.finished(); }));
  EXPECT_EQ(source.error(), "");
}

TEST(FileSource, CanBeDestroyedWhileNothingComes) {
  Pipe pipe;
  Bell bell;
  FileSource source(pipe.read_end, bell.ring());
}

TEST(FileSource, LeavesTheDescriptorsFlagsAlone) {
  Pipe pipe;
  Bell bell;
  const int before = fcntl(pipe.read_end, F_GETFL);
  {
    FileSource source(pipe.read_end, bell.ring());
    ASSERT_EQ(::write(pipe.write_end, "x", 1), 1);
    Bytes got(1);
    ASSERT_TRUE(bell.wait([&] { return source.read(got) == 1; }));
  }
  EXPECT_EQ(fcntl(pipe.read_end, F_GETFL), before);
}

TEST(FileSource, SaysWhyItCannotRead) {
  Bell bell;
  const int directory = ::open("/", O_RDONLY | O_CLOEXEC);
  FileSource source(directory, bell.ring());
  ASSERT_TRUE(bell.wait([&] { return source.finished(); }));
  EXPECT_NE(source.error(), "");
  ::close(directory);
}

TEST(FileSink, WritesEverythingThenIsFinished) {
  Pipe pipe;
  Bell bell;
  const std::size_t size = 3 * FileSink::kCapacity;
  auto reader = std::async(std::launch::async, [&] {
    std::size_t total = 0;
    Bytes buffer(65536);
    for (ssize_t n; (n = ::read(pipe.read_end, buffer.data(), buffer.size())) > 0;)
      total += static_cast<std::size_t>(n);
    return total;
  });
  {
    FileSink sink(pipe.write_end, bell.ring());
    const Bytes data(size, std::byte{7});
    std::size_t written = 0;
    while (written < size) {
      const std::size_t taken = sink.write(ByteView(data).subspan(written));
      written += taken;
      if (taken == 0) {
        const int seen = bell.rings;
        ASSERT_TRUE(bell.wait([&] { return bell.rings != seen; }));
      }
    }
    sink.finish();
    ASSERT_TRUE(bell.wait([&] { return sink.finished(); }));
  }
  pipe.close_write();
  EXPECT_EQ(reader.get(), size);
}

TEST(FileSink, TakesNoMoreThanItsCapacityFromAReaderThatStopped) {
  Pipe pipe;
  Bell bell;
  FileSink sink(pipe.write_end, bell.ring());
  const Bytes data(8 * FileSink::kCapacity);
  std::size_t taken = 0;
  for (int i = 0; i < 100; ++i) taken += sink.write(data);
  EXPECT_LE(taken, FileSink::kCapacity + (1u << 20));  // and what the pipe itself holds
}

TEST(FileSink, ReportsAReaderThatWentAway) {
  Pipe pipe;
  Bell bell;
  ::signal(SIGPIPE, SIG_IGN);
  FileSink sink(pipe.write_end, bell.ring());
  pipe.close_read();
  sink.write(as_bytes("nobody reads this"));
  ASSERT_TRUE(bell.wait([&] { return !sink.error().empty(); }));
  EXPECT_FALSE(sink.finished());
}

}  // namespace
}  // namespace dh::io
