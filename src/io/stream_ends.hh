#pragma once

// What stands at the two ends of a session's one stream: a file, a pipe, or the files of a transfer. What may
// block (a disk) is filled or emptied by a thread of its own, so that it never holds up the network loop.

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

inline StreamFault read_fault(const std::string& why) {
  return {bulk::AbortCode::ReadFailed, "cannot read the input: " + why};
}
inline StreamFault write_fault(const std::string& why) {
  return {bulk::AbortCode::WriteFailed, "cannot write the output: " + why};
}

/// Where the stream's bytes come from. Called on the driver's executor only.
class StreamSource {
public:
  virtual ~StreamSource() = default;
  /// Puts what is ready into `room` and says how much. 0: nothing any more, or nothing yet; then the end
  /// notifies when there is.
  virtual std::size_t read(ByteSpan room) = 0;
  /// Nothing comes any more, and everything was read.
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
