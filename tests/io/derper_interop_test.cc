// Our client against Tailscale's derper, on loopback. Needs its binary: DERPER=/path/to/derper.

#include <csignal>
#include <cstdlib>
#include <string>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/derp_client.hh"
#include "io/system_rng.hh"
#include "loopback.hh"
#include "recording_handler.hh"
#include "scratch_directory.hh"

namespace dh::io::testing {
namespace {

enum class Security : bool { Plain, PinnedTls };

// A derper child process with a directory of its own; ends with this object.
class Derper {
public:
  Derper(const std::string& binary, Security security) {
    port_ = closed_port();
    std::vector<std::string> arguments = {binary,
                                          "-a",
                                          "127.0.0.1:" + std::to_string(port_),
                                          "-c",
                                          directory_ / "derper.json",
                                          "-http-port",
                                          "-1",
                                          "-stun=false",
                                          "-hostname",
                                          "127.0.0.1",
                                          "-certdir",
                                          directory_.path()};
    if (security == Security::PinnedTls) {
      arguments.push_back("-certmode");
      arguments.push_back("manual");
    }
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    int log[2];
    if (::pipe2(log, O_CLOEXEC) != 0) std::abort();
    child_ = ::fork();
    if (child_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::dup2(log[1], STDOUT_FILENO);
      ::dup2(log[1], STDERR_FILENO);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    ::close(log[1]);
    log_ = log[0];
    if (security == Security::PinnedTls) read_pin();
  }
  ~Derper() {
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
    ::close(log_);
  }

  session::RelayRef relay() const {
    session::RelayRef relay;
    relay.host = "127.0.0.1";
    relay.port = port_;
    relay.pin = pin_;
    relay.plain_http = !pin_;
    return relay;
  }

private:
  // It logs the map entry a client needs, its certificate's digest included.
  void read_pin() {
    std::string text;
    char buffer[4096];
    constexpr std::string_view kMark = "sha256-raw:";
    while (true) {
      const auto at = text.find(kMark);
      if (at != std::string::npos && text.size() >= at + kMark.size() + 64) {
        pin_ = array_from_hex<32>(std::string_view(text).substr(at + kMark.size(), 64));
        return;
      }
      pollfd ready{log_, POLLIN, 0};
      if (::poll(&ready, 1, 20'000) != 1) break;
      const ssize_t size = ::read(log_, buffer, sizeof buffer);
      if (size <= 0) break;
      text.append(buffer, static_cast<std::size_t>(size));
    }
    ADD_FAILURE() << "derper printed no pin: " << text;
  }

  ScratchDirectory directory_;
  std::uint16_t port_ = 0;
  pid_t child_ = -1;
  int log_ = -1;
  std::optional<ByteArray<32>> pin_;
};

struct Client {
  Client(asio::io_context& context, const session::RelayRef& relay, Rng& rng, bool websocket = false) {
    options.key = KeyPair::generate(rng);
    options.force_websocket = websocket;
    client.emplace(context.get_executor(), relay, options, rng, handler);
    client->start();
  }
  const PublicKey& key() const { return options.key.pub; }
  DerpClientOptions options;
  RecordingHandler handler;
  std::optional<DerpClient> client;
};

class DerperInterop : public ::testing::Test {
protected:
  void SetUp() override {
    const char* path = std::getenv("DERPER");
    if (path == nullptr) GTEST_SKIP() << "DERPER does not name a derper binary: interop NOT tested";
    binary_ = path;
    crypto_init();
  }

  // Two clients log in and send each other packets of several sizes; alice's notes are returned.
  void exchange(const session::RelayRef& relay, Client& alice, Client& bob) {
    ASSERT_TRUE(run_until(context_, [&] { return alice.client->is_up() && bob.client->is_up(); }))
        << (alice.handler.downs.empty() ? relay.host : alice.handler.downs.back());
    EXPECT_EQ(alice.handler.server_key, bob.handler.server_key);
    for (const std::size_t size : {1u, 1200u, 30'000u}) {
      Bytes packet(size);
      rng_.fill(packet);
      const std::size_t before = bob.handler.packets.size();
      ASSERT_TRUE(alice.client->send(bob.key(), packet));
      ASSERT_TRUE(run_until(context_, [&] { return bob.handler.packets.size() > before; }));
      EXPECT_EQ(bob.handler.packets.back().first, alice.key());
      EXPECT_EQ(bob.handler.packets.back().second, packet);
      const std::size_t back = alice.handler.packets.size();
      ASSERT_TRUE(bob.client->send(alice.key(), packet));
      ASSERT_TRUE(run_until(context_, [&] { return alice.handler.packets.size() > back; }));
      EXPECT_EQ(alice.handler.packets.back().second, packet);
    }
  }

  asio::io_context context_;
  SystemRng rng_;
  std::string binary_;
};

TEST_F(DerperInterop, SlowStartOverPlainHttp) {
  const Derper derper(binary_, Security::Plain);
  Client alice(context_, derper.relay(), rng_), bob(context_, derper.relay(), rng_);
  exchange(derper.relay(), alice, bob);
  EXPECT_EQ(alice.client->counters().fast_starts, 0u);
}

TEST_F(DerperInterop, FastStartOverPinnedTls) {
  const Derper derper(binary_, Security::PinnedTls);
  Client alice(context_, derper.relay(), rng_), bob(context_, derper.relay(), rng_);
  exchange(derper.relay(), alice, bob);
  EXPECT_EQ(alice.client->counters().fast_starts, 1u);
}

TEST_F(DerperInterop, WebSocketOverPlainAndOverTls) {
  for (const Security security : {Security::Plain, Security::PinnedTls}) {
    const Derper derper(binary_, security);
    Client alice(context_, derper.relay(), rng_, true), bob(context_, derper.relay(), rng_, false);
    exchange(derper.relay(), alice, bob);
    EXPECT_EQ(alice.client->counters().websockets, 1u);
    EXPECT_EQ(bob.client->counters().websockets, 0u);
  }
}

TEST_F(DerperInterop, WrongPinIsSaidAndNothingLogsIn) {
  const Derper derper(binary_, Security::PinnedTls);
  session::RelayRef relay = derper.relay();
  (*relay.pin)[0] ^= std::byte{1};
  Client alice(context_, relay, rng_);
  ASSERT_TRUE(run_until(context_, [&] {
    return !alice.handler.downs.empty() && alice.handler.downs.back().find("pinned") != std::string::npos;
  }));
  EXPECT_EQ(alice.handler.ups, 0);
}

TEST_F(DerperInterop, SaysNotHereForADiscoLookingPacketAndDisconnectedWhenAPeerLeaves) {
  const Derper derper(binary_, Security::Plain);
  Client alice(context_, derper.relay(), rng_), bob(context_, derper.relay(), rng_);
  exchange(derper.relay(), alice, bob);
  Bytes disco = to_bytes(as_bytes("TS\xf0\x9f\x92\xac"));
  disco.resize(62);
  const PublicKey stranger = KeyPair::generate(rng_).pub;
  ASSERT_TRUE(alice.client->send(stranger, disco));
  ASSERT_TRUE(run_until(context_, [&] { return !alice.handler.gone.empty(); }));
  EXPECT_EQ(alice.handler.gone[0], std::pair(stranger, derp::PeerGoneReason::NotHere));
  bob.client->stop();
  ASSERT_TRUE(run_until(context_, [&] { return alice.handler.gone.size() == 2; }));
  EXPECT_EQ(alice.handler.gone[1], std::pair(bob.key(), derp::PeerGoneReason::Disconnected));
}

TEST_F(DerperInterop, TheLastToWriteGetsWhatIsSentToASharedKey) {
  const Derper derper(binary_, Security::Plain);
  Client alice(context_, derper.relay(), rng_), bob(context_, derper.relay(), rng_);
  exchange(derper.relay(), alice, bob);
  RecordingHandler twin_handler;
  DerpClient twin(context_.get_executor(), derper.relay(), bob.options, rng_, twin_handler);
  twin.start();
  ASSERT_TRUE(run_until(context_, [&] { return twin.is_up(); }));
  const Bytes packet(10);
  ASSERT_TRUE(twin.send(alice.key(), packet));  // now the twin wrote last
  const std::size_t before = alice.handler.packets.size();
  ASSERT_TRUE(run_until(context_, [&] { return alice.handler.packets.size() > before; }));
  const std::size_t at_bob = bob.handler.packets.size();
  ASSERT_TRUE(alice.client->send(bob.key(), packet));
  ASSERT_TRUE(run_until(context_, [&] { return !twin_handler.packets.empty(); }));
  EXPECT_EQ(bob.handler.packets.size(), at_bob);
  EXPECT_TRUE(bob.client->is_up());
}

}  // namespace
}  // namespace dh::io::testing
