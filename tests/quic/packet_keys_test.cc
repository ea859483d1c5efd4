// Our packet ciphers beside those of ngtcp2's own GnuTLS helpers: what one seals, the other opens.

#include <tuple>

#include "quic/connection.hh"
#include "quic/quic_world.hh"

namespace dh::quic::test {
namespace {

struct Ends {
  PacketCiphers client, server;
};

class PacketKeys : public testing::TestWithParam<std::tuple<Ends, bool>> {
protected:
  PacketKeys() {
    const auto& [ends, aes] = GetParam();
    world.configs[0].ciphers = ends.client;
    world.configs[1].ciphers = ends.server;
    for (Config& config : world.configs) config.prefers_aes = aes;
  }

  void carry(std::size_t up_bytes, std::size_t down_bytes) {
    const StreamId stream = world.client().open_stream().value();
    Pump up(world, 0, stream, pattern(up_bytes, 1)), down(world, 1, stream, pattern(down_bytes, 2));
    world.application = [&](std::size_t at) {
      if (at == 0) up.go();
      if (at == 1 && world.seen[1].data.contains(stream)) down.go();
    };
    ASSERT_TRUE(world.run(20s, [&] { return world.seen[0].ended[stream] && world.seen[1].ended[stream]; }));
    world.application = nullptr;
    EXPECT_EQ(world.seen[1].data[stream], up.data());
    EXPECT_EQ(world.seen[0].data[stream], down.data());
  }

  QuicWorld world;
};

TEST_P(PacketKeys, CarryBytesBothWays) {
  world.establish();
  carry(300'000, 300'000);
}

TEST_P(PacketKeys, GoOnAfterEitherEndHasChangedThem) {
  world.establish();
  carry(50'000, 50'000);
  for (const std::size_t asks : {0, 1, 1, 0}) {
    world.run(2s);      // the change before is over
    carry(1000, 1000);  // and packets bring the next keys
    ASSERT_TRUE(world.nodes[asks]->update_keys(world.now));
    EXPECT_FALSE(world.nodes[asks]->update_keys(world.now)) << "the next one has to wait for this";
    carry(50'000, 50'000);
  }
  EXPECT_TRUE(world.client().is_established());
  EXPECT_TRUE(world.server().is_established());
}

TEST_P(PacketKeys, ChangeInTheMiddleOfAStreamThatLosesPackets) {
  world.links[0].loss = world.links[1].loss = 0.02;
  world.links[1].bytes_per_second = 2e6;
  world.establish();
  const StreamId stream = world.client().open_stream().value();
  Pump up(world, 0, stream, pattern(3'000'000, 3));
  std::size_t changes = 0;
  world.application = [&](std::size_t at) {
    if (at == 0) up.go();
    if (world.received[1] > 200'000 * (changes + 1) && world.nodes[changes % 2]->update_keys(world.now))
      ++changes;
  };
  ASSERT_TRUE(world.run(60s, [&] { return world.seen[1].ended[stream]; }));
  EXPECT_EQ(world.seen[1].data[stream], up.data());
  EXPECT_GE(changes, 2u);
}

TEST_P(PacketKeys, RefuseWhateverWasTouched) {
  world.establish();
  world.run(1s);
  const StreamId stream = world.client().open_stream().value();
  world.client().write(stream, pattern(200, 4));
  Bytes out(kMaxDatagramBytes);
  const std::size_t size = world.client().poll_transmit(out, world.now).value();
  const ByteView genuine = ByteView(out).first(size);
  for (std::size_t at = 1; at < size; ++at) {  // the first byte's own bits may make it no QUIC at all
    Bytes forged = to_bytes(genuine);
    forged[at] ^= static_cast<std::byte>(1u << (at % 8));
    EXPECT_FALSE(world.server().on_datagram(forged, world.now)) << at;
  }
  for (std::size_t shorter = 1; shorter < size; ++shorter)
    EXPECT_FALSE(world.server().on_datagram(genuine.first(shorter), world.now)) << shorter;
  EXPECT_TRUE(world.seen[1].data[stream].empty());
  EXPECT_TRUE(world.server().on_datagram(genuine, world.now));
  world.run(1s);
  EXPECT_EQ(world.seen[1].data[stream], pattern(200, 4));
}

using Param = PacketKeys::ParamType;

std::string name_of(const testing::TestParamInfo<Param>& tested) {
  const auto name = [](PacketCiphers ciphers) { return ciphers == PacketCiphers::Own ? "Own" : "Gnutls"; };
  const Ends& ends = std::get<0>(tested.param);
  return std::string(name(ends.client)) + "To" + name(ends.server) +
         (std::get<1>(tested.param) ? "Aes" : "ChaCha");
}

INSTANTIATE_TEST_SUITE_P(Whose, PacketKeys,
                         testing::Combine(testing::Values(Ends{PacketCiphers::Own, PacketCiphers::Own},
                                                          Ends{PacketCiphers::Own, PacketCiphers::Gnutls},
                                                          Ends{PacketCiphers::Gnutls, PacketCiphers::Own}),
                                          testing::Bool()),
                         name_of);

}  // namespace
}  // namespace dh::quic::test
