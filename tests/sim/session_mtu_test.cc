// What passes on the way decides how large a session's datagrams are, and whether they take that way at all.

#include <cstdlib>

#include <gtest/gtest.h>

#include "path/limits.hh"
#include "sim/nat_session.hh"

namespace dh::sim {
namespace {

constexpr std::size_t kHeaders = 28;  // of IPv4 and UDP

// 20 ms one way, directly and over the relay.
NatSessionOptions streaming(std::uint64_t seed, double write_bytes_per_second = 250e3) {
  NatSessionOptions out;
  out.seed = seed;
  out.dialer_sends = seed % 2 == 0;
  out.write_bytes_per_second = write_bytes_per_second;
  out.write_interval = 10ms;
  out.bytes = 8 << 20;
  out.relay_link.bytes_per_second = 1.25e6;
  out.dialer_wire.bytes_per_second = out.listener_wire.bytes_per_second = 2.5e6;
  return out;
}

void set_mtu(NatSession& pair, std::size_t mtu) {
  for (const Site& site : {pair.dialer_site, pair.listener_site})
    pair.lab.internet.box_wire(site.box).mtu = mtu;
}
std::size_t found(NatSession& pair) {
  return pair.sender().session().counters().direct_datagram_bytes;
}
double pause(NatSession& pair) {
  return to_seconds(pair.receiver().longest_gap());
}
void tell(std::string_view what, std::uint64_t seed, NatSession& pair) {
  if (std::getenv("DERPHOLE_NAT_SEEDS") == nullptr) return;
  fmt::print("{:50} seed {}: pause {:.3f} s, {} bytes, {} losses\n", what, seed, pause(pair), found(pair),
             pair.sender().path_log().direct_losses);
}

TEST(PathMtu, IsFoundToTheByteWhereItIsCommon) {
  struct Way {
    std::size_t mtu, interface;
  };
  for (const auto& [mtu, interface] : {Way{1500, 1500}, Way{1492, 1500}, Way{1420, 1500}, Way{1280, 1500},
                                       Way{1500, 9000}, Way{9000, 9000}}) {
    for (std::uint64_t seed = 1; seed <= 2; ++seed) {
      NatSessionOptions options = streaming(seed);
      options.interface_mtu = interface;
      NatSession pair(options);
      set_mtu(pair, mtu);
      ASSERT_TRUE(pair.run_until([&] { return pair.is_direct(); }, 10s));
      pair.receiver().reset_gap();
      const bool done = pair.run_until([&] { return found(pair) == mtu - kHeaders; }, 15s);
      EXPECT_TRUE(done) << mtu << " behind " << interface << ": " << found(pair);
      pair.run_for(1s);
      EXPECT_LE(pause(pair), 0.030) << "a probe that is lost costs the stream nothing";
      EXPECT_EQ(pair.sender().path_log().direct_losses, 0u);
      EXPECT_EQ(pair.finish(), "");
    }
  }
}

TEST(PathMtu, AWayThatNeverCarriesFullDatagramsIsNotTaken) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    for (const double rate : {250e3, 0.0}) {
      NatSession pair(streaming(seed, rate));
      pair.lab.internet.box_wire(seed % 4 < 2 ? pair.dialer_site.box : pair.listener_site.box).mtu = 1227;
      ASSERT_TRUE(pair.run_until([&] { return pair.receiver().received() > 0; }, 20s));
      pair.receiver().reset_gap();
      pair.run_for(5s);
      tell("an MTU hole from the start", seed, pair);
      EXPECT_LE(pause(pair), 0.100) << seed;
      EXPECT_EQ(pair.dialer().path_log().direct_ups + pair.listener().path_log().direct_ups, 0u);
      EXPECT_EQ(pair.finish(), "");
    }
  }
}

