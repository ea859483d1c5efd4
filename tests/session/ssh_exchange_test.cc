#include "session/ssh_exchange.hh"

#include <gtest/gtest.h>

namespace dh::session {
namespace {

SshKey key(unsigned char fill = 7) {
  SshKey key;
  key.type = "ssh-ed25519";
  Writer out(key.blob);
  out.u32(11);
  out.text("ssh-ed25519");
  out.u32(32);
  out.bytes(Bytes(32, std::byte{fill}));
  return key;
}

SshAccess access() {
  SshAccess access;
  access.user = "ada";
  access.port = 2222;
  access.hosts = {"host.example", "192.0.2.7", "2001:db8::7"};
  access.host_keys = {key(1), key(2)};
  access.expires = UnixSeconds(std::chrono::seconds(1'800'000'000));
  access.grant_id.fill(std::byte{0xab});
  return access;
}

TEST(SshOffer, CrossesInMessagesOfAnySize) {
  SshKey offered = key();
  offered.comment = "me@host";
  for (const std::size_t size : {2u, 7u, 1000u}) {
    SshOfferReader reader;
    const auto messages = ssh_offer_messages(offered, size);
    for (std::size_t i = 0; i < messages.size(); ++i) {
      EXPECT_LE(messages[i].size(), size);
      const auto result = reader.on_message(messages[i]);
      ASSERT_EQ(result.has_value(), i + 1 == messages.size());
      if (result) {
        EXPECT_EQ(**result, offered);
      }
    }
    EXPECT_FALSE(reader.on_message(messages.back())) << "one offer is all";
  }
}

TEST(SshOffer, StopsAtItsBoundAndAtNonsense) {
  SshOfferReader endless;
  const Bytes more = Bytes(1000, std::byte{0});
  std::optional<std::expected<SshKey, SshKeyError>> result;
  int messages = 0;
  while (!result && messages < 100) result = endless.on_message(more), ++messages;
  ASSERT_TRUE(result);
  EXPECT_EQ(result->error(), SshKeyError::TooLong);
  EXPECT_LE(messages, 17);
  EXPECT_FALSE(SshOfferReader().on_message({})->has_value());
  EXPECT_FALSE(SshOfferReader().on_message(to_bytes(as_bytes("xyz")))->has_value());
  const Bytes two_keys = [] {
    Bytes bytes{std::byte{1}};
    Writer(bytes).text(format_ssh_key(key()) + "\nssh-rsa AAAA");
    return bytes;
  }();
  EXPECT_EQ(SshOfferReader().on_message(two_keys)->error(), SshKeyError::SeveralLines);
}

TEST(SshAccess, ReadsBackAndRefusesEveryTruncation) {
  const Bytes bytes = access().serialize();
  EXPECT_EQ(SshAccess::parse(bytes), access());
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(SshAccess::parse(ByteView(bytes).first(size))) << size;
  Bytes longer = bytes;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(SshAccess::parse(longer));
}

TEST(SshAccess, NamesThatWouldBeOptionsOrShellAreRefused) {
  for (const char* user : {"", "-oProxyCommand=x", "a b", "a;b", "a$b", "a@b", "a\nb"})
    EXPECT_FALSE(is_ssh_user(user)) << user;
  EXPECT_FALSE(is_ssh_user(std::string(33, 'a')));
  for (const char* host : {"", "-p", "a b", "a`b", "a/b", "a@b", "[::1]", "fe80::1%eth0"})
    EXPECT_FALSE(is_ssh_host(host)) << host;
  EXPECT_TRUE(is_ssh_host("::1"));
  // The same names on the wire.
  Bytes bytes = access().serialize();
  const std::string text(as_text(bytes));
  bytes[text.find("ada")] = std::byte{'-'};
  EXPECT_EQ(SshAccess::parse(bytes).error(), WireError::BadValue);
}

TEST(SshAccess, MakesTheCommandAndPinnedHostLines) {
  SshAccess here = access();
  EXPECT_EQ(ssh_command(here), "ssh -p 2222 ada@host.example");
  here.port = 22;
  EXPECT_EQ(ssh_command(here), "ssh ada@host.example");
  here.hosts = {"host.example"};
  here.host_keys = {key(1)};
  EXPECT_EQ(known_hosts_lines(here), "host.example " + format_ssh_key(key(1)) + "\n");
  here.port = 2222;
  EXPECT_EQ(known_hosts_lines(here), "[host.example]:2222 " + format_ssh_key(key(1)) + "\n");
}

}  // namespace
}  // namespace dh::session
