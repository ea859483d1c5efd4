#include "io/ssh_host.hh"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/memory_ends.hh"

namespace dh::io {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

session::SshKey key(unsigned char fill) {
  session::SshKey key;
  key.type = "ssh-ed25519";
  Writer out(key.blob);
  out.u32(11);
  out.text("ssh-ed25519");
  out.u32(32);
  out.bytes(Bytes(32, std::byte{fill}));
  return key;
}

class SshHost : public ::testing::Test {
protected:
  void SetUp() override {
    char name[] = "/tmp/derphole-ssh-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write(const std::string& name, const std::string& text) {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }
  fs::path folder_;
};

TEST_F(SshHost, TellsItsKeysWithoutTheirComments) {
  write("ssh_host_ed25519_key.pub", session::format_ssh_key(key(1)) + " root@a machine's name\n");
  write("ssh_host_other_key.pub", session::format_ssh_key(key(2)) + "\n");
  write("ssh_host_dsa_key.pub", "ssh-dss AAAA old\n");
  write("ssh_host_ed25519_key", "-----BEGIN OPENSSH PRIVATE KEY-----\n");
  SshHostOptions options;
  options.key_folder = folder_;
  options.port = 2222;
  const auto access = describe_ssh_host(options);
  ASSERT_TRUE(access) << access.error();
  EXPECT_EQ(access->host_keys, (std::vector{key(1), key(2)}));
  EXPECT_EQ(access->port, 2222);
  EXPECT_FALSE(access->user.empty());
  EXPECT_EQ(session::SshAccess::parse(access->serialize()), *access);
}

TEST_F(SshHost, SaysWhenThereIsNoServerOrNoSuchUser) {
  SshHostOptions options;
  options.key_folder = folder_;
  EXPECT_THAT(describe_ssh_host(options).error(), HasSubstr("is an ssh server installed"));
  options.user = "-oProxyCommand=x";
  EXPECT_THAT(describe_ssh_host(options).error(), HasSubstr("no user"));
}

TEST_F(SshHost, FindsTheClientsKeyAndDropsAnOddComment) {
  EXPECT_THAT(read_own_ssh_key("", folder_).error(), HasSubstr("ssh-keygen"));
  write(".ssh/id_rsa.pub", "ssh-rsa AAAA me\n");
  EXPECT_THAT(read_own_ssh_key("", folder_).error(), HasSubstr("cannot be used"));
  write(".ssh/id_ed25519.pub", session::format_ssh_key(key(1)) + " My Laptop!\n");
  EXPECT_EQ(read_own_ssh_key("", folder_), key(1));
  EXPECT_THAT(read_own_ssh_key(folder_ / "none", folder_).error(), HasSubstr("No such file"));
}

TEST(MemoryEnds, TheSourceWaitsForItsBytes) {
  const auto late = std::make_shared<LateBytes>();
  int notified = 0;
  const auto source = late_source(late)([&] { ++notified; });
  EXPECT_TRUE(source->peek().empty());
  EXPECT_FALSE(source->finished());
  late->give(to_bytes(as_bytes("yes")));
  EXPECT_EQ(notified, 1);
  EXPECT_EQ(as_text(source->peek()), "yes");
  source->consume(2);
  EXPECT_EQ(as_text(source->peek()), "s");
  EXPECT_FALSE(source->finished());
  source->consume(1);
  EXPECT_TRUE(source->finished());
}

TEST(MemoryEnds, TheSinkStopsAtItsBound) {
  const auto received = std::make_shared<ReceivedBytes>();
  const auto sink = memory_sink(received, 5)({});
  EXPECT_EQ(sink->write(as_bytes("abc")), 3u);
  EXPECT_EQ(sink->write(as_bytes("def")), 0u);
  EXPECT_TRUE(sink->fault());
  sink->finish();
  EXPECT_FALSE(sink->finished());
  EXPECT_EQ(as_text(received->bytes), "abc");
}

}  // namespace
}  // namespace dh::io
