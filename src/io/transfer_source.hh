#pragma once

// The sender's end of a transfer: a thread that reads files and makes the stream of
// docs/protocol/transfer.md.

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "io/byte_ring.hh"
#include "io/stream_ends.hh"
#include "io/tree_reader.hh"
#include "transfer/check_string.hh"
#include "transfer/progress.hh"
#include "transfer/sender_core.hh"

namespace dh::io {

struct SendingOptions {
  bool verify = false;
  ByteArray<16> nonce{};
  ByteArray<32> binding{};  // of the session, for the check string
};

/// A file that did not go, and why.
struct SendFailure {
  std::string path;
  std::string why;
  transfer::FailReason reason = transfer::FailReason::Unreadable;
};
/// With --verify: what was sent.
struct FileDigest {
  std::string path;
  ByteArray<32> sha256;
};

/// One sending of files, or of a text. The command keeps it; the session's driver gets its end by source().
/// The functions are for the driver's executor, unless they say otherwise.
class Sending : public std::enable_shared_from_this<Sending> {
public:
  /// Looks at the files again before they are offered: called on the thread, ends early once `stop` is true.
  /// Nothing: the tree stays as it was.
  using Rescan = std::function<std::optional<SourceTree>(const std::atomic<bool>& stop)>;
  Sending(SourceTree tree, const SendingOptions& options, Rescan rescan = {});
  Sending(std::string text, const SendingOptions& options);
  ~Sending();

  /// For SessionDriverOptions::make_source; once.
  SourceMaker source();
  /// What the receiver said. Returns words about a pause: empty when it goes on, nothing for other messages.
  std::optional<std::string> on_message(ByteView message);

  /// The files have been looked at; before that, there is no manifest.
  bool is_ready() const { return ready_; }
  const transfer::Manifest& manifest() const { return tree_.manifest; }
  /// How far the receiver is when this much of the stream is confirmed.
  transfer::Progress progress(std::uint64_t confirmed);
  bool answered() const { return answered_; }
  std::uint64_t bytes_skipped() const { return bytes_skipped_; }  // the receiver had or did not want them
  /// Read again, and not sent: whether what the receiver has is the same.
  std::uint64_t bytes_compared() const { return bytes_compared_; }

  // When the session is over.
  const std::vector<SendFailure>& failures() const { return failures_; }
  const transfer::ResultMessage& receivers_result() const { return result_; }
  const std::vector<FileDigest>& digests() const { return digests_; }
  const std::vector<LeftOut>& left_out() const { return tree_.left_out; }
  std::string check_string() const;

private:
  class End;
  struct GaveUp {};  // the session ended while the thread worked

  void start(PumpNotify notify);
  void stop();
  void run();
  void stream();
  void push(ByteView bytes);
  void flush();
  void appended();
  void task(const transfer::Span& span);
  void send_file(std::uint32_t entry, const transfer::Span* resume);
  void send_text();
  void send_blocks(std::uint32_t entry, int fd, std::uint32_t first);
  void send_block(int fd, std::uint32_t entry, std::uint32_t block, std::size_t size);
  bool run_is_there(const transfer::Span& span);
  void fail(std::uint32_t entry, ReadFailure failure);
  void end_file(std::uint32_t entry, const std::optional<ByteArray<32>>& sha256);
  void advance(std::uint32_t entry, std::uint64_t bytes, bool whole);
  // Hashes the first `size` bytes; false: the file is shorter.
  template <class Hash>
  bool hash_prefix(int fd, std::uint64_t size, Hash&& hash);

  SourceTree tree_;  // the thread's until ready_, then nobody changes it
  const std::string text_;
  const SendingOptions options_;
  const Rescan rescan_;
  TreeReader reader_;

  mutable std::mutex mutex_;
  std::condition_variable heard_;
  std::optional<transfer::SenderCore> core_;  // under mutex_; there once ready_
  transfer::StreamMarks marks_;               // under mutex_
  std::optional<StreamFault> fault_;          // under mutex_
  std::atomic<bool> ready_ = false, answered_ = false, stopped_ = false;
  std::atomic<std::uint64_t> bytes_skipped_ = 0, bytes_compared_ = 0;

  ByteRing ring_;
  PumpNotify notify_;
  std::thread thread_;

  // The thread's, until it has ended.
  Bytes block_, out_;               // out_: records that wait to be a worthwhile push
  std::uint64_t stream_bytes_ = 0;  // pushed
  transfer::Progress at_;
  std::optional<RunningSha256> sha256_;
  std::optional<transfer::CheckString> check_;
  std::vector<SendFailure> failures_;
  std::vector<FileDigest> digests_;
  transfer::ResultMessage result_;  // the executor's
};

}  // namespace dh::io
