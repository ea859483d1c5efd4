#pragma once

// What send and receive say alike.

#include <string>

#include "io/transfer_source.hh"
#include "reporter.hh"
#include "transfer/manifest.hh"
#include "transfer/progress.hh"

namespace dh::app {

/// `1 file`, `3 files`
std::string count_files(std::uint64_t count);
/// `photos (120 files, 1.20 GB)`, `a.txt, b.txt and 3 more (...)`, `a text of 12 bytes`.
std::string describe(const transfer::Manifest& manifest);
/// Shows how far it is.
void show_transfer(Reporter& reporter, const transfer::Manifest& manifest, const transfer::Progress& progress,
                   const std::string& badge);
/// `120 files, 1.2 GB in 12 s, 100 MB/s, direct 100%`
std::string transfer_line(const transfer::Manifest& manifest, std::uint64_t moved, Duration open_for,
                          const std::string& shares);
/// No stall longer than two seconds without a word: says once why nothing moves.
class Stalls {
public:
  /// Nothing moves, because of `why`. To be called again and again while that is so.
  void tell(Reporter& reporter, const char* why);
  void moves() { why_ = nullptr; }

private:
  const char* why_ = nullptr;
  Instant since_{};
  bool told_ = false;
};
/// --verify: a line for each file, then the string to compare.
void show_digests(Reporter& reporter, const std::vector<io::FileDigest>& digests, const std::string& check);

}  // namespace dh::app
