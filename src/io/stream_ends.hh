#pragma once

// What stands at the two ends of a session's one stream: a file, a pipe, or the files of a transfer. Each is
// filled or emptied by a thread of its own, so that a slow disk never holds up the network loop.

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.hh"
#include "bulk/stream.hh"

namespace dh::io {

/// "There is something new at your end": called from the end's thread; must only post to an executor.
using PumpNotify = std::function<void()>;

/// Why an end cannot go on. The reason is a clause for the people on both sides.
struct StreamFault {
  bulk::AbortCode code = bulk::AbortCode::ReadFailed;
  std::string reason;
};

/// Where the stream's bytes come from. Called on the driver's executor only.
class StreamSource {
public:
  virtual ~StreamSource() = default;
  /// Bytes that are ready; valid until the next call.
  virtual ByteView peek() = 0;
  virtual void consume(std::size_t size) = 0;
  /// Nothing comes any more, and everything was consumed.
  virtual bool finished() const = 0;
  virtual std::optional<StreamFault> fault() const = 0;
  /// Of the whole stream; 0: not known (yet).
  virtual std::uint64_t expected_bytes() const = 0;
};

/// Where the stream's bytes go. Called on the driver's executor only.
class StreamSink {
public:
  virtual ~StreamSink() = default;
  /// Bytes taken; fewer when the end is slow.
  virtual std::size_t write(ByteView data) = 0;
  /// The stream is over: everything was written.
  virtual void finish() = 0;
  /// After finish(): everything is where it belongs. The sender is told so and exits with 0.
  virtual bool finished() const = 0;
  virtual std::optional<StreamFault> fault() const = 0;
  /// Of the whole stream; 0: not known (yet).
  virtual std::uint64_t expected_bytes() const { return 0; }
};

using SourceMaker = std::function<std::unique_ptr<StreamSource>(PumpNotify)>;
using SinkMaker = std::function<std::unique_ptr<StreamSink>(PumpNotify)>;

}  // namespace dh::io
