#include "io/cheaper_way.hh"

#include <gtest/gtest.h>

namespace dh::io {
namespace {

constexpr CheaperWay::Bytes kBytes = {.first = 100, .sample = 10, .period = 1000};

// Work of `bytes` in the way it asks for, in pieces of five, at these costs a byte.
void work(CheaperWay& way, std::uint64_t bytes, Duration first, Duration second) {
  for (std::uint64_t done = 0; done < bytes; done += 5)
    way.went(way.is_second(), 5, 5 * (way.is_second() ? second : first));
}

TEST(CheaperWay, TriesTheSecondAfterTheFirstAndKeepsTheCheaperForAPeriod) {
  for (const bool second_is_cheaper : {false, true}) {
    CheaperWay way(kBytes);
    const Duration first = 2us, second = second_is_cheaper ? 1us : 3us;
    EXPECT_FALSE(way.is_second());
    EXPECT_TRUE(way.is_sample());
    work(way, 100, first, second);
    EXPECT_TRUE(way.is_second());
    EXPECT_TRUE(way.is_sample());
    work(way, 10, first, second);
    EXPECT_EQ(way.is_second(), second_is_cheaper);
    EXPECT_FALSE(way.is_sample());
    work(way, 995, first, second);
    EXPECT_EQ(way.is_second(), second_is_cheaper);
    EXPECT_FALSE(way.is_sample());
    work(way, 5, first, second);
    EXPECT_FALSE(way.is_second());
    EXPECT_TRUE(way.is_sample());
  }
}

TEST(CheaperWay, ChangesItsMindWhenCostsDo) {
  CheaperWay way(kBytes);
  work(way, 110, 1us, 2us);
  EXPECT_FALSE(way.is_second());
  work(way, 1000, 1us, 2us);
  work(way, 20, 3us, 2us);
  EXPECT_TRUE(way.is_second());
  EXPECT_FALSE(way.is_sample());
}

// Work that was under way when the other way was asked for says nothing about it.
TEST(CheaperWay, CountsInASampleOnlyWhatWentThatWay) {
  CheaperWay way(kBytes);
  way.went(true, 1000, 0us);
  EXPECT_FALSE(way.is_second());
  work(way, 100, 1us, 2us);
  way.went(false, 1000, 1s);
  EXPECT_TRUE(way.is_second());
  work(way, 10, 1us, 2us);
  EXPECT_FALSE(way.is_second()) << "a second way at twice the cost";
  EXPECT_FALSE(way.is_sample());
}

TEST(CheaperWay, StaysWithTheFirstWhereThereIsNoSecond) {
  CheaperWay way(kBytes);
  work(way, 100, 2us, 1us);
  way.give_up();
  EXPECT_FALSE(way.is_second());
  work(way, 5000, 2us, 1us);
  EXPECT_FALSE(way.is_second());
  EXPECT_FALSE(way.is_sample());
}

}  // namespace
}  // namespace dh::io
