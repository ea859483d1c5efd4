#pragma once

#include <cstddef>
#include <cstdint>

namespace dh::transfer {

inline constexpr std::size_t kBlockBytes = 1u << 20;    // what has a digest of its own; resume works in these
inline constexpr std::size_t kMaxComponentBytes = 255;  // of one name: every file system's limit
inline constexpr std::size_t kMaxDepth = 64;            // components of a path
inline constexpr std::size_t kMaxLinkBytes = 4095;      // PATH_MAX without its NUL
inline constexpr std::uint32_t kMaxEntries = 4'000'000;  // of a manifest: 160 MB in memory
inline constexpr std::size_t kMaxMetadataBytes = 256u
                                                 << 20;  // of a manifest on the wire, charged as it arrives
inline constexpr std::size_t kManifestPartBytes = 64u << 10;  // of one manifest record
inline constexpr std::size_t kMaxTextBytes = 16u << 20;       // a text is kept in memory until it is shown
inline constexpr std::uint64_t kMaxFileBytes = 1ULL << 52;    // block numbers have 32 bits
inline constexpr std::size_t kMaxReasonBytes = 200;           // of the peer's words
inline constexpr std::size_t kMaxMessageBytes = 1000;         // what the control channel takes at once
inline constexpr std::size_t kMaxJournalBytes = 1u << 30;     // ours, but from a disk

constexpr std::uint32_t block_count(std::uint64_t size) {
  return static_cast<std::uint32_t>((size + kBlockBytes - 1) / kBlockBytes);
}
/// Bytes of block `block` of a file of `size` bytes.
constexpr std::size_t block_size(std::uint64_t size, std::uint32_t block) {
  const std::uint64_t at = std::uint64_t{block} * kBlockBytes;
  return static_cast<std::size_t>(size - at < kBlockBytes ? size - at : kBlockBytes);
}

}  // namespace dh::transfer
