#pragma once

#include <optional>
#include <string>

#include "base/time.hh"

namespace dh::io {

/// One fetched DERP map as it lies on disk.
struct CachedMap {
  std::string url;   // where it was asked for, before redirects
  std::string etag;  // empty: the server gave none
  UnixSeconds fetched{};
  std::string text;  // the JSON as it came; the reader parses it again
  bool operator==(const CachedMap&) const = default;
};

/// A folder with one file per URL, readable by its owner only. Writers replace files by renaming, so a reader
/// sees the old one or the new one, never half of one.
class MapCache {
public:
  /// `directory` empty: nothing is found, nothing is kept.
  explicit MapCache(std::string directory) : directory_(std::move(directory)) {}

  /// Empty when there is none, or it is damaged, too large, or belongs to another URL.
  std::optional<CachedMap> load(const std::string& url) const;
  /// False when it could not be written; the old file, if any, is then untouched.
  bool store(const CachedMap& entry) const;
  std::string path_of(const std::string& url) const;

private:
  std::string directory_;
};

/// Reads at most `max_bytes`. Empty when the file cannot be read or is larger.
std::optional<std::string> read_small_file(const std::string& path, std::size_t max_bytes);

}  // namespace dh::io
