#pragma once

// Pipes at the ends of a session's stream. Reading and writing them never blocks, so the network loop does it
// itself, straight from and into the stream's buffers: no thread, no copy, no waking each other up.

#include <memory>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "io/listen_socket.hh"
#include "io/stream_ends.hh"

namespace dh::io {

/// A pipe opened once more through /proc, so that it has status flags of its own and may be non-blocking
/// without disturbing whoever shares the original. Also the null device. Empty: neither, or there is no
/// /proc.
Fd reopen_pipe(int fd, int mode);

/// A descriptor that never blocks, and the wait for it to be ready. One executor.
class ReadyWait {
public:
  using Direction = boost::asio::posix::stream_descriptor::wait_type;
  ReadyWait(boost::asio::any_io_executor executor, Fd fd, Direction direction, PumpNotify notify);
  ~ReadyWait();
  ReadyWait(const ReadyWait&) = delete;
  int fd() const { return fd_.get(); }
  /// Notifies once when it is ready; a second call before that changes nothing.
  void start();

private:
  boost::asio::any_io_executor executor_;
  Fd fd_;
  Direction direction_;
  PumpNotify notify_;
  std::unique_ptr<boost::asio::posix::stream_descriptor> descriptor_;  // once something was waited for
  std::shared_ptr<bool> waiting_ = std::make_shared<bool>(false);
};

/// Reads a pipe to its end.
class PipeSource final : public StreamSource {
public:
  PipeSource(boost::asio::any_io_executor executor, Fd pipe, PumpNotify notify);
  std::size_t read(ByteSpan room) override;
  bool finished() const override { return ended_; }
  std::optional<StreamFault> fault() const override;
  std::uint64_t expected_bytes() const override { return 0; }

private:
  ReadyWait pipe_;
  bool ended_ = false;
  int error_ = 0;
};

/// Writes into a pipe what fits.
class PipeSink final : public StreamSink {
public:
  PipeSink(boost::asio::any_io_executor executor, Fd pipe, PumpNotify notify);
  std::size_t write(ByteView data) override;
  void finish() override { finished_ = true; }
  bool finished() const override { return finished_; }
  std::optional<StreamFault> fault() const override;

private:
  ReadyWait pipe_;
  bool finished_ = false;
  int error_ = 0;
};

}  // namespace dh::io
