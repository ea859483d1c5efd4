#include "io/http_upgrade.hh"

#include <deque>

#include <gtest/gtest.h>

#include "loopback.hh"

namespace dh::io::testing {
namespace {

// A stream whose far end has said everything already, in the given pieces.
class SpokenStream final : public ByteStream {
public:
  explicit SpokenStream(std::deque<std::string> pieces) : pieces_(std::move(pieces)) {}
  asio::awaitable<std::pair<boost::system::error_code, std::size_t>> read_some(ByteSpan into) override {
    std::pair<boost::system::error_code, std::size_t> result(asio::error::eof, 0);
    if (!pieces_.empty()) {
      std::string& piece = pieces_.front();
      const std::size_t size = std::min(piece.size(), into.size());
      std::memcpy(into.data(), piece.data(), size);
      piece.erase(0, size);
      if (piece.empty()) pieces_.pop_front();
      result = {boost::system::error_code(), size};
    }
    co_return result;
  }
  asio::awaitable<boost::system::error_code> write(ByteView bytes) override {
    written += as_text(bytes);
    ++writes;
    co_return boost::system::error_code();
  }
  void close() override { pieces_.clear(); }
  Endpoint local_endpoint() const override { return {}; }
  Endpoint remote_endpoint() const override { return {}; }

  std::string written;
  int writes = 0;

private:
  std::deque<std::string> pieces_;
};

const std::string kAnswer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nDerp-Version: 2\r\n\r\n";
const std::string kFrames = "\x01\r\n\r\nframes\r\n\r\n";

std::expected<Bytes, UpgradeError> upgrade(SpokenStream& stream, Bytes login = {}) {
  asio::io_context context;
  return testing::run(context, upgrade_to_derp(stream, "relay.test", std::move(login)));
}

TEST(HttpUpgrade, HandsOverEverythingBehindTheBlankLineWhereverTheAnswerIsSplit) {
  const std::string whole = kAnswer + kFrames;
  for (std::size_t cut = 1; cut < whole.size(); ++cut) {
    SpokenStream stream({whole.substr(0, cut), whole.substr(cut)});
    const auto rest = upgrade(stream);
    ASSERT_TRUE(rest) << cut << ": " << rest.error().message;
    // What came in the segment of the blank line; the rest is still in the stream.
    EXPECT_EQ(as_text(*rest), cut < kAnswer.size() ? kFrames : kFrames.substr(0, cut - kAnswer.size()))
        << cut;
  }
}

TEST(HttpUpgrade, SendsExactlyThisRequest) {
  SpokenStream stream({kAnswer});
  ASSERT_TRUE(upgrade(stream));
  EXPECT_EQ(stream.written, "GET /derp HTTP/1.1\r\nHost: relay.test\r\nUser-Agent: derphole/" DERPHOLE_VERSION
                            "\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n");
}

TEST(HttpUpgrade, PutsTheLoginOfAFastStartIntoTheSameWrite) {
  SpokenStream stream({"\x01\x02\x03\x04\x05"});
  const auto rest = upgrade(stream, to_bytes(as_bytes("LOGIN")));
  ASSERT_TRUE(rest);
  EXPECT_EQ(as_text(*rest), "\x01\x02\x03\x04\x05");
  EXPECT_EQ(stream.writes, 1);
  EXPECT_TRUE(stream.written.ends_with("\r\nDerp-Fast-Start: 1\r\n\r\nLOGIN")) << stream.written;
}

TEST(HttpUpgrade, FollowsARelayThatAnswers101ToAFastStart) {
  const std::string whole = kAnswer + kFrames;
  for (std::size_t cut = 1; cut < kAnswer.size(); ++cut) {
    SpokenStream stream({whole.substr(0, cut), whole.substr(cut)});
    const auto rest = upgrade(stream, to_bytes(as_bytes("LOGIN")));
    ASSERT_TRUE(rest) << cut;
    EXPECT_EQ(as_text(*rest), kFrames) << cut;
  }
}

TEST(HttpUpgrade, PassesOverInterimAnswersButNotForever) {
  SpokenStream early({"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", kAnswer});
  EXPECT_TRUE(upgrade(early));
  std::deque<std::string> endless(100, "HTTP/1.1 100 Continue\r\n\r\n");
  SpokenStream stream(endless);
  const auto rest = upgrade(stream);
  ASSERT_FALSE(rest);
  EXPECT_TRUE(rest.error().not_derp);
}

TEST(HttpUpgrade, SaysWhatCameInstead) {
  struct Row {
    std::string answer;
    const char* words;
  };
  const Row rows[] = {
      {"HTTP/1.1 426 Upgrade Required\r\n\r\nDERP requires connection upgrade",
       "426 Upgrade Required (DERP requires connection upgrade)"},
      {"HTTP/1.1 404 \r\nContent-Length: 4\r\n\r\ngoneXXXX", "answered 404"},
      {"HTTP/1.1 302 \x1b]0;x\x07\r\n\r\n", "in HTTP"},
      {"SSH-2.0-x\r\n", "does not answer in HTTP"},
      {"HTTP/1.1 101 OK\r\n", "closed the connection"},
      {"", "closed the connection"},
      {"HTTP/1.1 200 OK\r\nX: " + std::string(20'000, 'a'), "does not answer in HTTP"},
  };
  for (const Row& row : rows) {
    SpokenStream stream(row.answer.empty() ? std::deque<std::string>{} : std::deque<std::string>{row.answer});
    const auto rest = upgrade(stream);
    ASSERT_FALSE(rest) << row.answer;
    EXPECT_TRUE(rest.error().not_derp) << row.answer;
    EXPECT_NE(rest.error().message.find(row.words), std::string::npos) << rest.error().message;
    EXPECT_EQ(rest.error().message.find('\x1b'), std::string::npos);
  }
}

}  // namespace
}  // namespace dh::io::testing
