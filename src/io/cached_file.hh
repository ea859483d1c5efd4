#pragma once

// A regular file as the source of a session's stream, as long as what is read next lies in memory.

#include <memory>

#include "io/stream_ends.hh"

namespace dh::io {

class FileSource;

/// Reads a regular file from its current position to its end. What the page cache holds is read by the
/// network loop itself, straight into the stream's buffer (preadv2(2), RWF_NOWAIT): no thread, no copy. At
/// the first byte that would have to be waited for, a FileSource takes over for good, also where the kernel
/// calls the end what lies before the file's size. The descriptor stays the caller's; its position moves as
/// with read(2). One executor.
class CachedFileSource final : public StreamSource {
public:
  CachedFileSource(int fd, PumpNotify notify);
  ~CachedFileSource() override;

  std::size_t read(ByteSpan room) override;
  bool finished() const override;
  std::optional<StreamFault> fault() const override;
  std::uint64_t expected_bytes() const override { return expected_bytes_; }
  /// A FileSource has taken over.
  bool waits_for_disk() const { return slow_ != nullptr; }

private:
  const int fd_;
  const bool in_memory_;  // the file system has no disk below it
  const std::uint64_t expected_bytes_;
  PumpNotify notify_;
  std::unique_ptr<FileSource> slow_;
  bool ended_ = false;
  int error_ = 0;
};

}  // namespace dh::io
