#pragma once

// The sender's end of a transfer: a thread that reads files and makes the stream of
// docs/protocol/transfer.md.

#include <atomic>
#include <condition_variable>
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
  ByteArray<16> session_id{};  // for the check string
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
  Sending(SourceTree tree, const SendingOptions& options);
  Sending(std::string text, const SendingOptions& options);
  ~Sending();

  /// For SessionDriverOptions::make_source; once.
  SourceMaker source();
  /// What the receiver said. Returns words about a pause: empty when it goes on, nothing for other messages.
  std::optional<std::string> on_message(ByteView message);

  const transfer::Manifest& manifest() const { return tree_.manifest; }
  /// How far the receiver is when this much of the stream is confirmed.
  transfer::Progress progress(std::uint64_t confirmed);
  bool answered() const { return answered_; }
  std::uint64_t bytes_skipped() const { return bytes_skipped_; }  // the receiver had or did not want them

  // When the session is over.
  const std::vector<SendFailure>& failures() const { return failures_; }
  const transfer::ResultMessage& receivers_result() const { return result_; }
  const std::vector<FileDigest>& digests() const { return digests_; }
  std::string check_string() const;

private:
  class End;
  struct GaveUp {};  // the session ended while the thread worked

  void start(PumpNotify notify);
  void stop();
  void run();
  void stream();
  void push(ByteView bytes);
  void push(Bytes& bytes) {
    push(ByteView(bytes));
    bytes.clear();
  }
  void task(const transfer::Span& span);
  void send_file(std::uint32_t entry, const transfer::Span* resume);
  void send_text();
  void send_blocks(std::uint32_t entry, int fd, std::uint32_t first);
  bool run_is_there(const transfer::Span& span);
  void fail(std::uint32_t entry, ReadFailure failure);
  void end_file(std::uint32_t entry, const std::optional<ByteArray<32>>& sha256);
  void advance(std::uint32_t entry, std::uint64_t bytes, bool whole);
  // Hashes the first `size` bytes; false: the file is shorter.
  template <class Hash>
  bool hash_prefix(int fd, std::uint64_t size, Hash&& hash);

  SourceTree tree_;
  const std::string text_;
  const SendingOptions options_;
  TreeReader reader_;

  mutable std::mutex mutex_;
  std::condition_variable heard_;
  transfer::SenderCore core_;         // under mutex_
  transfer::StreamMarks marks_;       // under mutex_
  std::optional<StreamFault> fault_;  // under mutex_
  std::atomic<bool> answered_ = false, stopped_ = false;
  std::atomic<std::uint64_t> bytes_skipped_ = 0;

  ByteRing ring_;
  PumpNotify notify_;
  std::thread thread_;

  // The thread's, until it has ended.
  Bytes block_, out_;
  std::uint64_t stream_bytes_ = 0;
  transfer::Progress at_;
  std::optional<RunningSha256> sha256_;
  std::optional<transfer::CheckString> check_;
  std::vector<SendFailure> failures_;
  std::vector<FileDigest> digests_;
  transfer::ResultMessage result_;  // the executor's
};

}  // namespace dh::io
