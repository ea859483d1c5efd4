#include "io/pipe_ends.hh"

#include <csignal>

#include <boost/asio/io_context.hpp>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "io/cached_file.hh"
#include "io/file_pump.hh"
#include "io/std_ends.hh"

namespace dh::io {
namespace {

class PipeEnds : public testing::Test {
protected:
  PipeEnds() {
    ::signal(SIGPIPE, SIG_IGN);
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) abort();
    read_end_ = Fd(ends[0]);
    write_end_ = Fd(ends[1]);
  }

  std::unique_ptr<StreamSource> source() {
    return input(context_.get_executor(), read_end_.get())([this] { ++rings_; });
  }
  std::unique_ptr<StreamSink> sink() {
    return output(context_.get_executor(), write_end_.get())([this] { ++rings_; });
  }
  void put(std::string_view text) {
    ASSERT_EQ(::write(write_end_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  std::string read_from(StreamSource& source) {
    Bytes room(100);
    return std::string(as_text(ByteView(room).first(source.read(room))));
  }
  // What happens until the next notification.
  void wait() {
    const int seen = rings_;
    while (rings_ == seen) {
      context_.restart();
      ASSERT_GT(context_.run_one_for(std::chrono::seconds(10)), 0u) << "nobody is told";
    }
  }

  boost::asio::io_context context_;
  Fd read_end_, write_end_;
  int rings_ = 0;
};

TEST_F(PipeEnds, WhatIsThereIsReadAtOnceAndTheRestIsWaitedFor) {
  put("hello");
  const auto pipe = source();
  EXPECT_EQ(read_from(*pipe), "hello");
  EXPECT_EQ(read_from(*pipe), "");
  EXPECT_EQ(read_from(*pipe), "");  // one wait for both
  EXPECT_FALSE(pipe->finished());
  put(" again");
  wait();
  EXPECT_EQ(rings_, 1);
  EXPECT_EQ(read_from(*pipe), " again");
  EXPECT_EQ(read_from(*pipe), "");
  write_end_.reset();
  wait();
  EXPECT_EQ(read_from(*pipe), "");
  EXPECT_TRUE(pipe->finished());
  EXPECT_FALSE(pipe->fault().has_value());
}

TEST_F(PipeEnds, TheOriginalsFlagsStay) {
  const auto from = source();
  const auto to = sink();
  EXPECT_EQ(::fcntl(read_end_.get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(::fcntl(write_end_.get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST_F(PipeEnds, MayGoWhileTheyAreWaitedFor) {
  auto pipe = source();
  EXPECT_EQ(read_from(*pipe), "");
  pipe.reset();
  put("x");
  context_.poll();
  EXPECT_EQ(rings_, 0);
}

TEST_F(PipeEnds, ASlowReaderTakesWhatFitsAndIsWaitedFor) {
  const Bytes data(3 << 20, std::byte{7});
  const auto pipe = sink();
  std::size_t written = pipe->write(data), read = 0;
  EXPECT_LT(written, data.size());
  EXPECT_EQ(pipe->write(ByteView(data).subspan(written)), 0u);
  Bytes buffer(1 << 20);
  while (read < data.size()) {
    const ssize_t size = ::read(read_end_.get(), buffer.data(), buffer.size());
    ASSERT_GT(size, 0);
    read += static_cast<std::size_t>(size);
    if (written == data.size()) continue;
    wait();
    written += pipe->write(ByteView(data).subspan(written));
  }
  EXPECT_EQ(written, data.size());
  pipe->finish();
  EXPECT_TRUE(pipe->finished());
}

TEST_F(PipeEnds, AReaderThatWentAwayIsAFault) {
  const auto pipe = sink();
  read_end_.reset();
  EXPECT_EQ(pipe->write(as_bytes("nobody reads this")), 0u);
  ASSERT_TRUE(pipe->fault().has_value());
  EXPECT_EQ(pipe->fault()->reason, "cannot write the output: Broken pipe");
}

TEST_F(PipeEnds, AReaderThatGoesAwayWhileWeWaitIsAFault) {
  const Bytes data(3 << 20);
  const auto pipe = sink();
  EXPECT_LT(pipe->write(data), data.size());
  EXPECT_FALSE(pipe->fault().has_value());
  read_end_.reset();
  wait();
  EXPECT_EQ(pipe->write(data), 0u);
  EXPECT_TRUE(pipe->fault().has_value());
}

TEST_F(PipeEnds, TheNullDeviceTakesEverythingAtOnce) {
  const Fd null(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  const auto sink = output(context_.get_executor(), null.get())([] {});
  EXPECT_EQ(sink->write(Bytes(5 << 20)), std::size_t{5} << 20);
}

TEST_F(PipeEnds, AFileIsReadFromMemoryAndWhateverElseMayBlockGetsAThread) {
  const Fd file(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));
  const auto from_file = input(context_.get_executor(), file.get())([] {});
  EXPECT_NE(dynamic_cast<CachedFileSource*>(from_file.get()), nullptr);
  const Fd zeros(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  const auto from_device = input(context_.get_executor(), zeros.get())([] {});
  EXPECT_NE(dynamic_cast<FileSource*>(from_device.get()), nullptr);
}

}  // namespace
}  // namespace dh::io
