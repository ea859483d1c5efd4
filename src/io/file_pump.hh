#pragma once

// Files, terminals and sockets at the ends of a session's stream, without ever holding up the network loop:
// each has a thread that may block. Their file status flags are left alone, because they are shared with
// other processes.

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "io/byte_ring.hh"
#include "io/file_writer.hh"
#include "io/stream_ends.hh"

namespace dh::io {

bool is_regular(int fd);
/// From a regular file's position to its end; 0: something else, or nothing.
std::uint64_t bytes_ahead(int fd);

/// Reads a descriptor to its end, at most kCapacity bytes ahead. The descriptor stays the caller's.
class FileSource final : public StreamSource {
public:
  static constexpr std::size_t kCapacity =
      512u << 10;  // bytes read ahead of the network: more would leave the cache

  FileSource(int fd, PumpNotify notify);
  ~FileSource() override;
  FileSource(const FileSource&) = delete;

  std::size_t read(ByteSpan room) override { return ring_.read_now(room); }
  bool finished() const override { return ring_.drained(); }  // end of file (or error) and everything read
  std::optional<StreamFault> fault() const override;
  std::string error() const { return ring_.error(); }
  /// Size of a regular file from its current position; 0 when unknown.
  std::uint64_t expected_bytes() const override { return expected_bytes_; }

private:
  void run();

  const int fd_;
  const bool is_regular_;
  const int wake_;  // eventfd: ends a poll() on a silent descriptor
  PumpNotify notify_;
  ByteRing ring_{kCapacity};
  std::uint64_t expected_bytes_ = 0;
  std::thread thread_;
};

/// Writes everything it is given, in order, at most kCapacity bytes behind.
class FileSink final : public StreamSink {
public:
  static constexpr std::size_t kCapacity = 1u << 20;  // bytes the reader of stdout may be behind
  static constexpr std::size_t kFileCapacity =
      4u << 20;  // ... a file: enough for large writes past the page cache

  FileSink(int fd, PumpNotify notify);
  ~FileSink() override;
  FileSink(const FileSink&) = delete;

  /// Bytes taken; fewer when the descriptor is slow.
  std::size_t write(ByteView data) override { return ring_.write_now(data); }
  void finish() override { ring_.end(); }
  bool finished() const override { return finished_; }  // after finish(): everything is written
  std::optional<StreamFault> fault() const override;
  std::string error() const { return ring_error(); }  // empty while all is well

private:
  void run();
  std::string ring_error() const;

  ssize_t write_some(ByteView bytes);

  const int fd_;
  std::optional<FileWriter> file_;  // of a regular one
  const int wake_;
  PumpNotify notify_;
  ByteRing ring_;
  std::atomic<bool> finished_ = false;
  mutable std::mutex error_mutex_;
  std::string error_;
  std::thread thread_;
};

}  // namespace dh::io
