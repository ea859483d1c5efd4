#include "sim/nonce_ledger.hh"

#include <gtest/gtest.h>

#include "crypto/aead.hh"
#include "crypto/nacl_box.hh"
#include "session/cookie_jar.hh"
#include "session/lan_meeting.hh"
#include "sim/nat_session.hh"

namespace dh::sim {
namespace {

TEST(NonceLedger, ThrowsWhenAKeySealsTwiceUnderOneNonce) {
  NonceLedger ledger;
  Secret<Aead::kKeySize> key, other;
  other.expose_mutable()[0] = std::byte{1};
  Bytes out(Aead::kTagSize);
  const auto seal = [&](const Secret<Aead::kKeySize>& with, std::uint64_t counter) {
    make_aead(AeadKind::Aes256Gcm, with)->seal(counter_nonce(counter), {}, {}, out);
  };
  seal(key, 1);
  seal(key, 2);
  seal(other, 1);
  EXPECT_THROW(seal(key, 2), std::runtime_error);
  EXPECT_EQ(ledger.keys(), 2u);
}

/// Does it twice with the same randomness.
template <class Seal>
void expect_noticed(Seal seal) {
  NonceLedger ledger;
  const auto once = [&] {
    SeededRng rng(7);
    seal(rng);
  };
  once();
  EXPECT_EQ(ledger.seals(), 1u);
  EXPECT_THROW(once(), std::runtime_error);
}

TEST(NonceLedger, SeesWhatIsSealedWithoutMakeAead) {
  crypto_init();
  SeededRng rng(1);
  const KeyPair one = KeyPair::generate(rng), other = KeyPair::generate(rng);
  bool back = false;  // the same key the other way
  expect_noticed([&](Rng&) {
    back = !back;
    return box_seal({}, {}, back ? one.pub : other.pub, back ? other.secret : one.secret);
  });
  expect_noticed(
      [&](Rng& random) { session::CookieJar(one.pub, Instant{}, random).reply(other.pub, {}, Instant{}); });
  expect_noticed([&](Rng&) { session::seal_gift({}, "token"); });
  const auto words = session::lan_keys(session::parse_code("able-zone-zoo-zoo").value(), 100, {1, 8192});
  const session::LanAsker asker({*words}, rng);
  expect_noticed([&](Rng& random) {
    session::LanAnswerer(*words, {}, random).on_question(asker.question(), Instant{});
  });
}

// Every simulated world keeps one: handshake, control, relay and direct path, both directions.
TEST(NonceLedger, SeesAllKeysOfASession) {
  NatSessionOptions options;
  options.bytes = 2 << 20;
  options.write_bytes_per_second = 500e3;  // so that most of it goes by the direct path
  options.write_interval = 10ms;
  options.dialer_box = options.listener_box = NatKind::FullCone;
  NatSession pair(options);
  EXPECT_TRUE(pair.run_until([&] { return pair.is_direct(); }, 10s));
  pair.run_for(2s);
  EXPECT_EQ(pair.finish(), "");
  EXPECT_GE(pair.lab.world.nonces().keys(), 7u);
  EXPECT_GT(pair.lab.world.nonces().seals(), 500u);
}

}  // namespace
}  // namespace dh::sim