TEST(PathMtu, AHoleThatIsMendedLetsTheStreamThrough) {
  NatSession pair(streaming(1));
  set_mtu(pair, 1000);
  ASSERT_TRUE(pair.run_until([&] { return pair.claimed_at().has_value(); }, 20s));
  pair.run_for(5s);
  EXPECT_FALSE(pair.is_direct());
  set_mtu(pair, 1500);
  EXPECT_TRUE(pair.run_until([&] { return pair.is_direct(); }, 3s));
  EXPECT_EQ(pair.finish(), "");
}

// IPv6 would be a little better, but swallows what is large.
TEST(PathMtu, TheOtherFamilyIsTakenWhereOneHasAHole) {
  NatSession pair(streaming(2));
  int n = 1;
  for (const Site& site : {pair.dialer_site, pair.listener_site}) {
    ByteArray<16> address{std::byte{0x2a}, std::byte{0x01}};
    address[15] = static_cast<std::byte>(n++);
    pair.lab.internet.add_interface(
        site.host, {.addresses = {IpAddress::v6(address)}, .wire = Wire{.delay = 5ms, .mtu = 1200}});
  }
  ASSERT_TRUE(pair.run_until([&] { return pair.is_direct(); }, 10s));
  pair.receiver().reset_gap();
  pair.run_for(5s);
  EXPECT_LE(pause(pair), 0.050);
  ASSERT_TRUE(pair.is_direct());
  EXPECT_TRUE(pair.sender().path_log().direct->remote.address.is_v4());
  EXPECT_EQ(pair.sender().path_log().direct_losses, 0u);
  EXPECT_EQ(pair.finish(), "");
}

struct Shrinking {
  std::string_view name;
  std::size_t before, after;
  double rate;  // of the writer; 0: no limit
};

TEST(PathMtu, ShrinksInTheMiddleOfATransferAndTheDirectPathStays) {
  for (const Shrinking& way : {Shrinking{"1,500 to 1,400", 1500, 1400, 250e3},
                               {"the same, at full speed", 1500, 1400, 0},
                               {"9,000 to 1,500", 9000, 1500, 250e3},
                               {"the same, at full speed", 9000, 1500, 0},
                               {"1,500 to 1,280", 1500, 1280, 250e3}}) {
    for (std::uint64_t seed = 1; seed <= 2; ++seed) {
      NatSessionOptions options = streaming(seed, way.rate);
      if (way.rate == 0) options.bytes = 20 << 20;
      options.interface_mtu = way.before;
      NatSession pair(options);
      set_mtu(pair, way.before);
      ASSERT_TRUE(pair.run_until([&] { return pair.is_direct(); }, 10s));
      pair.run_for(2s);
      ASSERT_EQ(found(pair), way.before - kHeaders);
      pair.receiver().reset_gap();
      set_mtu(pair, way.after);
      pair.run_for(3s);
      tell(way.name, seed, pair);
      EXPECT_LE(pause(pair), 0.400) << way.name << ", seed " << seed;
      EXPECT_EQ(pair.sender().path_log().direct_losses, 0u) << way.name << ", seed " << seed;
      if (way.rate != 0) {
        pair.run_for(10s);
        EXPECT_EQ(found(pair), way.after - kHeaders);
      }
      EXPECT_EQ(pair.finish(), "");
    }
  }
}

TEST(PathMtu, OfThisMachinesInterfaceIsToldByTheSystem) {
  NatSession pair(streaming(2));
  ASSERT_TRUE(pair.run_until([&] { return pair.is_direct(); }, 10s));
  pair.run_for(2s);
  ASSERT_EQ(found(pair), 1500 - kHeaders);
  pair.receiver().reset_gap();
  for (const Site& site : {pair.dialer_site, pair.listener_site})
    pair.lab.internet.interface(site.host).wire.mtu = 1400;
  pair.run_for(5s);
  tell("the interface's own MTU, 1,500 to 1,400", 2, pair);
  EXPECT_LE(pause(pair), 0.200);
  EXPECT_EQ(pair.sender().path_log().direct_losses, 0u);
  pair.run_for(5s);
  EXPECT_EQ(found(pair), 1400 - kHeaders);
  EXPECT_EQ(pair.finish(), "");
}

}  // namespace
}  // namespace dh::sim
