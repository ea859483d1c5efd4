#include "io/resolve.hh"

#include <thread>

#include <gtest/gtest.h>

#include "io/clock.hh"
#include "loopback.hh"

namespace dh::io::testing {
namespace {

using Resolved = std::expected<std::vector<IpAddress>, std::string>;

class Resolve : public ::testing::Test {
protected:
  Resolved go(Lookup lookup, Duration patience = 10s, std::string host = "relay.test") {
    return run(context_, resolve(std::move(host), std::move(lookup), now() + patience));
  }
  asio::io_context context_;
};

TEST_F(Resolve, KnowsLocalhostWhateverTheSystemSays) {
  for (const char* name : {"localhost", "relay.localhost"}) {
    const Resolved found = go({}, 10s, name);
    ASSERT_TRUE(found) << found.error();
    EXPECT_EQ(found->size(), 2u);
    for (const IpAddress& address : *found) EXPECT_TRUE(address.is_loopback()) << address.to_string();
  }
}

TEST_F(Resolve, AsksTheSystemForOtherNames) {
  const Resolved found = go({}, 10s, "127.0.0.1");  // the only name that every system knows
  ASSERT_TRUE(found) << found.error();
  EXPECT_EQ(*found, std::vector<IpAddress>{IpAddress::v4(127, 0, 0, 1)});
}

TEST_F(Resolve, DoesNotWaitForALookupThatNeverAnswers) {
  LookupDone kept;
  const Resolved found = go([&kept](const std::string&, LookupDone done) { kept = std::move(done); }, 20ms);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error(), "DNS did not answer in time");
  kept({{}, {IpAddress::v4(192, 0, 2, 1)}});  // too late: nobody is hurt
  context_.restart();
  EXPECT_EQ(context_.poll(), 0u);
}

TEST_F(Resolve, MayBeAnsweredAfterItsLoopHasGone) {
  LookupDone kept;
  {
    asio::io_context context;
    asio::co_spawn(context,
                   resolve(
                       "relay.test", [&kept](const std::string&, LookupDone done) { kept = std::move(done); },
                       now() + 10s),
                   [](std::exception_ptr, Resolved) {});
    while (!kept) ASSERT_EQ(context.run_one(), 1u);
  }
  std::thread(kept, LookupAnswer{{}, {IpAddress::v4(192, 0, 2, 1)}}).join();
}

TEST_F(Resolve, TakesAnAnswerFromAnyThreadOrFromInsideTheCall) {
  const LookupAnswer answer{{}, {IpAddress::v4(192, 0, 2, 1)}};
  const Resolved inside = go([&](const std::string&, const LookupDone& done) { done(answer); });
  ASSERT_TRUE(inside) << inside.error();
  EXPECT_EQ(*inside, answer.addresses);
  std::thread thread;
  const Resolved outside = go(
      [&](const std::string&, LookupDone done) { thread = std::thread([done, answer] { done(answer); }); });
  thread.join();
  ASSERT_TRUE(outside) << outside.error();
  EXPECT_EQ(*outside, answer.addresses);
}

TEST_F(Resolve, TakesTheFirstOfSeveralAnswers) {
  const Resolved found = go([](const std::string&, const LookupDone& done) {
    done({{}, {IpAddress::v4(192, 0, 2, 1)}});
    done({{}, {IpAddress::v4(192, 0, 2, 2)}});
  });
  ASSERT_TRUE(found) << found.error();
  EXPECT_EQ(*found, std::vector{IpAddress::v4(192, 0, 2, 1)});
}

TEST_F(Resolve, KeepsEachAddressOnceAndSixteenAtMost) {
  const Resolved found = go([](const std::string&, const LookupDone& done) {
    LookupAnswer answer;
    for (std::uint8_t i = 0; i < 40; ++i) {
      answer.addresses.push_back(IpAddress::v4(192, 0, 2, i));
      answer.addresses.push_back(IpAddress::v4(192, 0, 2, 0));
    }
    done(std::move(answer));
  });
  ASSERT_TRUE(found) << found.error();
  ASSERT_EQ(found->size(), 16u);
  for (std::uint8_t i = 0; i < 16; ++i) EXPECT_EQ((*found)[i], IpAddress::v4(192, 0, 2, i));
}

TEST_F(Resolve, SaysInWordsWhatWentWrong) {
  const auto fails = [this](boost::system::error_code error) {
    return go([error](const std::string&, const LookupDone& done) { done({error, {}}); }).error();
  };
  EXPECT_EQ(fails(asio::error::host_not_found), "no such host");
  EXPECT_EQ(fails(asio::error::no_data), "no such host");
  EXPECT_EQ(fails({}), "the name has no address");
  EXPECT_TRUE(fails(asio::error::host_not_found_try_again).starts_with("DNS failed ("));
}

}  // namespace
}  // namespace dh::io::testing
