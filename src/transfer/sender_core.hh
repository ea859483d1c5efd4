#pragma once

#include <cstdint>
#include <expected>
#include <optional>

#include "transfer/answer.hh"
#include "transfer/manifest.hh"
#include "transfer/records.hh"

namespace dh::transfer {

/// The sending end of a transfer, without the files: offers the manifest, hears the answer, says what to send
/// next. Pure. The shell reads the files and appends their records to the stream in the order of the tasks.
class SenderCore {
public:
  struct Options {
    bool verify = false;  // a SHA-256 for every file
    ByteArray<16> nonce{};
  };
  /// `manifest` outlives the core and does not change.
  SenderCore(const Manifest& manifest, const Options& options);

  /// Appends the next piece of the offer, at most kManifestPartBytes and a header; false: all of it was
  /// given.
  bool poll_offer(Bytes& out);
  /// Errors: the receiver's fault.
  std::expected<MessageReader::Heard, Refusal> on_message(ByteView message);

  const Answer& answer() const { return reader_.answer(); }
  bool answered() const { return reader_.answered(); }
  /// What to do about the next run of entries; empty: nothing is left but finish(). Only once answered.
  std::optional<Span> next_task();

  void fail(std::uint32_t entry, FailReason reason, std::string text, Writer& w);
  void finish(Writer& w) const;
  std::uint32_t failed() const { return failed_; }

private:
  const Manifest& manifest_;
  const Options options_;
  MessageReader reader_;
  enum class Stage : std::uint8_t { Hello, Names, Offered } stage_ = Stage::Hello;
  std::uint32_t next_name_ = 0;
  std::size_t next_span_ = 0;
  std::uint32_t failed_ = 0;
};

}  // namespace dh::transfer
