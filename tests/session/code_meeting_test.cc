#include <gtest/gtest.h>

#include "session/code_world.hh"

namespace dh::session {
namespace {

using wire::CodeRefusal;

bool is_type(ByteView bytes, std::uint8_t type) {
  return !bytes.empty() && bytes[0] == std::byte{type};
}

TEST(CodeMeeting, HandsTheTokenToWhoKnowsTheWords) {
  CodeWorld world;
  ASSERT_TRUE(world.open());
  EXPECT_EQ(world.all<CodeReady>().size(), 1u);
  auto& receiver = world.receive();
  world.posted = 0;
  ASSERT_TRUE(world.run(1s, [&] { return receiver.core->result().has_value(); }));
  EXPECT_TRUE(receiver.has_token());
  EXPECT_EQ(world.posted, 6u);  // hello, cookie, two points, proof, gift
  ASSERT_EQ(world.all<CodeHandedOver>().size(), 1u);
  EXPECT_EQ(world.all<CodeHandedOver>()[0].receiver, receiver.key.pub);
  world.run(kGiftLinger + 1s);
  EXPECT_TRUE(world.ended_with(CodeEnd::Used));
  EXPECT_FALSE(world.up[0] || world.up[1]);
}

TEST(CodeMeeting, TheTokenNeverCrossesTheRelayInClear) {
  CodeWorld world;
  std::string seen;
  world.tamper = [&](const PublicKey&, const PublicKey&, const Bytes& bytes) {
    seen += as_text(bytes);
    return true;
  };
  ASSERT_TRUE(world.open());
  auto& receiver = world.receive();
  ASSERT_TRUE(world.run(1s, [&] { return receiver.has_token(); }));
  EXPECT_EQ(seen.find(kCodeToken), std::string::npos);
  EXPECT_EQ(seen.find("able"), std::string::npos);
}

TEST(CodeMeeting, ThreeWrongTriesBurnTheCode) {
  CodeWorld world;
  ASSERT_TRUE(world.open());
  for (unsigned i = 1; i <= kCodeTries; ++i) {
    auto& guesser = world.receive("able-wrong" + std::to_string(i));
    ASSERT_TRUE(world.run(10s, [&] { return guesser.core->result().has_value(); }));
    EXPECT_TRUE(guesser.failed_with(CodeFailure::WrongCode));
    ASSERT_EQ(world.all<CodeWrongTry>().size(), i);
    EXPECT_EQ(world.all<CodeWrongTry>().back().number, i);
    world.run(kBetweenTries);
  }
  EXPECT_TRUE(world.ended_with(CodeEnd::Burnt));
  auto& honest = world.receive();
  world.run(20s);
  EXPECT_TRUE(honest.failed_with(CodeFailure::NobodyThere));
}

TEST(CodeMeeting, TwoWrongTriesLeaveOneForTheRightOne) {
  CodeWorld world;
  ASSERT_TRUE(world.open());
  world.receive("wrong-one");
  world.run(kBetweenTries + 1s);
  world.receive("wrong-two");
  world.run(1s);
  EXPECT_EQ(world.all<CodeWrongTry>().size(), 2u);
  // Comes within the pause after a wrong try: has to wait, but is served.
  auto& honest = world.receive();
  world.run(2s);
  EXPECT_FALSE(honest.core->result());
  ASSERT_TRUE(world.run(kBetweenTries, [&] { return honest.has_token(); }));
  EXPECT_GT(world.sender->counters().too_early, 0u);
}

TEST(CodeMeeting, TriesAreCountedNoFasterThanOneInFiveSeconds) {
  CodeWorld world;
  ASSERT_TRUE(world.open());
  for (int i = 0; i < 10; ++i) world.receive("wrong-" + std::to_string(i));
  world.run(kBetweenTries - 1s);
  EXPECT_EQ(world.all<CodeWrongTry>().size(), 1u);
  world.run(kBetweenTries);
  EXPECT_EQ(world.all<CodeWrongTry>().size(), 2u);
  world.run(kBetweenTries);
  EXPECT_TRUE(world.ended_with(CodeEnd::Burnt));
}

TEST(CodeMeeting, AbandonedRunsDoNotCount) {
  CodeWorld world;
  ASSERT_TRUE(world.open());
  // Nobody's proof arrives: nobody has learnt anything.
  world.tamper = [&](const PublicKey&, const PublicKey&, Bytes& bytes) { return !is_type(bytes, 0xc5); };
  for (int i = 0; i < 20; ++i) world.receive("wrong-" + std::to_string(i));
  world.run(30s);
  EXPECT_TRUE(world.all<CodeWrongTry>().empty());
  world.tamper = nullptr;
  auto& honest = world.receive();
  EXPECT_TRUE(world.run(2s, [&] { return honest.has_token(); }));
}

TEST(CodeMeeting, TheSenderProvesNothingBeforeTheReceiverHas) {
  CodeWorld world;
  ASSERT_TRUE(world.open());
  bool gift = false;
  world.tamper = [&](const PublicKey& from, const PublicKey&, Bytes& bytes) {
    gift |= from == world.meeting.pub && is_type(bytes, 0xc6);
    return true;
  };
  world.receive("wrong-words");
  world.run(20s);
  EXPECT_FALSE(gift);
}

// A relay that plays receiver to the sender and sender to the receiver.
TEST(CodeMeeting, ARelayThatSwapsPointsGetsOneGuessAndBothSidesSeeIt) {
  CodeWorld world;
  ASSERT_TRUE(world.open());
  SeededRng hostile(99);
  unsigned points = 0;
  world.tamper = [&](const PublicKey& from, const PublicKey&, Bytes& bytes) {
    if (from != world.meeting.pub || !is_type(bytes, 0xc4)) return true;
    auto message = std::get<wire::CodeShareS>(*wire::parse_code_msg(bytes));
    const auto nonce = message.sender_nonce;
    message.point = Cpace(Cpace::Side::Responder, {as_bytes("guess"), {}, nonce}, {}, hostile).point();
    bytes = serialize(message);
    ++points;
    return true;
  };
  auto& receiver = world.receive();
  ASSERT_TRUE(world.run(10s, [&] { return receiver.core->result().has_value(); }));
  EXPECT_TRUE(receiver.failed_with(CodeFailure::WrongCode));
  EXPECT_EQ(points, 1u);
  EXPECT_EQ(world.all<CodeWrongTry>().size(), 1u);
  world.run(60s);
  EXPECT_EQ(world.all<CodeWrongTry>().size(), 1u) << "the receiver must not try again by itself";
}

TEST(CodeMeeting, TheReceiverProvesOnlyOnceHoweverManyPointsItGets) {
  CodeWorld world;
  ASSERT_TRUE(world.open());
  SeededRng hostile(98);
  std::vector<Bytes> proofs;
  world.tamper = [&](const PublicKey& from, const PublicKey& to, Bytes& bytes) {
    if (is_type(bytes, 0xc5)) {
      proofs.push_back(bytes);
      return false;
    }
    if (from == world.meeting.pub && is_type(bytes, 0xc4)) {
      auto message = std::get<wire::CodeShareS>(*wire::parse_code_msg(bytes));
      for (int i = 0; i < 50; ++i) {
        const auto nonce = message.sender_nonce;
        message.point = Cpace(Cpace::Side::Responder, {as_bytes("guess"), {}, nonce}, {}, hostile).point();
        world.flying.emplace(world.now + 1ms, CodeWorld::Packet{from, to, serialize(message)});
      }
    }
    return true;
  };
  auto& receiver = world.receive();
  world.run(60s);
  EXPECT_TRUE(receiver.failed_with(CodeFailure::NoAnswer));
  EXPECT_TRUE(receiver.core->has_guessed());
  ASSERT_FALSE(proofs.empty());
  for (const Bytes& proof : proofs) EXPECT_EQ(proof, proofs[0]);
}

TEST(CodeMeeting, AForgedGiftIsInterference) {
  CodeWorld world;
  ASSERT_TRUE(world.open());
  world.tamper = [&](const PublicKey& from, const PublicKey&, Bytes& bytes) {
    if (from == world.meeting.pub && is_type(bytes, 0xc6)) bytes.back() ^= std::byte{1};
    return true;
  };
  auto& receiver = world.receive();
  ASSERT_TRUE(world.run(5s, [&] { return receiver.core->result().has_value(); }));
  EXPECT_TRUE(receiver.failed_with(CodeFailure::Interference));
}

TEST(CodeMeeting, AnIdentityPointEndsTheTryOnEitherSide) {
  CodeWorld world;
  ASSERT_TRUE(world.open());
  world.tamper = [&](const PublicKey& from, const PublicKey&, Bytes& bytes) {
    if (from == world.meeting.pub && is_type(bytes, 0xc4))
      std::fill(bytes.end() - 32, bytes.end(), std::byte{0});
    return true;
  };
  auto& receiver = world.receive();
  ASSERT_TRUE(world.run(5s, [&] { return receiver.core->result().has_value(); }));
  EXPECT_TRUE(receiver.failed_with(CodeFailure::Interference));
  world.tamper = [&](const PublicKey& from, const PublicKey&, Bytes& bytes) {
    if (from != world.meeting.pub && is_type(bytes, 0xc3))
      std::fill(bytes.end() - 32, bytes.end(), std::byte{0});
    return true;
  };
  world.receive();
  world.run(5s);
  EXPECT_GT(world.sender->counters().bad_points, 0u);
  EXPECT_TRUE(world.all<CodeWrongTry>().empty());
}

TEST(CodeMeeting, ReplayedMessagesGiveNothing) {
  CodeWorld world;
  ASSERT_TRUE(world.open());
  std::vector<CodeWorld::Packet> recorded;
  world.tamper = [&](const PublicKey& from, const PublicKey& to, Bytes& bytes) {
    if (to == world.meeting.pub && from != world.bell.pub) recorded.push_back({from, to, bytes});
    return true;
  };
  world.receive("wrong-words");
  world.run(2s);
  ASSERT_EQ(world.all<CodeWrongTry>().size(), 1u);
  world.tamper = nullptr;
  for (int i = 0; i < 20; ++i) {
    for (const auto& packet : recorded) world.flying.emplace(world.now, packet);
    world.run(kBetweenTries);
  }
  EXPECT_EQ(world.all<CodeWrongTry>().size(), 1u);
  EXPECT_GT(world.sender->counters().over_budget, 0u);
  // The same proof under another name, which the relay can put there.
  for (auto packet : recorded) {
    packet.from = world.bell.pub;
    world.flying.emplace(world.now, packet);
  }
  world.run(kBetweenTries);
  EXPECT_EQ(world.all<CodeWrongTry>().size(), 1u);
  EXPECT_GT(world.sender->counters().bad_cookies, 0u);
}

TEST(CodeMeeting, SurvivesLostAndRepeatedMessages) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    CodeWorld world(seed);
    SeededRng dice(seed + 1000);
    world.tamper = [&](const PublicKey& from, const PublicKey& to, Bytes& bytes) {
      if (from == world.bell.pub) return true;  // rings: see the tests of the self-check
      if (dice.chance(0.2))
        world.flying.emplace(world.now + std::chrono::milliseconds(dice.below(1500)),
                             CodeWorld::Packet{from, to, bytes});
      return !dice.chance(0.2);
    };
    ASSERT_TRUE(world.open());
    auto& receiver = world.receive();
    EXPECT_TRUE(world.run(40s, [&] { return receiver.core->result().has_value(); })) << "seed " << seed;
    EXPECT_TRUE(receiver.has_token()) << "seed " << seed;
    EXPECT_TRUE(world.all<CodeWrongTry>().empty());
  }
}

