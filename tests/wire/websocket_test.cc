#include "wire/websocket.hh"

#include <gtest/gtest.h>

namespace dh {
namespace {

Bytes client_frame(unsigned first, ByteView payload) {
  Bytes out;
  Writer w(out);
  w.u8(static_cast<std::uint8_t>(first));
  if (payload.size() < 126) {
    w.u8(static_cast<std::uint8_t>(0x80 | payload.size()));
  } else {
    w.u8(0x80 | 126);
    w.u16(static_cast<std::uint16_t>(payload.size()));
  }
  const ByteArray<4> mask{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  w.bytes(mask);
  for (std::size_t i = 0; i < payload.size(); ++i) w.u8(static_cast<std::uint8_t>(payload[i] ^ mask[i & 3]));
  return out;
}

// Feeds `stream` in pieces of `step`; collects the data and the last other item.
struct Outcome {
  std::string data;
  std::optional<WsItem> other;
  std::string other_bytes;
};
Outcome feed(Bytes stream, std::size_t step) {
  WsDecoder decoder;
  Outcome outcome;
  for (std::size_t at = 0; at < stream.size(); at += step) {
    ByteSpan piece = ByteSpan(stream).subspan(at, std::min(step, stream.size() - at));
    while (auto item = decoder.next(piece)) {
      if (item->kind == WsItem::Kind::Data) {
        outcome.data += as_text(item->bytes);
      } else {
        outcome.other = item;
        outcome.other_bytes = as_text(item->bytes);
      }
    }
    EXPECT_TRUE(piece.empty());
  }
  return outcome;
}

TEST(WebSocket, AnswersTheKeyOfTheRfc) {
  EXPECT_EQ(websocket_accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(WebSocket, WritesMessagesTheGoClientAccepts) {
  Bytes out;
  const Bytes stream((32u << 10) + 5, std::byte{7});
  append_ws_messages(out, stream);
  ASSERT_EQ(out.size(), stream.size() + 4 + 2);
  EXPECT_EQ(to_hex(ByteView(out).first(4)), "827e8000");
  EXPECT_EQ(to_hex(ByteView(out).subspan(4 + (32u << 10), 3)), "820507");
  Bytes close;
  append_ws_close(close, WsClose::NotBinary);
  EXPECT_EQ(to_hex(close), "880203eb");
}

TEST(WebSocket, JoinsMessagesFragmentsAndPingsHoweverTheBytesArrive) {
  Bytes stream = client_frame(0x82, as_bytes("hello "));
  const std::string long_text(200, 'x');
  for (const Bytes& part : {client_frame(0x02, as_bytes("wor")), client_frame(0x89, as_bytes("ping")),
                            client_frame(0x80, as_bytes("ld")), client_frame(0x82, {}),
                            client_frame(0x82, as_bytes(long_text)), client_frame(0x8a, as_bytes("pong"))})
    stream.insert(stream.end(), part.begin(), part.end());
  for (std::size_t step = 1; step <= stream.size(); ++step) {
    const Outcome outcome = feed(stream, step);
    EXPECT_EQ(outcome.data, "hello world" + long_text);
    ASSERT_TRUE(outcome.other);
    EXPECT_EQ(outcome.other->kind, WsItem::Kind::Ping);
    EXPECT_EQ(outcome.other_bytes, "ping");
  }
}

TEST(WebSocket, EndsAtACloseAndReadsNothingBehindIt) {
  Bytes stream = client_frame(0x88, {});
  const Bytes more = client_frame(0x82, as_bytes("late"));
  stream.insert(stream.end(), more.begin(), more.end());
  const Outcome outcome = feed(stream, stream.size());
  EXPECT_EQ(outcome.data, "");
  EXPECT_EQ(outcome.other->kind, WsItem::Kind::Close);
}

TEST(WebSocket, NamesEveryViolation) {
  const auto code = [](Bytes stream) {
    const Outcome outcome = feed(std::move(stream), 1);
    EXPECT_TRUE(outcome.other && outcome.other->kind == WsItem::Kind::Violation);
    return outcome.other ? outcome.other->code : WsClose::Normal;
  };
  EXPECT_EQ(code(client_frame(0x81, as_bytes("text"))), WsClose::NotBinary);
  EXPECT_EQ(code(client_frame(0xc2, as_bytes("compressed"))), WsClose::ProtocolError);
  EXPECT_EQ(code(client_frame(0x80, as_bytes("continues nothing"))), WsClose::ProtocolError);
  EXPECT_EQ(code(client_frame(0x83, {})), WsClose::ProtocolError);
  EXPECT_EQ(code(client_frame(0x09, {})), WsClose::ProtocolError);  // fragmented control
  EXPECT_EQ(code(client_frame(0x89, Bytes(126, std::byte{0}))), WsClose::ProtocolError);  // long control
  Bytes unmasked;
  append_ws_frame(unmasked, WsOpcode::Binary, as_bytes("bare"));
  unmasked.resize(6);
  EXPECT_EQ(code(unmasked), WsClose::ProtocolError);
}

}  // namespace
}  // namespace dh
