// The ends of a pipe that cost (nearly) nothing, for measuring what is between them.
//   bench_stream_ends source BYTES   writes so many bytes to stdout, mapped out of one block of memory
//   bench_stream_ends sink           throws away what comes from stdin; prints bytes and seconds, first to
//   last
// Both need a pipe. Neither copies: the source lends its pages (vmsplice), the sink passes them on to
// /dev/null.

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <vector>

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

namespace {

constexpr int kPipeBytes = 1 << 20;  // what an unprivileged process may ask for

int fail(const char* what) {
  std::fprintf(stderr, "stream_ends: %s: %s\n", what, std::strerror(errno));
  return 1;
}

double seconds_now() {
  timespec at{};
  ::clock_gettime(CLOCK_MONOTONIC, &at);
  return static_cast<double>(at.tv_sec) + static_cast<double>(at.tv_nsec) * 1e-9;
}

int source(std::uint64_t left) {
  ::fcntl(STDOUT_FILENO, F_SETPIPE_SZ, kPipeBytes);
  // Not all zeros: nothing on the way shall find it easy. Never written again, because the pipe holds the
  // pages.
  std::vector<unsigned char> block(kPipeBytes);
  for (std::size_t i = 0; i < block.size(); ++i)
    block[i] = static_cast<unsigned char>((i * 2654435761u) >> 13);
  std::size_t at = 0;
  while (left > 0) {
    iovec part{block.data() + at, static_cast<std::size_t>(std::min<std::uint64_t>(left, block.size() - at))};
    const ssize_t sent = ::vmsplice(STDOUT_FILENO, &part, 1, 0);
    if (sent < 0) return fail("vmsplice to stdout");
    left -= static_cast<std::uint64_t>(sent);
    at = (at + static_cast<std::size_t>(sent)) % block.size();
  }
  return 0;
}

int sink() {
  ::fcntl(STDIN_FILENO, F_SETPIPE_SZ, kPipeBytes);
  const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (nowhere < 0) return fail("/dev/null");
  std::uint64_t total = 0;
  double first = 0, last = 0;
  for (;;) {
    const ssize_t got = ::splice(STDIN_FILENO, nullptr, nowhere, nullptr, kPipeBytes, SPLICE_F_MOVE);
    if (got < 0) return fail("splice from stdin");
    if (got == 0) break;
    last = seconds_now();
    if (total == 0) first = last;
    total += static_cast<std::uint64_t>(got);
  }
  std::printf("{\"bytes\":%llu,\"seconds\":%.6f}\n", static_cast<unsigned long long>(total), last - first);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "source") == 0) return source(std::strtoull(argv[2], nullptr, 10));
  if (argc == 2 && std::strcmp(argv[1], "sink") == 0) return sink();
  std::fprintf(stderr, "usage: stream_ends source BYTES | stream_ends sink\n");
  return 2;
}
