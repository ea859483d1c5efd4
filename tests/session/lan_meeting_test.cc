#include "session/lan_meeting.hh"

#include <gtest/gtest.h>

namespace dh::session {
namespace {

class LanMeeting : public ::testing::Test {
protected:
  static LanKeys keys(std::string_view words, std::int64_t hour) {
    crypto_init();
    return *lan_keys(*parse_code(std::string(words) + "-zoo-zoo"), hour, {1, 8192});
  }
  SeededRng rng_{5};
  LanRelay relay_{4433, {std::byte{7}}};
  LanAnswerer answerer_{keys("able-zone", 100), relay_, rng_};
};

TEST_F(LanMeeting, WhoKnowsTheWordsLearnsPortAndPin) {
  const LanAsker asker({keys("able-zone", 101), keys("able-zone", 100)}, rng_);
  const auto answer = answerer_.on_question(asker.question(), Instant{});
  ASSERT_TRUE(answer);
  EXPECT_LE(answer->size(), asker.question().size());
  EXPECT_EQ(asker.on_answer(*answer), relay_);
}

TEST_F(LanMeeting, OtherWordsAndHoursGetSilence) {
  for (const auto& wrong : {keys("able-zoo", 100), keys("able-zone", 101)}) {
    const LanAsker asker({wrong}, rng_);
    EXPECT_FALSE(answerer_.on_question(asker.question(), Instant{}));
  }
  EXPECT_FALSE(answerer_.on_question({}, Instant{}));
  EXPECT_EQ(answerer_.counters().questions, 2u);
  EXPECT_EQ(answerer_.counters().malformed, 1u);
}

TEST_F(LanMeeting, AnswersOfOthersAndToOthersCountNothing) {
  const LanAsker asker({keys("able-zone", 100)}, rng_), other({keys("able-zone", 100)}, rng_);
  const auto answer = answerer_.on_question(asker.question(), Instant{});
  EXPECT_FALSE(other.on_answer(*answer)) << "another question's answer";
  // An echo of the tag, which everybody on the network has seen, makes no answer.
  wire::LanAnswer forged = *wire::LanAnswer::parse(*answer);
  forged.sealed[0] ^= std::byte{1};
  EXPECT_FALSE(asker.on_answer(forged.serialize()));
  forged = *wire::LanAnswer::parse(*answer);
  forged.salt[0] ^= std::byte{1};
  EXPECT_FALSE(asker.on_answer(forged.serialize()));
}

TEST_F(LanMeeting, AFloodIsAnsweredTenTimesASecond) {
  const LanAsker asker({keys("able-zone", 100)}, rng_);
  int answers = 0;
  for (int i = 0; i < 10'000; ++i)
    if (answerer_.on_question(asker.question(), Instant{} + std::chrono::microseconds(100 * i))) ++answers;
  EXPECT_LE(answers, 21);
  EXPECT_EQ(answerer_.counters().rate_limited, 10'000u - static_cast<unsigned>(answers));
}

}  // namespace
}  // namespace dh::session
