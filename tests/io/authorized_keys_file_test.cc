#include "io/authorized_keys_file.hh"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "scratch_directory.hh"
#include "ssh_test_key.hh"

namespace dh::io {
namespace {

namespace fs = std::filesystem;

session::SshGrant grant(unsigned char fill = 7) {
  session::SshGrant grant;
  grant.id.fill(std::byte{fill});
  grant.expires = UnixSeconds(std::chrono::seconds(1'800'000'000));
  grant.key = ssh_test_key(fill);
  return grant;
}

class KeyFile : public ::testing::Test {
protected:
  fs::path file() const { return home_ / ".ssh" / "authorized_keys"; }
  void write(const std::string& text, mode_t mode = 0600) {
    fs::create_directories(home_ / ".ssh");
    ::chmod((home_ / ".ssh").c_str(), 0700);
    std::ofstream(file()) << text;
    ::chmod(file().c_str(), mode);
  }
  std::string text() const {
    std::stringstream out;
    out << std::ifstream(file()).rdbuf();
    return out.str();
  }
  static mode_t mode(const fs::path& path) {
    struct stat info {};
    ::stat(path.c_str(), &info);
    return info.st_mode & 07777;
  }
  KeyFileError error_of_add() {
    const auto added = AuthorizedKeysFile(home_).add(grant());
    EXPECT_FALSE(added);
    return added ? KeyFileError::Failed : added.error().error;
  }
  std::size_t entries() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(home_ / ".ssh"), fs::directory_iterator()));
  }
  ScratchDirectory scratch_;
  const fs::path home_ = scratch_.path();
};

TEST_F(KeyFile, IsMadePrivateWhenThereIsNone) {
  ASSERT_TRUE(AuthorizedKeysFile(home_).add(grant()));
  EXPECT_EQ(text(), session::authorized_key_line(grant()) + "\n");
  EXPECT_EQ(mode(file()), 0600u);
  EXPECT_EQ(mode(home_ / ".ssh"), 0700u);
  EXPECT_EQ(entries(), 1u) << "no temporary file stays";
}

TEST_F(KeyFile, KeepsWhatWasThereAndItsMode) {
  write("# mine\nssh-rsa AAAA me", 0644);
  AuthorizedKeysFile keys(home_);
  ASSERT_TRUE(keys.add(grant(1)));
  ASSERT_TRUE(keys.add(grant(2)));
  EXPECT_EQ(mode(file()), 0644u);
  ASSERT_EQ(keys.list()->size(), 2u);
  EXPECT_EQ(*keys.revoke(keys.list()->front().id), 1u);
  EXPECT_EQ(*keys.revoke("all"), 1u);
  EXPECT_EQ(*keys.revoke("all"), 0u);
  EXPECT_EQ(text(), "# mine\nssh-rsa AAAA me\n");
}

TEST_F(KeyFile, TakesAKeyOnce) {
  ASSERT_TRUE(AuthorizedKeysFile(home_).add(grant()));
  const std::string before = text();
  EXPECT_EQ(error_of_add(), KeyFileError::AlreadyThere);
  EXPECT_EQ(text(), before);
}

TEST_F(KeyFile, NeverFollowsLinks) {
  fs::create_directories(home_ / "elsewhere");
  std::ofstream(home_ / "elsewhere" / "target") << "untouched\n";
  fs::create_directories(home_ / ".ssh");
  ::chmod((home_ / ".ssh").c_str(), 0700);
  fs::create_symlink(home_ / "elsewhere" / "target", file());
  EXPECT_EQ(error_of_add(), KeyFileError::Unsafe);
  fs::remove_all(home_ / ".ssh");
  fs::create_directory_symlink(home_ / "elsewhere", home_ / ".ssh");
  EXPECT_EQ(error_of_add(), KeyFileError::Unsafe);
  EXPECT_EQ(std::distance(fs::directory_iterator(home_ / "elsewhere"), fs::directory_iterator()), 1);
}

TEST_F(KeyFile, RefusesWhatOthersMayWriteTo) {
  write("", 0666);
  EXPECT_EQ(error_of_add(), KeyFileError::Unsafe);
  write("", 0600);
  ::chmod((home_ / ".ssh").c_str(), 0777);
  EXPECT_EQ(error_of_add(), KeyFileError::Unsafe);
  ::chmod((home_ / ".ssh").c_str(), 0700);
  ::chmod(home_.c_str(), 0777);
  EXPECT_EQ(error_of_add(), KeyFileError::Unsafe);
  ::chmod(home_.c_str(), 0700);
  fs::create_hard_link(file(), home_ / "twin");
  EXPECT_EQ(error_of_add(), KeyFileError::Unsafe);
  fs::remove(home_ / "twin");
  EXPECT_TRUE(AuthorizedKeysFile(home_).add(grant()));
}

TEST_F(KeyFile, RefusesWhatIsNoFile) {
  fs::create_directories(home_ / ".ssh");
  ::chmod((home_ / ".ssh").c_str(), 0700);
  ASSERT_EQ(::mkfifo(file().c_str(), 0600), 0);
  EXPECT_EQ(error_of_add(), KeyFileError::Unsafe);
}

TEST_F(KeyFile, HasNothingToRevokeWithoutAFolder) {
  EXPECT_FALSE(AuthorizedKeysFile(home_).revoke("all"));
  EXPECT_FALSE(fs::exists(home_ / ".ssh"));
}

}  // namespace
}  // namespace dh::io
