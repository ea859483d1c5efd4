#pragma once

// Ends of a session's stream for a few KiB that are made and read in memory.

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "io/stream_ends.hh"

namespace dh::io {

/// What is to be sent, once it is known: an answer that a person has to agree to first. Shared by the
/// command, which gives it, and the source, which sends it. One executor.
class LateBytes {
public:
  void give(Bytes bytes) {
    bytes_ = std::move(bytes);
    if (notify_) notify_();
  }

private:
  friend class LateSource;
  std::optional<Bytes> bytes_;
  PumpNotify notify_;
};

class LateSource final : public StreamSource {
public:
  LateSource(std::shared_ptr<LateBytes> late, PumpNotify notify) : late_(std::move(late)) {
    late_->notify_ = std::move(notify);
  }
  ~LateSource() override { late_->notify_ = nullptr; }
  LateSource(const LateSource&) = delete;
  std::size_t read(ByteSpan room) override {
    if (!late_->bytes_) return 0;
    const std::size_t size = std::min(room.size(), late_->bytes_->size() - taken_);
    std::copy_n(late_->bytes_->begin() + static_cast<std::ptrdiff_t>(taken_), size, room.begin());
    taken_ += size;
    return size;
  }
  bool finished() const override { return late_->bytes_ && taken_ == late_->bytes_->size(); }
  std::optional<StreamFault> fault() const override { return std::nullopt; }
  std::uint64_t expected_bytes() const override { return late_->bytes_ ? late_->bytes_->size() : 0; }

private:
  std::shared_ptr<LateBytes> late_;
  std::size_t taken_ = 0;
};

inline SourceMaker late_source(std::shared_ptr<LateBytes> late) {
  return [late](PumpNotify notify) { return std::make_unique<LateSource>(late, std::move(notify)); };
}

/// Everything that arrived, up to a bound; more of it is a fault. Shared by the command, which reads it when
/// the session has ended well, and the sink.
struct ReceivedBytes {
  Bytes bytes;
};

class MemorySink final : public StreamSink {
public:
  MemorySink(std::shared_ptr<ReceivedBytes> into, std::size_t most) : into_(std::move(into)), most_(most) {}
  std::size_t write(ByteView data) override {
    if (into_->bytes.size() + data.size() > most_) {
      too_long_ = true;
      return 0;
    }
    into_->bytes.insert(into_->bytes.end(), data.begin(), data.end());
    return data.size();
  }
  void finish() override { finished_ = true; }
  bool finished() const override { return finished_ && !too_long_; }
  std::optional<StreamFault> fault() const override {
    if (!too_long_) return std::nullopt;
    return StreamFault{bulk::AbortCode::ProtocolError, "got a longer answer than there can be"};
  }

private:
  std::shared_ptr<ReceivedBytes> into_;
  std::size_t most_;
  bool finished_ = false, too_long_ = false;
};

inline SinkMaker memory_sink(std::shared_ptr<ReceivedBytes> into, std::size_t most) {
  return [into, most](const PumpNotify&) { return std::make_unique<MemorySink>(into, most); };
}

}  // namespace dh::io
