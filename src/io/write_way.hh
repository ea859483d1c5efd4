#pragma once

// Through the page cache, or past it (O_DIRECT): whichever costs less time a byte.

#include "io/cheaper_way.hh"
#include "io/listen_socket.hh"

namespace dh::io {

/// Compares both ways while a file, or one file after the other, is written. The first kFirstBytes go through
/// the cache, the next kSampleBytes past it; the cheaper way is used for kPeriodBytes, then both are compared
/// again. Where memory for the page cache is dear (a virtual machine that has to ask its host for each page)
/// the disk itself is several times faster; where it is not, nothing changes but for the samples.
class WriteWay {
public:
  static constexpr std::uint64_t kFirstBytes = 64u << 20, kSampleBytes = 16u << 20, kPeriodBytes = 512u << 20;
  static constexpr std::size_t kBlock = 4096;             // offsets, sizes and memory are multiples of it
  static constexpr std::size_t kLeastBytes = 128u << 10;  // less than this is not worth going to the disk

  bool is_direct() const { return way_.is_second(); }
  /// So much was written, past the cache or, because it did not fit, through it all the same.
  void went(bool direct, std::uint64_t bytes, Duration took) { way_.went(direct, bytes, took); }
  /// Not for this file system: through the cache from now on.
  void give_up() { way_.give_up(); }

private:
  CheaperWay way_{{.first = kFirstBytes, .sample = kSampleBytes, .period = kPeriodBytes}};
};

/// A descriptor of its own for writing `fd` past the cache: that flag may not be set where others share it.
/// Empty: the file system does not have it, or there is no /proc.
Fd reopen_direct(int fd);

}  // namespace dh::io
