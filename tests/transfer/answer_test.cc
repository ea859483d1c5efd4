#include "transfer/answer.hh"

#include <gtest/gtest.h>

#include "transfer/limits.hh"
#include "transfer/sender_core.hh"

namespace dh::transfer {
namespace {

Manifest files(std::uint32_t count, std::uint64_t size = 3 * kBlockBytes) {
  Manifest out;
  for (std::uint32_t i = 0; i < count; ++i) EXPECT_TRUE(out.add({.name = std::to_string(i), .size = size}));
  return out;
}

TEST(Answer, HasItsGoldenBytes) {
  Answer answer;
  answer.nonce.fill(std::byte{0xaa});
  answer.spans = {{.wish = Span::Wish::Skip, .first = 0, .count = 300},
                  {.wish = Span::Wish::Resume, .first = 300, .count = 1, .blocks = 2}};
  answer.spans[1].digest.fill(std::byte{0xbb});
  const auto messages = answer.serialize();
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(to_hex(messages[0]),
            "01aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
            "01ac02"
            "0402bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
            "00");
  const Manifest manifest = files(301);
  MessageReader reader(manifest);
  EXPECT_TRUE(std::holds_alternative<MessageReader::AnswerComplete>(*reader.on_message(messages[0])));
  EXPECT_EQ(reader.answer(), answer);
}

TEST(Answer, GoesIntoManyMessagesAndBack) {
  Answer answer;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    Span span{.wish = i % 2 ? Span::Wish::Resume : Span::Wish::Whole, .first = i};
    if (i % 2) span.blocks = 1;
    answer.spans.push_back(span);
  }
  const Manifest manifest = files(1000);
  MessageReader reader(manifest);
  for (const Bytes& message : answer.serialize()) {
    EXPECT_LE(message.size(), kMaxMessageBytes);
    ASSERT_TRUE(reader.on_message(message));
  }
  EXPECT_TRUE(reader.answered());
  EXPECT_EQ(reader.answer(), answer);
}

TEST(Answer, MustFitTheManifest) {
  const auto refused = [](std::string_view hex) {
    const Manifest manifest = files(4);
    MessageReader reader(manifest);
    return !reader.on_message(*from_hex("01" + std::string(32, '0') + std::string(hex)));
  };
  EXPECT_FALSE(refused("020400"));
  EXPECT_TRUE(refused("020300"));  // one is not covered
  EXPECT_TRUE(refused("0205"));    // there are four
  EXPECT_TRUE(refused("0200"));    // a run of none
  EXPECT_TRUE(
      refused("0204"
              "00"
              "00"));  // bytes behind the end
  EXPECT_TRUE(
      refused("05040"
              "0"));                                    // unknown wish
  EXPECT_TRUE(refused("0403" + std::string(64, '0')));  // all three blocks: that is Have
  EXPECT_TRUE(refused("0304" + std::string(62, '0')));  // cut
  EXPECT_TRUE(refused("02ffffffffffffffffffff01"));     // a number too long
}

TEST(Answer, ComesOnceAndInOrder) {
  const Manifest manifest = files(2);
  const Bytes start = *from_hex("01" + std::string(32, '0') + "0201");
  const Bytes more = *from_hex("02020100");
  MessageReader early(manifest);
  EXPECT_FALSE(early.on_message(more));
  MessageReader reader(manifest);
  EXPECT_TRUE(reader.on_message(start));
  EXPECT_TRUE(reader.on_message(more));
  EXPECT_TRUE(reader.answered());
  EXPECT_FALSE(reader.on_message(more));
  MessageReader twice(manifest);
  EXPECT_TRUE(twice.on_message(start));
  EXPECT_FALSE(twice.on_message(start));
  EXPECT_FALSE(MessageReader(manifest).on_message({}));
  EXPECT_FALSE(MessageReader(manifest).on_message(*from_hex("09")));
}

TEST(Answer, OtherMessagesAreHeardAtAnyTime) {
  const Manifest manifest = files(2);
  MessageReader reader(manifest);
  EXPECT_EQ(std::get<PausedMessage>(*reader.on_message(serialize(PausedMessage{"disk full"}))).why,
            "disk full");
  const ResultMessage result{2, "no permission"};
  EXPECT_EQ(std::get<ResultMessage>(*reader.on_message(serialize(result))), result);
  EXPECT_FALSE(reader.on_message(serialize(ResultMessage{3, ""})));  // more than there are
  EXPECT_EQ(serialize(PausedMessage{std::string(500, 'x')}).size(), 1 + kMaxReasonBytes);
}

TEST(SenderCore, GivesTheTasksOfTheAnswerInOrder) {
  const Manifest manifest = files(3);
  SenderCore core(manifest, {});
  for (Bytes out; core.poll_offer(out);) {
  }
  Answer answer;
  answer.spans = {{.wish = Span::Wish::Have, .first = 0, .count = 1}, {.first = 1, .count = 2}};
  for (const Bytes& message : answer.serialize()) ASSERT_TRUE(core.on_message(message));
  ASSERT_TRUE(core.answered());
  EXPECT_EQ(core.next_task(), answer.spans[0]);
  EXPECT_EQ(core.next_task(), answer.spans[1]);
  EXPECT_EQ(core.next_task(), std::nullopt);
}

TEST(SenderCore, AnAnswerBeforeTheOfferIsNonsense) {
  const Manifest manifest = files(1);
  SenderCore core(manifest, {});
  Answer answer;
  answer.spans = {{.first = 0, .count = 1}};
  EXPECT_FALSE(core.on_message(answer.serialize()[0]));
}

}  // namespace
}  // namespace dh::transfer