TEST(CodeMeeting, ALostGiftIsSentAgainToItsOwnerOnly) {
  CodeWorld world;
  ASSERT_TRUE(world.open());
  int gifts = 0;
  world.tamper = [&](const PublicKey&, const PublicKey&, Bytes& bytes) {
    return !is_type(bytes, 0xc6) || ++gifts > 3;
  };
  auto& receiver = world.receive();
  ASSERT_TRUE(world.run(10s, [&] { return receiver.has_token(); }));
  EXPECT_EQ(gifts, 4);
  auto& late = world.receive();
  ASSERT_TRUE(world.run(10s, [&] { return late.core->result().has_value(); }));
  EXPECT_TRUE(late.failed_with(CodeFailure::AlreadyUsed));
  EXPECT_EQ(world.all<CodeHandedOver>().size(), 1u);
}

TEST(CodeMeeting, LooksUnderTheHourBeforeAndSaysWhenNobodyIsThere) {
  CodeWorld world;
  ASSERT_TRUE(world.open());
  const PublicKey other_hour = KeyPair::generate(world.rng).pub;
  auto& receiver = world.receive("able-zoo", {other_hour, world.meeting.pub});
  ASSERT_TRUE(world.run(1s, [&] { return receiver.has_token(); }));
  auto& lost = world.receive("able-zoo", {other_hour});
  EXPECT_FALSE(world.run(14s, [&] { return lost.core->result().has_value(); }));
  ASSERT_TRUE(world.run(2s, [&] { return lost.core->result().has_value(); }));
  EXPECT_TRUE(lost.failed_with(CodeFailure::NobodyThere));
}

