#include "sim/nonce_ledger.hh"

#include <gtest/gtest.h>

#include "crypto/aead.hh"
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
