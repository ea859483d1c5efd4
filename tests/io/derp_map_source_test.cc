#include "io/derp_map_source.hh"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <unistd.h>

#include "io/loopback_servers.hh"
#include "io/map_cache.hh"
#include "scratch_directory.hh"

namespace dh::io {
namespace {

namespace fs = std::filesystem;
using test::http_answer;
using test::HttpServer;
using testing::HasSubstr;

const std::string kMap = R"({"Regions":{"1":{"RegionID":1,"Nodes":[{"HostName":"one.example"}]}}})";
const std::string kOther = R"({"Regions":{"2":{"RegionID":2,"Nodes":[{"HostName":"two.example"}]}}})";
const UnixSeconds kNoon{std::chrono::seconds(1'800'000'000)};

class DerpMapSource : public testing::Test {
protected:
  std::expected<LoadedMap, std::string> load(const std::string& source, UnixSeconds at = kNoon) {
    DerpMapOptions options;
    options.source = source;
    options.cache_dir = folder_ / "cache";
    options.dial.timeout = 500ms;
    options.wall_now = at;
    return test::run(context_, load_derp_map(std::move(options)));
  }
  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }

  asio::io_context context_;
  ScratchDirectory folder_;
  std::string answer_ = http_answer("200 OK", kMap, "ETag: \"v1\"\r\n");
  HttpServer server_{context_, [this](const auto&) { return answer_; }};
};

TEST_F(DerpMapSource, ReadsAFile) {
  const auto loaded = load(write("map.json", kMap));
  ASSERT_TRUE(loaded.has_value()) << loaded.error();
  EXPECT_EQ(loaded->origin, MapOrigin::File);
  EXPECT_TRUE(loaded->map.regions.contains(1));
}

TEST_F(DerpMapSource, SaysWhyAFileWillNotDo) {
  EXPECT_THAT(load(folder_ / "none").error(), HasSubstr("cannot be read"));
  EXPECT_THAT(load(folder_.path()).error(), HasSubstr("cannot be read"));
  EXPECT_THAT(load(write("bad.json", "{")).error(), HasSubstr("not JSON"));
  EXPECT_THAT(load("http://192.0.2.1/").error(), HasSubstr("this machine only"));
}

TEST_F(DerpMapSource, FetchesOnceAnHour) {
  EXPECT_EQ(load(server_.url("/"))->origin, MapOrigin::Fetched);
  const auto again = load(server_.url("/"), kNoon + 59min);
  EXPECT_EQ(again->origin, MapOrigin::FreshCache);
  EXPECT_EQ(again->age, 59min);
  EXPECT_EQ(again->map.regions.size(), 1u);
  EXPECT_EQ(server_.requests().size(), 1u);
}

TEST_F(DerpMapSource, KeepsTheCacheToItsOwner) {
  ASSERT_TRUE(load(server_.url("/")).has_value());
  const std::string path = MapCache(folder_ / "cache").path_of(server_.url("/"));
  EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(fs::status(folder_ / "cache").permissions(), fs::perms::owner_all);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "cache"), {}), 1) << "no temporary file left";
}

TEST_F(DerpMapSource, RevalidatesAnOldCopyWithItsEtag) {
  ASSERT_TRUE(load(server_.url("/")).has_value());
  answer_ = "HTTP/1.1 304 Not Modified\r\n\r\n";
  const auto loaded = load(server_.url("/"), kNoon + 2h);
  ASSERT_TRUE(loaded.has_value()) << loaded.error();
  EXPECT_EQ(loaded->origin, MapOrigin::Revalidated);
  EXPECT_TRUE(loaded->map.regions.contains(1));
  EXPECT_THAT(server_.requests().at(1), HasSubstr("If-None-Match: \"v1\""));
  EXPECT_EQ(load(server_.url("/"), kNoon + 2h + 30min)->origin, MapOrigin::FreshCache);
}

TEST_F(DerpMapSource, ReplacesAnOldCopy) {
  ASSERT_TRUE(load(server_.url("/")).has_value());
  answer_ = http_answer("200 OK", kOther);
  EXPECT_TRUE(load(server_.url("/"), kNoon + 1h)->map.regions.contains(2));
  EXPECT_TRUE(load(server_.url("/"), kNoon + 90min)->map.regions.contains(2));
}

TEST_F(DerpMapSource, UsesAStaleCopyAndSaysHowOldItIs) {
  ASSERT_TRUE(load(server_.url("/")).has_value());
  for (const std::string& broken : {http_answer("503 Busy", ""), http_answer("200 OK", "<html>"),
                                    http_answer("200 OK", "{}"), std::string()}) {
    answer_ = broken;
    const auto loaded = load(server_.url("/"), kNoon + 26h);
    ASSERT_TRUE(loaded.has_value()) << loaded.error();
    EXPECT_EQ(loaded->origin, MapOrigin::StaleCache);
    EXPECT_EQ(loaded->age, 26h);
    EXPECT_THAT(loaded->note, HasSubstr("saved 26 hours ago"));
    EXPECT_TRUE(loaded->map.regions.contains(1));
  }
}

TEST_F(DerpMapSource, AsksAgainWhenTheCopyComesFromTheFuture) {
  ASSERT_TRUE(load(server_.url("/"), kNoon + 24h).has_value());
  EXPECT_EQ(load(server_.url("/"), kNoon)->origin, MapOrigin::Fetched);
}

TEST_F(DerpMapSource, TakesADamagedCacheForNone) {
  const std::string path = MapCache(folder_ / "cache").path_of(server_.url("/"));
  ASSERT_TRUE(load(server_.url("/")).has_value());
  std::ifstream file(path);
  const std::string good((std::istreambuf_iterator<char>(file)), {});
  for (const std::string& bad : {std::string(), good.substr(0, good.size() / 2), std::string("[]"),
                                 std::string(R"({"url":1,"fetched":"x","map":{}})")}) {
    std::ofstream(path, std::ios::trunc) << bad;
    const auto loaded = load(server_.url("/"), kNoon + 1min);
    ASSERT_TRUE(loaded.has_value()) << loaded.error();
    EXPECT_EQ(loaded->origin, MapOrigin::Fetched) << bad;
  }
}

TEST_F(DerpMapSource, WorksWithoutACacheFolder) {
  DerpMapOptions options;
  options.source = server_.url("/");
  options.dial.timeout = 500ms;
  options.cache_dir = write("file", "") + "/below-a-file";
  EXPECT_EQ(test::run(context_, load_derp_map(options))->origin, MapOrigin::Fetched);
  options.cache_dir.clear();
  EXPECT_EQ(test::run(context_, load_derp_map(options))->origin, MapOrigin::Fetched);
}

TEST_F(DerpMapSource, TriesTheSecondDefaultWhenTheFirstFails) {
  HttpServer silent(context_, [](const auto&) { return std::string(); });
  DerpMapOptions options;
  options.default_urls = {silent.url("/first"), server_.url("/second")};
  options.dial.timeout = 400ms;
  options.wall_now = kNoon;
  const auto loaded = test::run(context_, load_derp_map(options));
  ASSERT_TRUE(loaded.has_value()) << loaded.error();
  EXPECT_EQ(loaded->source, server_.url("/second"));
  options.default_urls = {silent.url("/first"), silent.url("/second")};
  const auto none = test::run(context_, load_derp_map(options));
  ASSERT_FALSE(none.has_value());
  EXPECT_THAT(none.error(), HasSubstr("/first"));
  EXPECT_THAT(none.error(), HasSubstr("/second"));
}

}  // namespace
}  // namespace dh::io