TEST(CodeMeeting, WaitsForASenderThatComesLate) {
  CodeWorld world;
  auto& receiver = world.receive();
  world.cut = true;
  world.run(6s);
  EXPECT_FALSE(receiver.core->result());
  world.cut = false;
  EXPECT_TRUE(world.run(9s, [&] { return receiver.has_token(); }));
}

TEST(CodeMeeting, AMuteAddressIsToldFromAnAbsentOne) {
  CodeWorld world;
  ASSERT_TRUE(world.open());
  const PublicKey mute = KeyPair::generate(world.rng).pub;
  world.mute_relay = true;
  auto& receiver = world.receive("able-zoo", {mute});
  world.run(20s);
  EXPECT_TRUE(receiver.failed_with(CodeFailure::NoAnswer));
}

TEST(CodeMeeting, AnotherPlaceIsAnotherCode) {
  CodeWorld world;
  ASSERT_TRUE(world.open());
  auto& receiver = world.receive("able-zoo", {}, "region 13");
  world.run(5s);
  EXPECT_TRUE(receiver.failed_with(CodeFailure::WrongCode));
}

TEST(CodeDoorbell, WordsThatAreInUseAreNotShown) {
  CodeWorld world;
  world.occupied = true;
  EXPECT_FALSE(world.run(3 * kRingEvery - 1ms, [&] { return !world.events.empty(); }));
  world.run(1s);
  EXPECT_TRUE(world.ended_with(CodeEnd::WordsInUse));
  EXPECT_TRUE(world.all<CodeReady>().empty());
}

