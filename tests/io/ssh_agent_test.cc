#include "io/ssh_agent.hh"

#include <atomic>
#include <chrono>
#include <semaphore>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "io/clock.hh"
#include "io/listen_socket.hh"
#include "scratch_directory.hh"
#include "ssh_test_key.hh"

namespace dh::io {
namespace {

using ::testing::HasSubstr;

struct Held {
  Bytes blob;
  std::string_view comment;
};

Bytes answer_of(const std::vector<Held>& keys) {
  Bytes body;
  Writer w(body);
  w.u8(12);
  w.u32(static_cast<std::uint32_t>(keys.size()));
  for (const Held& key : keys) {
    w.u32(static_cast<std::uint32_t>(key.blob.size()));
    w.bytes(key.blob);
    w.u32(static_cast<std::uint32_t>(key.comment.size()));
    w.text(key.comment);
  }
  Bytes out;
  Writer framed(out);
  framed.u32(static_cast<std::uint32_t>(body.size()));
  framed.bytes(body);
  return out;
}

// Somebody at an agent's socket who gives one answer to whatever is asked, and hangs up.
class SshAgent : public ::testing::Test {
protected:
  void SetUp() override {
    listener_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy(socket_.begin(), socket_.end(), address.sun_path);
    ASSERT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(listener_.get(), 1), 0);
  }

  auto ask(const Bytes& answer) {
    std::thread agent([&] {
      const Fd peer(::accept(listener_.get(), nullptr, nullptr));
      char request[5];
      (void)!::recv(peer.get(), request, sizeof request, MSG_WAITALL);
      (void)!::send(peer.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
    });
    auto keys = ssh_agent_keys(socket_);
    agent.join();
    return keys;
  }

  ScratchDirectory folder_;
  const std::string socket_ = folder_ / "agent";
  Fd listener_;
};

TEST_F(SshAgent, GivesItsUsableKeysBestFirst) {
  Bytes security_key;
  Writer w(security_key);
  w.u32(26);
  w.text("sk-ssh-ed25519@openssh.com");
  w.u32(32);
  w.bytes(Bytes(32, std::byte{9}));
  w.u32(4);
  w.text("ssh:");
  const auto keys =
      ask(answer_of({{security_key, "token"}, {{}, "nothing"}, {ssh_test_key(1).blob, "me@home"}}));
  ASSERT_TRUE(keys) << keys.error();
  ASSERT_EQ(keys->size(), 2u);
  EXPECT_EQ((*keys)[0].type, "ssh-ed25519");
  EXPECT_EQ((*keys)[0].comment, "me@home");
  EXPECT_EQ((*keys)[0].blob, ssh_test_key(1).blob);
  EXPECT_EQ((*keys)[1].type, "sk-ssh-ed25519@openssh.com");
}

TEST_F(SshAgent, DropsACommentThatNobodyShouldWriteIntoAFile) {
  const auto keys = ask(answer_of({{ssh_test_key(1).blob, "x\nssh-rsa AAAA evil"}}));
  ASSERT_TRUE(keys);
  ASSERT_EQ(keys->size(), 1u);
  EXPECT_EQ((*keys)[0].comment, "");
}

TEST_F(SshAgent, AnAnswerInDropsIsNotWaitedForLongerThanAnother) {
  const Bytes answer = answer_of({{ssh_test_key(1).blob, "me@home"}});
  std::binary_semaphore given_up{0};
  std::atomic<std::size_t> sent = 0;
  std::thread agent([&] {
    const Fd peer(::accept(listener_.get(), nullptr, nullptr));
    do {  // slow, but never silent for 400 ms
      (void)!::send(peer.get(), answer.data() + sent, 1, MSG_NOSIGNAL);
    } while (++sent < answer.size() && !given_up.try_acquire_for(std::chrono::milliseconds(50)));
  });
  const Instant begun = now();
  const auto keys = ssh_agent_keys(socket_, 400ms);
  const Duration took = now() - begun;
  const std::size_t sent_by_then = sent;
  given_up.release();
  agent.join();
  ASSERT_FALSE(keys);
  EXPECT_THAT(keys.error(), HasSubstr("in the middle"));
  EXPECT_GE(took, 400ms);
  EXPECT_LT(sent_by_then, answer.size()) << "it waited for all of it";
}

TEST_F(SshAgent, NonsenseIsAClause) {
  Bytes cut = answer_of({{ssh_test_key(1).blob, "c"}});
  cut.resize(cut.size() - 3);
  EXPECT_THAT(ask(cut).error(), HasSubstr("in the middle"));
  Bytes lies = answer_of({{ssh_test_key(1).blob, "c"}});
  lies[8] = std::byte{9};  // nine keys
  EXPECT_THAT(ask(lies).error(), HasSubstr("nonsense"));
  EXPECT_THAT(ask(*from_hex("ffffffff0c")).error(), HasSubstr("nonsense"));
  EXPECT_THAT(ask(*from_hex("0000000005")).error(), HasSubstr("nonsense"));
  EXPECT_THAT(ask(*from_hex("000000050500000000")).error(), HasSubstr("refuses"));
  EXPECT_THAT(ask({}).error(), HasSubstr("says nothing"));
  EXPECT_FALSE(ssh_agent_keys(folder_ / "nobody"));
  EXPECT_FALSE(ssh_agent_keys(""));
  EXPECT_FALSE(ssh_agent_keys(std::string(200, 'x')));
}

}  // namespace
}  // namespace dh::io
