// The WebSocket decoder yields the same stream however its input is cut.

#include <algorithm>

#include "base/check.hh"
#include "wire/websocket.hh"

namespace {

struct Outcome {
  dh::Bytes data;
  int pings = 0;
  int endings = 0;
  bool operator==(const Outcome&) const = default;
};

Outcome decode(dh::Bytes stream, std::size_t step) {
  using namespace dh;
  WsDecoder decoder;
  Outcome outcome;
  for (std::size_t at = 0; at < stream.size(); at += step) {
    ByteSpan piece = ByteSpan(stream).subspan(at, std::min(step, stream.size() - at));
    while (auto item = decoder.next(piece)) {
      CHECK(outcome.endings == 0);
      if (item->kind == WsItem::Kind::Data)
        outcome.data.insert(outcome.data.end(), item->bytes.begin(), item->bytes.end());
      if (item->kind == WsItem::Kind::Ping) ++outcome.pings;
      if (item->kind == WsItem::Kind::Close || item->kind == WsItem::Kind::Violation) ++outcome.endings;
    }
    CHECK(piece.empty());
  }
  CHECK(outcome.data.size() <= stream.size());
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t step = 1 + data[0] % 16;
  const auto* bytes = reinterpret_cast<const std::byte*>(data + 1);
  const dh::Bytes stream(bytes, bytes + size - 1);
  CHECK(decode(stream, std::max<std::size_t>(stream.size(), 1)) == decode(stream, step));
  return 0;
}
