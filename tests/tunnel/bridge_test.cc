#include "tunnel/bridge.hh"

#include <string>

#include <gtest/gtest.h>

#include "base/overloaded.hh"
#include "tunnel/stream_header.hh"

namespace dh::tunnel {
namespace {

/// What the shell was told, in short words.
std::string actions(Bridge& bridge) {
  std::string out;
  while (const auto action = bridge.poll_action()) {
    if (!out.empty()) out += ' ';
    out +=
        std::visit(Overloaded{
                       [](const FinishStream&) { return std::string("finish-stream"); },
                       [](const ResetStream& reset) { return "reset-stream:" + std::to_string(reset.code); },
                       [](const StopStream& stop) { return "stop-stream:" + std::to_string(stop.code); },
                       [](const ShutdownTcp&) { return std::string("shutdown-tcp"); },
                       [](const CloseTcp&) { return std::string("close-tcp"); },
                       [](const ResetTcp&) { return std::string("reset-tcp"); },
                   },
                   *action);
  }
  return out;
}

TEST(Bridge, AFinGoesThroughAndLeavesTheOtherDirectionOpen) {
  Bridge bridge;
  bridge.on_tcp_end();
  EXPECT_EQ(actions(bridge), "finish-stream");
  EXPECT_FALSE(bridge.reads_tcp());
  EXPECT_TRUE(bridge.writes_tcp());
  EXPECT_FALSE(bridge.is_over());
  bridge.on_stream_end();
  EXPECT_EQ(actions(bridge), "shutdown-tcp close-tcp");
  EXPECT_TRUE(bridge.is_over());
}

TEST(Bridge, ThePeersFinGoesThroughAndLeavesTheOtherDirectionOpen) {
  Bridge bridge;
  bridge.on_stream_end();
  EXPECT_EQ(actions(bridge), "shutdown-tcp");
  EXPECT_TRUE(bridge.reads_tcp());
  EXPECT_FALSE(bridge.writes_tcp());
  bridge.on_tcp_end();
  EXPECT_EQ(actions(bridge), "finish-stream close-tcp");
  EXPECT_TRUE(bridge.is_over());
}

TEST(Bridge, ARstEndsBothDirectionsAndBothEndsHearOfIt) {
  for (const bool after_fin : {false, true}) {
    Bridge bridge;
    if (after_fin) bridge.on_tcp_end();
    actions(bridge);
    bridge.on_tcp_failed();
    EXPECT_EQ(actions(bridge), "reset-stream:256 stop-stream:256 reset-tcp");
    EXPECT_TRUE(bridge.is_over());
  }
}

TEST(Bridge, AResetOfTheStreamIsARstWithTheCodeKept) {
  Bridge bridge;
  bridge.on_stream_reset(0x101);
  EXPECT_EQ(actions(bridge), "reset-stream:257 stop-stream:257 reset-tcp");
  EXPECT_EQ(bridge.reset_code(), 0x101u);
}

TEST(Bridge, ALostSessionIsARstAndNothingIsSaidToTheStream) {
  Bridge bridge;
  bridge.on_stream_lost();
  EXPECT_EQ(actions(bridge), "reset-tcp");
}

TEST(Bridge, NothingFollowsTheEnd) {
  Bridge bridge;
  bridge.on_tcp_refused(StreamCode::TargetRefused);
  EXPECT_EQ(actions(bridge), "reset-stream:257 stop-stream:257 reset-tcp");
  bridge.on_tcp_end();
  bridge.on_stream_end();
  bridge.on_tcp_failed();
  bridge.on_stream_reset(1);
  bridge.on_stream_stopped();
  bridge.on_stream_lost();
  EXPECT_EQ(actions(bridge), "");
}

TEST(StreamHeader, HasTheseBytes) {
  Bytes bytes;
  Writer w(bytes);
  StreamHeader{0x1234}.serialize(w);
  EXPECT_EQ(to_hex(bytes), "01001234");
  EXPECT_EQ(StreamHeader::parse(bytes)->forward, 0x1234);
}

TEST(StreamHeader, RefusesEverythingElse) {
  for (const char* text : {"", "01", "0100", "010012", "0100123400", "00001234", "02001234", "01011234"})
    EXPECT_FALSE(StreamHeader::parse(*from_hex(text))) << text;
}

TEST(StreamCode, UnknownOnesHaveWordsToo) {
  EXPECT_FALSE(describe(0).empty());
  EXPECT_NE(describe(0x101), describe(0x102));
}

}  // namespace
}  // namespace dh::tunnel
