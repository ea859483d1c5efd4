#include "io/map_cache.hh"

#include <filesystem>
#include <fstream>
#include <stdlib.h>

#include <boost/json.hpp>
#include <fcntl.h>
#include <unistd.h>

#include "crypto/hash.hh"
#include "derp/derp_map.hh"

namespace dh::io {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

// Escaping at most doubles the quotes and backslashes of a map; control characters do not occur in one.
constexpr std::size_t kMaxCacheFile = 2 * derp::kMaxMapText + (64u << 10);
constexpr std::size_t kCacheDepth = 4;

std::string text_of(const json::object& object, const char* name) {
  const json::value* value = object.if_contains(name);
  if (!value || !value->is_string()) return {};
  return {value->get_string().data(), value->get_string().size()};
}

bool write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(file, text.data(), text.size());
    if (written <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

std::optional<std::string> read_small_file(const std::string& path, std::size_t max_bytes) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::string text(max_bytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad() || (file.gcount() == 0 && !file.eof())) return std::nullopt;  // a directory, for one
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > max_bytes) return std::nullopt;
  return text;
}

std::string MapCache::path_of(const std::string& url) const {
  return directory_ + "/derp-map-" + to_hex(ByteView(sha256(as_bytes(url))).first(8)) + ".json";
}

std::optional<CachedMap> MapCache::load(const std::string& url) const {
  if (directory_.empty()) return std::nullopt;
  const auto text = read_small_file(path_of(url), kMaxCacheFile);
  if (!text) return std::nullopt;
  json::parse_options options;
  options.max_depth = kCacheDepth;
  json::error_code error;
  const json::value root = json::parse(*text, error, {}, options);
  if (error || !root.is_object()) return std::nullopt;
  const json::object& object = root.get_object();
  CachedMap entry{.url = text_of(object, "url"),
                  .etag = text_of(object, "etag"),
                  .fetched = {},
                  .text = text_of(object, "map")};
  const json::value* fetched = object.if_contains("fetched");
  if (!fetched || !fetched->is_int64() || entry.url != url || entry.text.empty()) return std::nullopt;
  entry.fetched = UnixSeconds(std::chrono::seconds(fetched->get_int64()));
  return entry;
}

bool MapCache::store(const CachedMap& entry) const {
  if (directory_.empty()) return false;
  std::error_code failed;
  if (fs::create_directories(directory_, failed) && !failed)
    fs::permissions(directory_, fs::perms::owner_all, failed);
  const json::object object{{"url", entry.url},
                            {"etag", entry.etag},
                            {"fetched", entry.fetched.time_since_epoch().count()},
                            {"map", entry.text}};
  const std::string path = path_of(entry.url);
  std::string temporary = path + ".XXXXXX";
  const int file = ::mkostemp(temporary.data(), O_CLOEXEC);  // creates it 0600
  if (file < 0) return false;
  const bool written = write_all(file, json::serialize(object));
  const bool closed = ::close(file) == 0;
  if (written && closed && ::rename(temporary.c_str(), path.c_str()) == 0) return true;
  ::unlink(temporary.c_str());
  return false;
}

}  // namespace dh::io