TEST(CodeDoorbell, LooksAgainAfterALostConnection) {
  CodeWorld world;
  world.occupied = true;
  world.run(2s);
  world.cut = true;
  world.run(10s);
  world.cut = false;
  world.occupied = false;
  EXPECT_TRUE(world.open());
}

TEST(CodeSelfCheck, ASecondLoginBurnsTheCode) {
  CodeWorld world;
  ASSERT_TRUE(world.open());
  world.usurper = [](const CodeWorld::Packet&) {};
  EXPECT_FALSE(world.run(kSelfCheckEvery, [&] { return !world.all<CodeEnded>().empty(); }));
  world.run(2 * kSelfCheckEvery);
  EXPECT_TRUE(world.ended_with(CodeEnd::TakenOver));
}

TEST(CodeSelfCheck, ARelaysWordAboutASecondLoginBurnsTheCodeAtOnce) {
  CodeWorld world;
  ASSERT_TRUE(world.open());
  world.sender->on_health(CodeLine::Bell, "duplicate connection", world.now);
  world.sender->on_health(CodeLine::Meeting, "the relay is slow today", world.now);
  EXPECT_EQ(world.sender->state(), CodeSenderState::Open);
  world.sender->on_health(CodeLine::Meeting, "Duplicate connection for this key", world.now);
  world.drain();
  EXPECT_TRUE(world.ended_with(CodeEnd::TakenOver));
}

TEST(CodeSelfCheck, OneLostRingAndReconnectsBurnNothing) {
  CodeWorld world;
  ASSERT_TRUE(world.open());
  int rings = 0;
  world.tamper = [&](const PublicKey& from, const PublicKey&, Bytes&) {
    return from != world.bell.pub || ++rings % 2 == 0;
  };
  world.run(2min);
  for (int i = 0; i < 5; ++i) {
    world.cut = true;
    world.run(30s);
    world.cut = false;
    world.run(7s);
  }
  EXPECT_EQ(world.sender->state(), CodeSenderState::Open);
  EXPECT_GT(world.sender->counters().missed_self_checks, 3u);
}

TEST(CodeLife, EndsAfterTenMinutes) {
  CodeWorld world;
  ASSERT_TRUE(world.open());
  world.run(kCodeLife - 1s);
  EXPECT_EQ(world.sender->state(), CodeSenderState::Open);
  world.run(2s);
  EXPECT_TRUE(world.ended_with(CodeEnd::Expired));
}

