#pragma once

// Writing regular files, past the page cache where that is cheaper.

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>

#include <sys/types.h>

#include "base/bytes.hh"
#include "io/write_way.hh"

namespace dh::io {

/// Writes a regular file from its current position on, which it moves as write(2) does, whichever way the
/// bytes go: others who share the position may write in between. One thread; may block. The descriptor stays
/// the caller's.
class FileWriter {
public:
  explicit FileWriter(int fd);
  /// As write(2): how many bytes were written, or -1 and errno.
  ssize_t write(ByteView bytes);
  /// The next bytes may go past the page cache, if they are many and lie at a multiple of WriteWay::kBlock in
  /// memory where they do in the file.
  bool wants_blocks() const { return way_ && way_->is_direct(); }
  std::uint64_t direct_bytes() const { return direct_bytes_; }

private:
  ssize_t write_cached(ByteView bytes);
  ssize_t write_direct(ByteView bytes);
  ssize_t write_otherwise(ByteView bytes);

  const int fd_;
  Fd direct_;
  std::optional<WriteWay> way_;
  std::uint64_t direct_bytes_ = 0;
};

/// Writes pieces of one file after the other where they belong, past the page cache where they are large and
/// that is cheaper. One thread; may block.
class PieceWriter {
public:
  /// As pwrite(2). Pieces may lie anywhere in memory; the large ones are copied once more.
  ssize_t write(int fd, std::uint64_t at, ByteView bytes);
  /// Another file comes, or none.
  void end_file() { direct_.reset(); }
  std::uint64_t direct_bytes() const { return direct_bytes_; }

private:
  static constexpr std::size_t kMostBytes = 1u << 20;  // in one call
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  ssize_t write_direct(int fd, std::uint64_t at, ByteView bytes);

  WriteWay way_;
  Fd direct_;
  std::unique_ptr<std::byte[], Free> blocks_;  // where a piece lies as the disk wants it
  std::uint64_t direct_bytes_ = 0;
};

}  // namespace dh::io
