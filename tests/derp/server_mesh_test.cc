#include "derp/derp_world.hh"

namespace dh::derp::test {
namespace {

using wire::derp::FrameType;

const std::string kMeshHex = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

struct Mesh : ::testing::Test {
  static ServerConfig config() {
    ServerConfig out;
    out.mesh_key = parse_mesh_key(kMeshHex);
    return out;
  }
  static ClientLogin with_key() {
    ClientLogin login;
    login.mesh_key = parse_mesh_key(kMeshHex);
    return login;
  }

  SeededRng rng{5};
  KeyPair mesh = KeyPair::generate(rng);
  KeyPair a = KeyPair::generate(rng);
  KeyPair b = KeyPair::generate(rng);
  RawWorld world{config()};
};

TEST_F(Mesh, WatcherSeesItselfFirstThenOthersComeAndGo) {
  const auto watcher = world.login(mesh, with_key());
  world.send_frame(watcher, wire::derp::WatchConnsFrame{});
  auto frames = world.take(watcher);
  ASSERT_EQ(frames.size(), 1u);
  auto present = wire::derp::PeerPresentFrame::parse(frames[0].payload).value();
  EXPECT_EQ(frames[0].payload.size(), 51u);
  EXPECT_EQ(present.peer, mesh.pub);
  EXPECT_EQ(present.flags, wire::derp::PeerPresentFrame::kMeshPeer);

  const auto one = world.login(a);
  const auto twin = world.login(a);
  frames = world.take(watcher);
  ASSERT_EQ(frames.size(), 2u);  // each connection is announced
  present = wire::derp::PeerPresentFrame::parse(frames[0].payload).value();
  EXPECT_EQ(present.peer, a.pub);
  EXPECT_EQ(present.flags, wire::derp::PeerPresentFrame::kRegular);
  EXPECT_EQ(present.address, Endpoint::parse("192.0.2.1:40001"));

  world.disconnect(one);
  EXPECT_TRUE(world.take(watcher).empty());
  world.disconnect(twin);
  frames = world.take(watcher);
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].type, FrameType::PeerGone);
  EXPECT_EQ(frames[0].payload[32], std::byte{0});
}

TEST_F(Mesh, FloodNamesEveryKeyOnceAndASecondWatchNothing) {
  world.login(a);
  world.login(a);
  ClientLogin prober;
  prober.is_prober = true;
  world.login(b, prober);
  const auto watcher = world.login(mesh, with_key());
  world.send_frame(watcher, wire::derp::WatchConnsFrame{});
  std::map<PublicKey, int> flags;
  const auto frames = world.take(watcher);
  for (const auto& frame : frames) {
    const auto present = wire::derp::PeerPresentFrame::parse(frame.payload).value();
    flags[present.peer] = present.flags;
  }
  EXPECT_EQ(frames.size(), 3u);
  EXPECT_EQ(frames[0].key(), mesh.pub);
  EXPECT_EQ(flags, (std::map<PublicKey, int>{{mesh.pub, 2}, {a.pub, 1}, {b.pub, 4}}));
  world.send_frame(watcher, wire::derp::WatchConnsFrame{});
  EXPECT_TRUE(world.take(watcher).empty());
}

TEST_F(Mesh, IgnoresAServerWatchingItself) {
  const auto self = world.login(vector_server(), with_key());
  world.send_frame(self, wire::derp::WatchConnsFrame{});
  EXPECT_TRUE(world.take(self).empty());
}

TEST_F(Mesh, ForwardsOnlyToLocalClients) {
  const auto peer = world.login(mesh, with_key());
  const auto one = world.login(a);
  world.send_frame(peer, wire::derp::ForwardPacketFrame{b.pub, a.pub, as_bytes("far")});
  const auto frames = world.take(one);
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].type, FrameType::RecvPacket);
  EXPECT_EQ(frames[0].key(), b.pub);
  EXPECT_EQ(as_text(frames[0].packet()), "far");
  world.send_frame(peer, wire::derp::ForwardPacketFrame{b.pub, key_filled_with(3), disco_packet()});
  EXPECT_EQ(world.take(peer)[0].type, FrameType::PeerGone);
  EXPECT_EQ(world.server.counters().forwarded_in, 2u);
}

TEST_F(Mesh, ClosePeerEndsEveryConnectionOfAKey) {
  const auto peer = world.login(mesh, with_key());
  const auto one = world.login(a);
  const auto two = world.login(a);
  const auto other = world.login(b);
  world.send_frame(peer, wire::derp::ClosePeerFrame{a.pub});
  EXPECT_EQ(world.closed[one], CloseReason::ClosedByMesh);
  EXPECT_EQ(world.closed[two], CloseReason::ClosedByMesh);
  EXPECT_FALSE(world.closed.contains(other));
  world.send_frame(peer, wire::derp::ClosePeerFrame{mesh.pub});  // itself
  EXPECT_EQ(world.closed[peer], CloseReason::ClosedByMesh);
}

TEST_F(Mesh, WrongKeyMakesAnOrdinaryClient) {
  ClientLogin login;
  login.mesh_key = parse_mesh_key(std::string(64, 'a'));
  const auto peer = world.login(mesh, login);
  EXPECT_TRUE(world.closed.empty());
  world.send_frame(peer, wire::derp::WatchConnsFrame{});
  EXPECT_EQ(world.closed[peer], CloseReason::NotAuthorised);
}

TEST_F(Mesh, NobodyIsPrivilegedWithoutAConfiguredKey) {
  RawWorld plain;
  const auto peer = plain.login(mesh, with_key());
  plain.send_frame(peer, wire::derp::WatchConnsFrame{});
  EXPECT_EQ(plain.closed[peer], CloseReason::NotAuthorised);
}

TEST_F(Mesh, HasThirtySecondsToReadAndNoReceiveLimit) {
  ServerConfig limited = config();
  limited.client_rate_bytes = 1;
  RawWorld slow(limited);
  const auto peer = slow.login(mesh, with_key());
  const auto one = slow.login(a);
  for (int i = 0; i < 5; ++i)
    slow.send_frame(peer, wire::derp::ForwardPacketFrame{b.pub, a.pub, Bytes(wire::derp::kMaxPacketSize)});
  EXPECT_EQ(slow.take(one).size(), 5u);
  EXPECT_FALSE(slow.paused[peer]);

  slow.stall(peer);
  slow.send_packet(one, mesh.pub, packet_numbered(1));
  slow.advance(30s - 1ns);
  EXPECT_TRUE(slow.closed.empty());
  slow.advance(1ns);
  EXPECT_EQ(slow.closed[peer], CloseReason::WriteTimeout);
}

}  // namespace
}  // namespace dh::derp::test
