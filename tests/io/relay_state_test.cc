#include "io/relay_state.hh"

#include <fstream>
#include <stdexcept>

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/hash.hh"
#include "io/clock.hh"
#include "io/openssl.hh"
#include "io/system_rng.hh"
#include "scratch_directory.hh"

namespace dh::io {
namespace {

class RelayStateTest : public testing::Test {
protected:
  RelayState load(UnixSeconds at = wall_now()) {
    return load_relay_state(directory_, {"127.0.0.1"}, at, rng_);
  }
  std::string failure(UnixSeconds at = wall_now()) {
    try {
      load(at);
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "";
  }
  void overwrite(const char* name, std::string_view text) { std::ofstream(directory_ / name) << text; }

  SystemRng rng_;
  ScratchDirectory root_;
  const std::filesystem::path directory_ = root_ / "deep/derphole";
};

unsigned mode_of(const std::filesystem::path& path) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0);
  return status.st_mode & 0777;
}

TEST_F(RelayStateTest, IsTheSameAfterARestart) {
  const RelayState first = load(), second = load();
  EXPECT_EQ(first.key.pub, second.key.pub);
  EXPECT_EQ(certificate_pin(first.tls.certificate_chain_pem),
            certificate_pin(second.tls.certificate_chain_pem));
}

TEST_F(RelayStateTest, IsForItsOwnerOnlyAndLeavesNoTemporaryFile) {
  load();
  EXPECT_EQ(mode_of(directory_), 0700u);
  EXPECT_EQ(mode_of(directory_ / "relay.key"), 0600u);
  EXPECT_EQ(mode_of(directory_ / "relay.pem"), 0600u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_), {}), 2);
}

TEST_F(RelayStateTest, NamesADamagedFileAndLeavesItAlone) {
  load();
  overwrite("relay.key", "privkey:1234\n");
  EXPECT_EQ(failure().find((directory_ / "relay.key").string() + " is damaged"), 0u) << failure();
  EXPECT_EQ(std::filesystem::file_size(directory_ / "relay.key"), 13u);
}

TEST_F(RelayStateTest, NamesADamagedCertificate) {
  const RelayState state = load();
  overwrite("relay.pem", "");
  EXPECT_NE(failure().find("no private key"), std::string::npos);
  overwrite("relay.pem", "nonsense" + state.tls.private_key_pem);
  EXPECT_NE(failure().find("relay.pem is damaged"), std::string::npos);
  SelfSignedOptions other;
  other.hosts = {"other"};
  overwrite("relay.pem",
            make_self_signed(other, wall_now()).certificate_chain_pem + state.tls.private_key_pem);
  EXPECT_NE(failure().find("relay.pem is damaged"), std::string::npos);
}

TEST_F(RelayStateTest, RefusesAKeyOthersCanRead) {
  load();
  ASSERT_EQ(::chmod((directory_ / "relay.key").c_str(), 0644), 0);
  EXPECT_NE(failure().find("may be read by others"), std::string::npos);
}

TEST_F(RelayStateTest, SaysWhenTheCertificateHasExpired) {
  load();
  EXPECT_EQ(failure(wall_now() + 9 * 365 * 24h), "");
  EXPECT_NE(failure(wall_now() + 11 * 365 * 24h).find("has expired"), std::string::npos);
}

TEST(RelayStateDirectory, FollowsTheXdgRules) {
  EXPECT_EQ(relay_state_directory("/state", "/home/u"), "/state/derphole");
  EXPECT_EQ(relay_state_directory("", "/home/u"), "/home/u/.local/state/derphole");
  EXPECT_EQ(relay_state_directory("relative", "/home/u"), "/home/u/.local/state/derphole");
  EXPECT_THROW(relay_state_directory("", ""), std::runtime_error);
}

TEST(RelayServerUrl, NamesHostPortAndPin) {
  ByteArray<32> pin{};
  pin[31] = std::byte{0xff};
  const std::string hex = std::string(62, '0') + "ff";
  EXPECT_EQ(relay_server_url("relay.example", 443, pin), "https://relay.example:443?pin=sha256-raw:" + hex);
  EXPECT_EQ(relay_server_url("2001:db8::1", 3340, pin), "https://[2001:db8::1]:3340?pin=sha256-raw:" + hex);
}

TEST(TlsCertificate, IsPinnedByTheDigestOfItsDer) {
  SelfSignedOptions options;
  options.hosts = {"relay.example", "127.0.0.1", "::1"};
  const TlsIdentity identity = make_self_signed(options, wall_now());
  BioPtr bio(BIO_new_mem_buf(identity.certificate_chain_pem.data(),
                             static_cast<int>(identity.certificate_chain_pem.size())));
  X509Ptr certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  ASSERT_TRUE(certificate);
  ByteArray<32> digest;
  unsigned size = 0;
  ASSERT_EQ(X509_digest(certificate.get(), EVP_sha256(), as_uchar(ByteSpan(digest)), &size), 1);
  EXPECT_EQ(certificate_pin(identity.certificate_chain_pem), digest);
  EXPECT_EQ(X509_check_host(certificate.get(), "relay.example", 0, 0, nullptr), 1);
  EXPECT_EQ(X509_check_host(certificate.get(), "other.example", 0, 0, nullptr), 0);
  EXPECT_EQ(X509_check_ip_asc(certificate.get(), "127.0.0.1", 0), 1);
  EXPECT_EQ(X509_check_ip_asc(certificate.get(), "::1", 0), 1);
  EXPECT_EQ(X509_verify(certificate.get(), X509_get0_pubkey(certificate.get())), 1);
}

TEST(TlsCertificate, IsNotMadeForWhatIsNoHostName) {
  for (const char* host : {"", "a,DNS:evil.example", "with space", "new\nline"}) {
    SelfSignedOptions options;
    options.hosts = {host};
    EXPECT_THROW(make_self_signed(options, wall_now()), std::runtime_error) << host;
  }
}

}  // namespace
}  // namespace dh::io
