#include "session/ssh_key.hh"

#include <gtest/gtest.h>

#include "session/authorized_keys.hh"

namespace dh::session {
namespace {

// Made with ssh-keygen for this test; the private halves are gone.
const std::string kEd25519 =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF0oleKJ+Wqk1KL58+SjNWfxHO+R9o1a+rXQLzPnEIpx me@host";
const std::string kEcdsa =
    "ecdsa-sha2-nistp384 "
    "AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBCejGDceLOGr0dX4X9egnCIwt7q2wNaZWpTxJ1HFm5zyhAdJ9tEY"
    "WyQsmPjOegBqpfHfZ95MlPSuCLj8WfR5YF0ZLzsFJ9xOeN8OuYXxbOnbKupJFKi/CdUWzSLq6LytUQ== me@host";
const std::string kRsa3072 =
    "ssh-rsa "
    "AAAAB3NzaC1yc2EAAAADAQABAAABgQCmiAJCzir9KCRI9sqtTiH3bXXz62iA13IzdeM45GecZBcSa5U2XEa8LMZltDXSqpvhckWyYdGi"
    "YvY539RybR+qUHo+IgVZM8SkOL19xu00a+oeSSmFdkNzoxYBBGXGHZIWGbyKTt9JoycwMVQFlJy4o4xblfvXfM18I+"
    "JCWBeu40JfFWxt03+Nmuziq0cslxk1WGAC+oy4NukN1OD/jxwE/"
    "1er+1hqs4FLm1Y3RZiN7p2FPrdYS6nHTlW70riMS2fHk2hAPZ+BgRT9Gyt1fEvE4oEF2xUXySv4pi3wfZD9OCLXihKqDVW5CSC7S+"
    "eo9/3w/M2zrsz5B/7j9CEHIgH17o0+/G+ANQYlNlYjuoD7RqXR/"
    "WXTYplfR7ndov1tUBmKGGqD+PXPQFiwMzYJWusZw3eDh4Ou5bTKKs+nnqItvqEdltCGtgOqndS96BHrikxo+H/"
    "QOfRIp2pvYBaME6sEI86rrrQU8faG7l2RyAFTxLiAbGz3+7YJvJoJDkdyc3U= me@host";
const std::string kRsa2048 =
    "ssh-rsa "
    "AAAAB3NzaC1yc2EAAAADAQABAAABAQDIfPfM/"
    "FFhwcIskiFQu6PkfnoUZjIXk4UyZTrUxQGVd+m0iKCBV8AsEygcRu48is0wUbDKfjJIvpSMlVj+Kq4w2CSgw+"
    "DMwj4fo09nN8qtErQuBn5w5dHMbkS/uLSDGUNQ0wgstkjJ3i30UWD9iP6OpkFYc170Xjs/"
    "xVGtK1rveQOjEOm7zOYpf5jxb9yyeQMzL72z0UvHK7a8Q97UmDn9FNeFNrokmiD1UO4Ep5CzKOph0myrXm7fyqELc5qqevRhOnpKcgHG"
    "bGQhmS/0w7gfGMj1qUvVqHacOmeg83jYOkON17k93lmGBWnYZXXS2vSGCsTOlo8RcqXhneSqLrXD me@host";
const std::string kEdFingerprint = "SHA256:TkAW/fOHGnnk25liWxPsV2corpRmH1Wr7Sh0sDUvMyg";

SshKeyError error_of(const std::string& text) {
  const auto key = parse_ssh_key(text);
  EXPECT_FALSE(key) << text;
  return key ? SshKeyError::Empty : key.error();
}

TEST(SshKey, TakesWhatSshKeygenWrites) {
  for (const std::string& text : {kEd25519, kEcdsa, kRsa3072}) {
    const auto key = parse_ssh_key(text + "\n");
    ASSERT_TRUE(key) << text << ": " << to_string(key.error());
    EXPECT_EQ(format_ssh_key(*key), text);
    EXPECT_EQ(key->comment, "me@host");
  }
  EXPECT_EQ(ssh_fingerprint(*parse_ssh_key(kEd25519)), kEdFingerprint);
}

TEST(SshKey, RefusesMoreThanOneLine) {
  EXPECT_EQ(error_of(kEd25519 + "\n" + kEcdsa), SshKeyError::SeveralLines);
  EXPECT_EQ(error_of(kEd25519 + "\r" + kEcdsa), SshKeyError::SeveralLines);
  EXPECT_EQ(error_of(kEd25519 + "\n\n"), SshKeyError::SeveralLines);
  EXPECT_EQ(error_of(kEd25519 + std::string(1, '\0')), SshKeyError::SeveralLines);
  EXPECT_EQ(error_of("\x1b[2J" + kEd25519), SshKeyError::SeveralLines);
}

TEST(SshKey, RefusesOptionsInFront) {
  EXPECT_EQ(error_of("command=\"/bin/sh\" " + kEd25519), SshKeyError::UnknownType);
  EXPECT_EQ(error_of("from=\"*\",pty " + kEd25519), SshKeyError::UnknownType);
}

TEST(SshKey, RefusesOtherTypesAndPrivateKeys) {
  EXPECT_EQ(error_of("ssh-dss AAAA me@host"), SshKeyError::UnknownType);
  EXPECT_EQ(error_of("ssh-ed25519-cert-v01@openssh.com AAAA"), SshKeyError::UnknownType);
  EXPECT_EQ(error_of("-----BEGIN OPENSSH PRIVATE KEY-----"), SshKeyError::UnknownType);
  EXPECT_EQ(error_of(""), SshKeyError::Empty);
  EXPECT_EQ(error_of("\n"), SshKeyError::Empty);
}

TEST(SshKey, LooksInsideTheKey) {
  std::string renamed = kEd25519;
  renamed.replace(0, 11, "ssh-rsa");
  EXPECT_EQ(error_of(renamed), SshKeyError::WrongInside);
  EXPECT_EQ(error_of("ssh-ed25519"), SshKeyError::NotBase64);
  EXPECT_EQ(error_of("ssh-ed25519 !!!! me"), SshKeyError::NotBase64);
  EXPECT_EQ(error_of("ssh-ed25519 AAAA me"), SshKeyError::WrongInside);
  EXPECT_EQ(error_of(kRsa2048), SshKeyError::TooWeak);
  const SshKey good = *parse_ssh_key(kEd25519);
  SshKey longer = good;
  longer.blob.push_back(std::byte{0});
  EXPECT_EQ(error_of(format_ssh_key(longer)), SshKeyError::WrongInside);
  for (std::size_t size = 1; size < good.blob.size(); ++size) {
    SshKey shorter = good;
    shorter.blob.resize(size);
    EXPECT_FALSE(parse_ssh_key(format_ssh_key(shorter))) << size;
  }
}

TEST(SshKey, TakesOnlyHarmlessComments) {
  const std::string bare = kEd25519.substr(0, kEd25519.rfind(' '));
  EXPECT_TRUE(parse_ssh_key(bare));
  EXPECT_EQ(error_of(bare + " two words"), SshKeyError::BadComment);
  EXPECT_EQ(error_of(bare + " semi;colon"), SshKeyError::BadComment);
  EXPECT_TRUE(parse_ssh_key(bare + " " + std::string(64, 'a')));
  EXPECT_EQ(error_of(bare + " " + std::string(65, 'a')), SshKeyError::BadComment);
  EXPECT_EQ(error_of(std::string(kMaxSshKeyText + 1, 'a')), SshKeyError::TooLong);
}

SshGrant grant(unsigned char id = 0xab) {
  SshGrant grant;
  grant.id.fill(std::byte{id});
  grant.expires = UnixSeconds(std::chrono::seconds(1'795'000'000));
  grant.key = *parse_ssh_key(kEd25519);
  return grant;
}

TEST(AuthorizedKeys, OurLineRestrictsAndExpires) {
  const std::string bare = kEd25519.substr(0, kEd25519.rfind(' '));
  EXPECT_EQ(authorized_key_line(grant()), "restrict,pty,expiry-time=\"202611181106Z\" " + bare +
                                              " derphole-invite:abababababababab:me@host");
}

TEST(AuthorizedKeys, ALineWithoutATerminalIsFoundAgainToo) {
  SshGrant bare = grant();
  bare.terminal = false;
  const std::string line = authorized_key_line(bare);
  EXPECT_TRUE(line.starts_with("restrict,expiry-time=\"202611181106Z\" ssh-ed25519 ")) << line;
  ASSERT_EQ(granted_lines(line).size(), 1u);
  EXPECT_EQ(granted_lines(line)[0].expires, "202611181106Z");
  EXPECT_EQ(revoke_authorized_keys(line + "\n", "all").removed, 1u);
  EXPECT_TRUE(granted_lines("restrict,expiry-time=\" x y derphole-invite:abababababababab").empty());
}

TEST(AuthorizedKeys, AppendsOneLineAndRepairsAMissingNewline) {
  const std::string line = authorized_key_line(grant()) + "\n";
  EXPECT_EQ(*add_authorized_key("", grant()), line);
  EXPECT_EQ(*add_authorized_key("# mine\n", grant()), "# mine\n" + line);
  EXPECT_EQ(*add_authorized_key("ssh-rsa AAAA old", grant()), "ssh-rsa AAAA old\n" + line);
}

TEST(AuthorizedKeys, NeverAddsAKeyTwice) {
  const std::string once = *add_authorized_key("", grant());
  EXPECT_EQ(add_authorized_key(once, grant(0xcd)).error(), AddKeyError::AlreadyThere);
  EXPECT_EQ(add_authorized_key("command=\"x y\" " + kEd25519, grant()).error(), AddKeyError::AlreadyThere);
  EXPECT_TRUE(add_authorized_key("# " + kEd25519 + "\n", grant()));
  EXPECT_EQ(add_authorized_key(std::string(kMaxAuthorizedKeys, '#'), grant()).error(),
            AddKeyError::FileTooLong);
}

TEST(AuthorizedKeys, RevokesOurLinesOnly) {
  SshGrant other = grant(0xcd);
  other.key = *parse_ssh_key(kEcdsa);
  const std::string mine =
      "ssh-rsa AAAA derphole-invite:abababababababab\n";  // nobody but its owner made this
  const std::string file = *add_authorized_key(*add_authorized_key("# top\n" + mine, grant()), other);
  const auto listed = granted_lines(file);
  ASSERT_EQ(listed.size(), 2u);
  EXPECT_EQ(listed[0], (GrantedLine{"abababababababab", "ssh-ed25519", "me@host", "202611181106Z"}));
  const auto one = revoke_authorized_keys(file, "abababababababab");
  EXPECT_EQ(one.removed, 1u);
  EXPECT_EQ(one.file, "# top\n" + mine + authorized_key_line(other) + "\n");
  const auto all = revoke_authorized_keys(file, "all");
  EXPECT_EQ(all.removed, 2u);
  EXPECT_EQ(all.file, "# top\n" + mine);
  EXPECT_EQ(revoke_authorized_keys(file, "").removed, 0u);
}

}  // namespace
}  // namespace dh::session
