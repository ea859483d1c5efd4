#include "transfer/answer.hh"

#include "transfer/limits.hh"
#include "transfer/varint.hh"

namespace dh::transfer {
namespace {

enum class Type : std::uint8_t { AnswerStart = 1, AnswerMore = 2, Paused = 3, Result = 4 };

constexpr std::uint8_t kEnd = 0;  // behind the last span
constexpr std::size_t kMostSpanBytes = 1 + 5 + 5 + 32;

std::unexpected<Refusal> refused() {
  return std::unexpected(Refusal{Fault::BadAnswer});
}

void put_span(Writer& w, const Span& span) {
  w.u8(static_cast<std::uint8_t>(span.wish));
  put_varint(w, span.wish == Span::Wish::Resume ? span.blocks : span.count);
  if (span.wish == Span::Wish::Have || span.wish == Span::Wish::Resume) w.bytes(span.digest);
}

}  // namespace

std::vector<Bytes> Answer::serialize() const {
  std::vector<Bytes> out(1);
  Writer first(out.back());
  first.u8(static_cast<std::uint8_t>(Type::AnswerStart));
  first.bytes(nonce);
  for (const Span& span : spans) {
    if (out.back().size() + kMostSpanBytes >= kMaxMessageBytes) {
      out.emplace_back();
      Writer(out.back()).u8(static_cast<std::uint8_t>(Type::AnswerMore));
    }
    Writer w(out.back());
    put_span(w, span);
  }
  Writer(out.back()).u8(kEnd);
  return out;
}

Bytes serialize(const PausedMessage& message) {
  Bytes out;
  Writer w(out);
  w.u8(static_cast<std::uint8_t>(Type::Paused));
  w.text(std::string_view(message.why).substr(0, kMaxReasonBytes));
  return out;
}

Bytes serialize(const ResultMessage& message) {
  Bytes out;
  Writer w(out);
  w.u8(static_cast<std::uint8_t>(Type::Result));
  w.u32(message.failed);
  w.text(std::string_view(message.why).substr(0, kMaxReasonBytes));
  return out;
}

std::expected<MessageReader::Heard, Refusal> MessageReader::on_message(ByteView message) {
  Reader r(message);
  const auto type = static_cast<Type>(r.u8());
  if (!r.ok() || message.size() > kMaxMessageBytes) return refused();
  switch (type) {
    case Type::AnswerStart:
      if (started_) return refused();
      started_ = true;
      answer_.nonce = r.array<16>();
      if (!r.ok()) return refused();
      return on_spans(r);
    case Type::AnswerMore:
      if (!started_ || complete_) return refused();
      return on_spans(r);
    case Type::Paused:
      if (r.remaining() > kMaxReasonBytes) return refused();
      return PausedMessage{std::string(as_text(r.rest()))};
    case Type::Result: {
      ResultMessage result;
      result.failed = r.u32();
      if (!r.ok() || r.remaining() > kMaxReasonBytes || result.failed > manifest_.size()) return refused();
      result.why = std::string(as_text(r.rest()));
      return result;
    }
  }
  return refused();
}

std::expected<MessageReader::Heard, Refusal> MessageReader::on_spans(Reader& r) {
  while (r.remaining() > 0) {
    const std::uint8_t op = r.u8();
    if (op == kEnd) {
      if (r.remaining() > 0 || covered_ != manifest_.size()) return refused();
      complete_ = true;
      return AnswerComplete{};
    }
    if (op > static_cast<std::uint8_t>(Span::Wish::Resume)) return refused();
    Span span;
    span.wish = static_cast<Span::Wish>(op);
    span.first = covered_;
    const std::uint64_t number = get_varint(r);
    if (span.wish == Span::Wish::Have || span.wish == Span::Wish::Resume) span.digest = r.array<32>();
    if (!r.ok() || number == 0) return refused();
    const std::uint64_t left = manifest_.size() - covered_;
    if (span.wish == Span::Wish::Resume) {
      // Not all of its blocks: that would be Have.
      if (left == 0 || manifest_[covered_].kind != EntryKind::File ||
          number >= block_count(manifest_[covered_].size))
        return refused();
      span.blocks = static_cast<std::uint32_t>(number);
    } else {
      if (number > left) return refused();
      span.count = static_cast<std::uint32_t>(number);
    }
    covered_ += span.count;
    answer_.spans.push_back(span);
  }
  return Nothing{};
}

}  // namespace dh::transfer
