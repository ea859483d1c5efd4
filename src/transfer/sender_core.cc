#include "transfer/sender_core.hh"

#include "base/check.hh"
#include "transfer/limits.hh"

namespace dh::transfer {

SenderCore::SenderCore(const Manifest& manifest, const Options& options)
    : manifest_(manifest), options_(options), reader_(manifest) {
  CHECK(!manifest.empty());
}

bool SenderCore::poll_offer(Bytes& out) {
  Writer w(out);
  switch (stage_) {
    case Stage::Hello:
      HelloRecord{.verify = options_.verify,
                  .nonce = options_.nonce,
                  .entries = manifest_.size(),
                  .bytes = manifest_.bytes()}
          .serialize(w);
      stage_ = Stage::Names;
      return true;
    case Stage::Names: {
      if (next_name_ == manifest_.size()) {
        serialize_manifest_end(w);
        stage_ = Stage::Offered;
        return true;
      }
      Bytes part;
      next_name_ = manifest_.serialize(next_name_, kManifestPartBytes, part);
      serialize_manifest_header(w, part.size());
      w.bytes(part);
      return true;
    }
    case Stage::Offered:
      return false;
  }
  return false;
}

std::expected<MessageReader::Heard, Refusal> SenderCore::on_message(ByteView message) {
  if (stage_ != Stage::Offered) return std::unexpected(Refusal{Fault::BadAnswer});
  return reader_.on_message(message);
}

std::optional<Span> SenderCore::next_task() {
  CHECK(answered());
  const auto& spans = reader_.answer().spans;
  return next_span_ < spans.size() ? std::optional(spans[next_span_++]) : std::nullopt;
}

void SenderCore::fail(std::uint32_t entry, FailReason reason, std::string text, Writer& w) {
  ++failed_;
  FailedRecord{entry, reason, std::move(text)}.serialize(w);
}

void SenderCore::finish(Writer& w) const {
  EndRecord{failed_}.serialize(w);
}

}  // namespace dh::transfer
