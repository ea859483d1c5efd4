#include "io/ssh_host.hh"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/memory_ends.hh"
#include "scratch_directory.hh"
#include "ssh_test_key.hh"

namespace dh::io {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class SshHost : public ::testing::Test {
protected:
  void write(const std::string& name, const std::string& text) {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }
  ScratchDirectory scratch_;
  const fs::path folder_ = scratch_.path();
};

TEST_F(SshHost, TellsItsKeysWithoutTheirComments) {
  write("ssh_host_ed25519_key.pub", session::format_ssh_key(ssh_test_key(1)) + " root@a machine's name\n");
  write("ssh_host_other_key.pub", session::format_ssh_key(ssh_test_key(2)) + "\n");
  write("ssh_host_dsa_key.pub", "ssh-dss AAAA old\n");
  write("ssh_host_ed25519_key", "-----BEGIN OPENSSH PRIVATE KEY-----\n");
  SshHostOptions options;
  options.key_folder = folder_;
  options.port = 2222;
  const auto access = describe_ssh_host(options);
  ASSERT_TRUE(access) << access.error();
  EXPECT_EQ(access->host_keys, (std::vector{ssh_test_key(1), ssh_test_key(2)}));
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
  write(".ssh/id_ed25519.pub", session::format_ssh_key(ssh_test_key(1)) + " My Laptop!\n");
  EXPECT_EQ(read_own_ssh_key("", folder_), ssh_test_key(1));
  EXPECT_THAT(read_own_ssh_key(folder_ / "none", folder_).error(), HasSubstr("No such file"));
}

TEST(MemoryEnds, TheSourceWaitsForItsBytes) {
  const auto late = std::make_shared<LateBytes>();
  int notified = 0;
  const auto source = late_source(late)([&] { ++notified; });
  Bytes room(2);
  EXPECT_EQ(source->read(room), 0u);
  EXPECT_FALSE(source->finished());
  late->give(to_bytes(as_bytes("yes")));
  EXPECT_EQ(notified, 1);
  EXPECT_EQ(source->read(room), 2u);
  EXPECT_EQ(as_text(room), "ye");
  EXPECT_FALSE(source->finished());
  EXPECT_EQ(source->read(room), 1u);
  EXPECT_EQ(room[0], std::byte{'s'});
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