TEST(CodeLife, EndsAlsoWithoutARelay) {
  CodeWorld world;
  world.cut = true;
  world.run(kCodeLife + 1s);
  EXPECT_TRUE(world.ended_with(CodeEnd::Expired));
}

TEST(CodeLimits, AFloodOfHellosIsAnsweredTwentyTimesASecond) {
  CodeWorld world;
  ASSERT_TRUE(world.open());
  const KeyPair flooder = KeyPair::generate(world.rng);
  const Bytes hello = serialize(wire::CodeHello{flooder.pub, {}});
  world.posted = 0;
  for (int i = 0; i < 10'000; ++i)
    world.sender->on_packet(CodeLine::Meeting, flooder.pub, hello,
                            world.now + std::chrono::microseconds(100 * i));
  world.drain();
  EXPECT_LE(world.posted, 20u + 20u + 1u);
  EXPECT_GT(world.sender->counters().rate_limited, 9'000u);
}

TEST(CodeLimits, MalformedAndForeignPacketsAreCountedAndNothingElse) {
  CodeWorld world;
  ASSERT_TRUE(world.open());
  world.posted = 0;
  const PublicKey stranger = KeyPair::generate(world.rng).pub;
  const auto give = [&](Bytes bytes) {
    world.sender->on_packet(CodeLine::Meeting, stranger, bytes, world.now);
  };
  give({});
  give(to_bytes(as_bytes("GET / HTTP/1.1")));
  give(serialize(wire::CodeHello{world.bell.pub, {}}));  // not its own key
  give(serialize(wire::CodeCookie{}));                   // a sender's message
  give(serialize(wire::CodeShareR{}));                   // no cookie of ours
  give(serialize(wire::CodeProof{}));                    // of nobody
  give(serialize(wire::CodeRing{stranger, {}}));
  world.drain();
  EXPECT_EQ(world.posted, 0u);
  EXPECT_EQ(world.sender->counters().malformed, 4u);
  EXPECT_EQ(world.sender->counters().bad_cookies, 1u);
}

TEST(CodeKeys, DependOnWordsPlaceAndHour) {
  crypto_init();
  const StretchCost cheap{1, 8192};
  const Code code = *parse_code("12-abandon-ability-able-zoo"),
             other = *parse_code("12-abandon-able-able-zoo");
  const auto key = meeting_key(code, "region 12", 100, cheap);
  ASSERT_TRUE(key);
  EXPECT_EQ(key->pub, meeting_key(*parse_code("12-aban-abil-zone-zone"), "region 12", 100, cheap)->pub);
  EXPECT_NE(key->pub, meeting_key(other, "region 12", 100, cheap)->pub);
  EXPECT_NE(key->pub, meeting_key(code, "region 13", 100, cheap)->pub);
  EXPECT_NE(key->pub, meeting_key(code, "region 12", 101, cheap)->pub);
  const auto lan = lan_keys(code, 100, cheap);
  ASSERT_TRUE(lan);
  EXPECT_NE(lan->tag, lan_keys(code, 101, cheap)->tag);
  EXPECT_NE(lan->tag, lan_keys(other, 100, cheap)->tag);
}

TEST(CodeKeys, HaveTheirDocumentedCost) {
  crypto_init();
  const auto key = meeting_key(*parse_code("12-abandon-ability-able-zoo"), "region 12", 494'000);
  ASSERT_TRUE(key);
  EXPECT_EQ(to_hex(key->pub.bytes), "954838f71423b265dc9200426f0e1a5f78426c156957f1213cbf7f94d17a6510");
}

TEST(CodeKeys, LookIntoTheHoursTheSenderMayHaveMeant) {
  const UnixSeconds noon{std::chrono::hours(1000)};
  EXPECT_EQ(hours_to_try(noon), (std::vector<std::int64_t>{1000, 999}));
  EXPECT_EQ(hours_to_try(noon + 54min), (std::vector<std::int64_t>{1000, 999}));
  EXPECT_EQ(hours_to_try(noon + 56min), (std::vector<std::int64_t>{1000, 1001, 999}));
  EXPECT_EQ(meeting_hour(noon - std::chrono::seconds(1)), 999);
}

}  // namespace
}  // namespace dh::session
