#include "crypto/aead.hh"

#include <algorithm>
#include <array>
#include <thread>

#include <gtest/gtest.h>

#include "base/rng.hh"

namespace dh {
namespace {

using Backends = std::vector<AeadBackend>;

Backends backends() {
  Backends found;
  for (const AeadBackend backend : {AeadBackend::Openssl, AeadBackend::IpsecMb})
    if (is_available(backend)) found.push_back(backend);
  return found;
}

Bytes random_bytes(Rng& rng, std::size_t size) {
  Bytes bytes(size);
  if (size != 0) rng.fill(bytes);
  return bytes;
}

Secret<Aead::kKeySize> random_key(Rng& rng) {
  Secret<Aead::kKeySize> key;
  rng.fill(key.expose_mutable());
  return key;
}

bool is_wiped(ByteView bytes) {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

enum class Cipher { Aes128Gcm, Aes256Gcm, ChaCha20Poly1305 };

struct Vector {
  std::string_view name;
  Cipher cipher;
  std::string_view key, nonce, aad, plain, sealed;
};

std::unique_ptr<Aead> make_aead_of(const Vector& vector, AeadBackend backend) {
  switch (vector.cipher) {
    case Cipher::Aes128Gcm:
      return make_aes128_gcm(Secret<16>(*array_from_hex<16>(vector.key)), backend);
    case Cipher::Aes256Gcm:
      return make_aead(AeadKind::Aes256Gcm, Secret<32>(*array_from_hex<32>(vector.key)), backend);
    case Cipher::ChaCha20Poly1305:
      return make_aead(AeadKind::ChaCha20Poly1305, Secret<32>(*array_from_hex<32>(vector.key)), backend);
  }
  return nullptr;
}

// AES-GCM: McGrew and Viega, "The Galois/Counter Mode of Operation", test cases 1 to 4 and 13 to 16.
// ChaCha20-Poly1305: RFC 8439 §2.8.2.
constexpr Vector kVectors[] = {
    {"GCM 1", Cipher::Aes128Gcm, "00000000000000000000000000000000", "000000000000000000000000", "", "",
     "58e2fccefa7e3061367f1d57a4e7455a"},
    {"GCM 2", Cipher::Aes128Gcm, "00000000000000000000000000000000", "000000000000000000000000", "",
     "00000000000000000000000000000000", "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf"},
    {"GCM 3", Cipher::Aes128Gcm, "feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888", "",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
     "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
     "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985"
     "4d5c2af327cd64a62cf35abd2ba6fab4"},
    {"GCM 4", Cipher::Aes128Gcm, "feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
     "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
     "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091"
     "5bc94fbc3221a5db94fae95ae7121a47"},
    {"GCM 13", Cipher::Aes256Gcm, "0000000000000000000000000000000000000000000000000000000000000000",
     "000000000000000000000000", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {"GCM 14", Cipher::Aes256Gcm, "0000000000000000000000000000000000000000000000000000000000000000",
     "000000000000000000000000", "", "00000000000000000000000000000000",
     "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
    {"GCM 15", Cipher::Aes256Gcm, "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
     "cafebabefacedbaddecaf888", "",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
     "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad"
     "b094dac5d93471bdec1a502270e3cc6c"},
    {"GCM 16", Cipher::Aes256Gcm, "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
     "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
     "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
     "76fc6ece0f4e1768cddf8853bb2d551b"},
    {"RFC 8439", Cipher::ChaCha20Poly1305, "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
     "070000004041424344454647", "50515253c0c1c2c3c4c5c6c7",
     "4c616469657320616e642047656e746c656d656e206f662074686520636c6173"
     "73206f66202739393a204966204920636f756c64206f6666657220796f75206f"
     "6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73"
     "637265656e20776f756c642062652069742e",
     "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6"
     "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
     "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
     "3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691"},
};

TEST(Aead, EveryBackendReproducesThePublishedVectors) {
  for (const AeadBackend backend : backends())
    for (const Vector& vector : kVectors) {
      SCOPED_TRACE(vector.name);
      SCOPED_TRACE(to_string(backend));
      const auto aead = make_aead_of(vector, backend);
      const Aead::Nonce nonce = *array_from_hex<12>(vector.nonce);
      const Bytes aad = *from_hex(vector.aad), plain = *from_hex(vector.plain);
      Bytes sealed(plain.size() + Aead::kTagSize), opened(plain.size());
      aead->seal(nonce, aad, plain, sealed);
      EXPECT_EQ(to_hex(sealed), vector.sealed);
      EXPECT_TRUE(aead->open(nonce, aad, sealed, opened));
      EXPECT_EQ(opened, plain);
      sealed.back() ^= std::byte{1};
      EXPECT_FALSE(aead->open(nonce, aad, sealed, opened));
      EXPECT_TRUE(is_wiped(opened));
    }
}

// Sizes around every boundary an implementation may have, datagrams, and whatever the dice say.
std::size_t some_size(Rng& rng) {
  constexpr std::size_t kEdges[] = {0,   1,   15,  16,  17,  127,  128,      129,
                                    255, 256, 767, 768, 769, 1372, 32 * 1024};
  return rng.chance(0.5) ? kEdges[rng.below(std::size(kEdges))] : rng.below(4000);
}

TEST(Aead, EveryBackendGivesTheSameBytesInPlaceAndElsewhere) {
  SeededRng rng(20);
  for (int round = 0; round < 3000; ++round) {
    const AeadKind kind = rng.chance(0.7) ? AeadKind::Aes256Gcm : AeadKind::ChaCha20Poly1305;
    const Secret<Aead::kKeySize> key = random_key(rng);
    Aead::Nonce nonce;
    rng.fill(nonce);
    const Bytes aad = random_bytes(rng, rng.chance(0.5) ? 12 : some_size(rng) % 300);
    const Bytes plain = random_bytes(rng, some_size(rng));
    SCOPED_TRACE(testing::Message() << to_string(kind) << ", round " << round << ", " << plain.size()
                                    << " bytes, aad " << aad.size());
    Bytes expected(plain.size() + Aead::kTagSize);
    make_aead(kind, key, AeadBackend::Openssl)->seal(nonce, aad, plain, expected);
    for (const AeadBackend backend : backends()) {
      SCOPED_TRACE(to_string(backend));
      const auto aead = make_aead(kind, key, backend);
      Bytes elsewhere(expected.size());
      aead->seal(nonce, aad, plain, elsewhere);
      ASSERT_EQ(elsewhere, expected);
      Bytes in_place = plain;
      in_place.resize(expected.size());
      aead->seal(nonce, aad, ByteView(in_place).first(plain.size()), in_place);
      ASSERT_EQ(in_place, expected);

      Bytes opened(plain.size());
      ASSERT_TRUE(aead->open(nonce, aad, expected, opened));
      ASSERT_EQ(opened, plain);
      ASSERT_TRUE(aead->open(nonce, aad, in_place, ByteSpan(in_place).first(plain.size())));
      in_place.resize(plain.size());
      ASSERT_EQ(in_place, plain);
    }
  }
}

TEST(Aead, EveryBackendGivesTheSameBytesWithAes128) {
  SeededRng rng(23);
  for (int round = 0; round < 2000; ++round) {
    Secret<kAes128KeySize> key;
    rng.fill(key.expose_mutable());
    Aead::Nonce nonce;
    rng.fill(nonce);
    const Bytes aad = random_bytes(rng, some_size(rng) % 60), plain = random_bytes(rng, some_size(rng));
    Bytes expected(plain.size() + Aead::kTagSize);
    make_aes128_gcm(key, AeadBackend::Openssl)->seal(nonce, aad, plain, expected);
    for (const AeadBackend backend : backends()) {
      SCOPED_TRACE(to_string(backend));
      const auto aead = make_aes128_gcm(key, backend);
      Bytes in_place = plain;
      in_place.resize(expected.size());
      aead->seal(nonce, aad, ByteView(in_place).first(plain.size()), in_place);
      ASSERT_EQ(in_place, expected);
      Bytes opened(plain.size());
      ASSERT_TRUE(aead->open(nonce, aad, expected, opened));
      ASSERT_EQ(opened, plain);
    }
  }
}

TEST(Aead, AForgeryIsRefusedAndLeavesNothing) {
  SeededRng rng(21);
  for (const AeadBackend backend : backends())
    for (const AeadKind kind : {AeadKind::Aes256Gcm, AeadKind::ChaCha20Poly1305})
      for (const std::size_t size : {0, 1, 16, 17, 300, 1372}) {
        SCOPED_TRACE(testing::Message() << to_string(backend) << " " << to_string(kind) << " " << size);
        const auto aead = make_aead(kind, random_key(rng), backend);
        const Aead::Nonce nonce = counter_nonce(rng.u64());
        const Bytes aad = random_bytes(rng, 12), plain = random_bytes(rng, size);
        Bytes sealed(size + Aead::kTagSize);
        aead->seal(nonce, aad, plain, sealed);
        const auto refused = [&](const Aead::Nonce& n, ByteView a, const Bytes& forged) {
          Bytes opened(size, std::byte{0x55}), in_place = forged;
          const bool either =
              aead->open(n, a, forged, opened) || aead->open(n, a, in_place, ByteSpan(in_place).first(size));
          return !either && is_wiped(opened) && is_wiped(ByteView(in_place).first(size));
        };
        for (std::size_t at = 0; at < sealed.size(); at += at + 1 < size ? 97 : 1) {
          Bytes forged = sealed;
          forged[at] ^= std::byte{0x40};
          EXPECT_TRUE(refused(nonce, aad, forged)) << at;
        }
        Bytes other = aad;
        other[11] ^= std::byte{1};
        EXPECT_TRUE(refused(nonce, other, sealed));
        EXPECT_TRUE(refused(nonce, ByteView(aad).first(11), sealed));
        EXPECT_TRUE(refused(nonce, {}, sealed));
        Aead::Nonce next = nonce;
        next[11] ^= std::byte{1};
        EXPECT_TRUE(refused(next, aad, sealed));
        // A refusal spoils nothing.
        Bytes opened(size);
        EXPECT_TRUE(aead->open(nonce, aad, sealed, opened));
        EXPECT_EQ(opened, plain);
      }
}

// The manager of ipsec-mb is one for all threads; keys are not.
TEST(Aead, ThreadsWithKeysOfTheirOwnDoNotDisturbEachOther) {
  for (const AeadBackend backend : backends())
    for (const AeadKind kind : {AeadKind::Aes256Gcm, AeadKind::ChaCha20Poly1305}) {
      std::array<std::size_t, 4> good{};
      std::vector<std::thread> threads;
      for (std::size_t number = 0; number < good.size(); ++number)
        threads.emplace_back([&, number] {
          SeededRng rng(number);
          const auto aead = make_aead(kind, random_key(rng), backend);
          const Bytes plain = random_bytes(rng, 1372);
          Bytes sealed(plain.size() + Aead::kTagSize), opened(plain.size());
          for (std::uint64_t i = 0; i < 2000; ++i) {
            aead->seal(counter_nonce(i), {}, plain, sealed);
            opened.assign(plain.size(), std::byte{0});
            good[number] += aead->open(counter_nonce(i), {}, sealed, opened) && opened == plain;
          }
        });
      for (std::thread& thread : threads) thread.join();
      for (const std::size_t count : good)
        EXPECT_EQ(count, 2000u) << to_string(backend) << " " << to_string(kind);
    }
}

TEST(Aead, LessThanATagIsForged) {
  for (const AeadBackend backend : backends()) {
    const auto aead = make_aead(AeadKind::Aes256Gcm, Secret<32>(), backend);
    for (std::size_t size = 0; size < Aead::kTagSize; ++size)
      EXPECT_FALSE(aead->open(counter_nonce(1), {}, Bytes(size), {})) << size;
  }
}

TEST(Aead, BackendsAreKnownByTheirNames) {
  EXPECT_EQ(aead_backend_named("openssl"), AeadBackend::Openssl);
  EXPECT_EQ(aead_backend_named("ipsec-mb"), AeadBackend::IpsecMb);
  EXPECT_EQ(aead_backend_named("OpenSSL"), std::nullopt);
  EXPECT_EQ(aead_backend_named(""), std::nullopt);
}

TEST(Aead, OpensslIsAlwaysThereAndTheChosenBackendStays) {
  EXPECT_TRUE(is_available(AeadBackend::Openssl));
  const AeadBackend before = preferred_aead_backend();
  EXPECT_EQ(before, backends().back());  // the fastest, when nobody chose
  prefer_aead_backend(AeadBackend::Openssl);
  EXPECT_EQ(preferred_aead_backend(), AeadBackend::Openssl);
  prefer_aead_backend(before);
  EXPECT_EQ(preferred_aead_backend(), before);
}

}  // namespace
}  // namespace dh
