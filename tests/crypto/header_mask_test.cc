#include "crypto/header_mask.hh"

#include <gtest/gtest.h>

#include "base/rng.hh"

namespace dh {
namespace {

std::vector<AeadBackend> backends() {
  std::vector<AeadBackend> found;
  for (const AeadBackend backend : {AeadBackend::Openssl, AeadBackend::IpsecMb})
    if (is_available(backend)) found.push_back(backend);
  return found;
}

template <std::size_t N>
Secret<N> key(std::string_view hex) {
  return Secret<N>(*array_from_hex<N>(hex));
}

// RFC 9001, appendix A.2 and A.3.
TEST(HeaderMask, OfAesIsThatOfThePublishedPackets) {
  for (const AeadBackend backend : backends()) {
    SCOPED_TRACE(to_string(backend));
    const auto client = make_aes128_mask(key<16>("9f50449e04a0e810283a1e9933adedd2"), backend);
    EXPECT_EQ(to_hex(client->mask(*array_from_hex<16>("d1b1c98dd7689fb8ec11d242b123dc9b"))), "437b9aec36");
    const auto server = make_aes128_mask(key<16>("c206b8d9b9f0f37644430b490eeaa314"), backend);
    EXPECT_EQ(to_hex(server->mask(*array_from_hex<16>("2cd0991cd25b0aac406a5816b6394100"))), "2ec0d8356a");
  }
}

// RFC 9001, appendix A.5.
TEST(HeaderMask, OfChaCha20IsThatOfThePublishedPacket) {
  const auto mask =
      make_chacha20_mask(key<32>("25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4"));
  EXPECT_EQ(to_hex(mask->mask(*array_from_hex<16>("5e5cd55c41f69080575d7999c25a5bfb"))), "aefefe7d03");
}

TEST(HeaderMask, EveryBackendGivesTheSameMask) {
  SeededRng rng(31);
  for (int round = 0; round < 2000; ++round) {
    Secret<16> secret;
    rng.fill(secret.expose_mutable());
    ByteArray<16> sample;
    rng.fill(sample);
    const HeaderMask::Mask expected = make_aes128_mask(secret, AeadBackend::Openssl)->mask(sample);
    for (const AeadBackend backend : backends())
      EXPECT_EQ(make_aes128_mask(secret, backend)->mask(sample), expected) << to_string(backend);
  }
}

}  // namespace
}  // namespace dh
