#include "io/derp_map_source.hh"

#include <cstdlib>

#include "base/printable.hh"
#include "base/web_url.hh"
#include "io/clock.hh"
#include "io/http_get.hh"
#include "io/map_cache.hh"

namespace dh::io {
namespace {

// A copy of one URL's map that is good enough to parse.
struct Copy {
  CachedMap cached;
  derp::DerpMap map;
};

std::string age_text(std::chrono::seconds age) {
  const auto count = age.count();
  if (count < 0) return "at an unknown time";
  if (count < 7200) return std::to_string(count / 60) + " minutes ago";
  if (count < 172800) return std::to_string(count / 3600) + " hours ago";
  return std::to_string(count / 86400) + " days ago";
}

std::expected<LoadedMap, std::string> load_file(const std::string& path) {
  const auto text = read_small_file(path, derp::kMaxMapText);
  if (!text) {
    return std::unexpected("the DERP map file \"" + printable(path) +
                           "\" cannot be read, or is larger than 2 MiB");
  }
  auto map = derp::DerpMap::parse(*text);
  if (!map) return std::unexpected("in the file \"" + printable(path) + "\", " + map.error());
  LoadedMap loaded;
  loaded.map = std::move(*map);
  loaded.origin = MapOrigin::File;
  loaded.source = path;
  return loaded;
}

std::optional<Copy> load_copy(const MapCache& cache, const std::string& url) {
  auto cached = cache.load(url);
  if (!cached) return std::nullopt;
  auto map = derp::DerpMap::parse(cached->text);
  if (!map) return std::nullopt;
  return Copy{.cached = std::move(*cached), .map = std::move(*map)};
}

LoadedMap from_copy(Copy copy, MapOrigin origin, UnixSeconds wall_now) {
  LoadedMap loaded;
  loaded.map = std::move(copy.map);
  loaded.origin = origin;
  loaded.source = copy.cached.url;
  loaded.age = wall_now - copy.cached.fetched;
  return loaded;
}

// One URL, asked with our copy's ETag. A server that knows nothing newer refreshes the copy.
asio::awaitable<std::expected<LoadedMap, std::string>> fetch(std::string url, std::optional<Copy> copy,
                                                             MapCache cache, DialOptions dial,
                                                             UnixSeconds wall_now) {
  HttpGetRequest request;
  request.url = url;
  request.max_body = derp::kMaxMapText;
  if (copy) request.if_none_match = copy->cached.etag;
  auto response = co_await http_get(std::move(request), std::move(dial));
  if (!response) co_return std::unexpected(std::move(response.error()));
  if (response->status == 304 && copy) {
    copy->cached.fetched = wall_now;
    cache.store(copy->cached);
    co_return from_copy(std::move(*copy), MapOrigin::Revalidated, wall_now);
  }
  if (response->status != 200) {
    co_return std::unexpected("could not fetch " + printable(url) + ": the server answered " +
                              std::to_string(response->status));
  }
  auto map = derp::DerpMap::parse(response->body);
  if (!map) co_return std::unexpected("from " + printable(url) + ", " + map.error());
  // A map without regions parses, but it is what a broken server sends; the old copy is worth more.
  if (map->regions.empty()) co_return std::unexpected("the DERP map from " + printable(url) + " is empty");
  const CachedMap entry{
      .url = url, .etag = std::move(response->etag), .fetched = wall_now, .text = std::move(response->body)};
  cache.store(entry);  // no cache is no reason to fail
  LoadedMap loaded;
  loaded.map = std::move(*map);
  loaded.origin = MapOrigin::Fetched;
  loaded.source = url;
  co_return loaded;
}

std::optional<std::string> url_problem(const std::string& url) {
  const auto parsed = WebUrl::parse(url);
  if (!parsed) return "the DERP map URL \"" + printable(url) + "\" " + parsed.error();
  if (!parsed->tls && !parsed->is_loopback())
    return "the DERP map URL \"" + printable(url) + "\" uses http://, which is for this machine only";
  return std::nullopt;
}

}  // namespace

std::string_view to_string(MapOrigin origin) {
  switch (origin) {
    case MapOrigin::File:
      return "file";
    case MapOrigin::Fetched:
      return "fetched";
    case MapOrigin::Revalidated:
      return "revalidated";
    case MapOrigin::FreshCache:
      return "fresh cache";
    case MapOrigin::StaleCache:
      return "stale cache";
  }
  return "unknown";
}

bool is_map_url(std::string_view source) {
  return source.find("://") != std::string_view::npos;
}

asio::awaitable<std::expected<LoadedMap, std::string>> load_derp_map(DerpMapOptions options) {
  if (!options.source.empty() && !is_map_url(options.source)) co_return load_file(options.source);
  std::vector<std::string> urls = std::move(options.default_urls);
  if (!options.source.empty()) urls.assign(1, options.source);
  for (const std::string& url : urls)
    if (auto problem = url_problem(url)) co_return std::unexpected(std::move(*problem));

  const MapCache cache(options.cache_dir);
  std::vector<std::optional<Copy>> copies;
  for (const std::string& url : urls) {
    auto copy = load_copy(cache, url);
    const auto age = copy ? options.wall_now - copy->cached.fetched : std::chrono::seconds(-1);
    // A copy from the future means a clock was set back: its age is unknown, so ask.
    if (copy && age >= std::chrono::seconds(0) && age < kMapFreshness)
      co_return from_copy(std::move(*copy), MapOrigin::FreshCache, options.wall_now);
    copies.push_back(std::move(copy));
  }

  const Instant deadline = now() + options.dial.timeout;
  std::string errors;
  for (std::size_t i = 0; i < urls.size(); ++i) {
    DialOptions dial = options.dial;
    dial.timeout = (deadline - now()) / static_cast<int>(urls.size() - i);  // leave time for the others
    if (dial.timeout <= Duration::zero()) break;
    auto loaded = co_await fetch(urls[i], copies[i], cache, std::move(dial), options.wall_now);
    if (loaded) co_return std::move(*loaded);
    errors += (errors.empty() ? "" : "; ") + loaded.error();
  }
  if (errors.empty()) errors = "there was no time to fetch the DERP map";
  for (auto& copy : copies) {
    if (!copy) continue;
    LoadedMap loaded = from_copy(std::move(*copy), MapOrigin::StaleCache, options.wall_now);
    loaded.note = "using the relay map saved " + age_text(loaded.age) +
                  ", because a new one was not to be had: " + errors;
    co_return loaded;
  }
  co_return std::unexpected(std::move(errors));
}

std::string default_cache_dir() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache && cache[0] == '/') return std::string(cache) + "/derphole";
  const char* home = std::getenv("HOME");
  if (home && home[0] == '/') return std::string(home) + "/.cache/derphole";
  return {};
}

}  // namespace dh::io
