#pragma once

// The receiver's end of a transfer: a thread that takes the stream of docs/protocol/transfer.md and writes
// files.

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/any_io_executor.hpp>

#include "io/byte_ring.hh"
#include "io/stream_ends.hh"
#include "io/tree_writer.hh"
#include "transfer/check_string.hh"
#include "transfer/name_rules.hh"
#include "transfer/progress.hh"
#include "transfer/receiver_core.hh"

namespace dh::io {

/// Why a transfer did not happen, from this side's point of view.
struct ReceiveProblem {
  enum class Kind : std::uint8_t {
    Local,      // disk, permission, names that exist: exit status 7
    Declined,   // a person said no
    Unsafe,     // nobody should have this on disk
    Protocol,   // the other side breaks the format
    Integrity,  // damaged
  };
  Kind kind = Kind::Local;
  std::string sentence;
};

/// Where it goes, as the person said.
struct Destination {
  std::string directory = ".";
  std::string only_name;  // the single top-level entry is to be called so
};

/// What the command decides. Called on the receiving thread, which may wait for a person; Stopped may be
/// thrown.
class ReceivingHooks {
public:
  virtual ~ReceivingHooks() = default;
  /// Errors: throws DiskError.
  virtual Destination destination(const transfer::Manifest& manifest) = 0;
  /// `taken`: entries at the top whose names exist. Errors: the problem to end with.
  virtual std::expected<WritePlan, ReceiveProblem> decide(const transfer::Manifest& manifest,
                                                          const std::vector<std::uint32_t>& taken) = 0;
  /// The sender has been told what is wanted; `kept_bytes` of it are here already. Called on the executor.
  virtual void accepted(std::uint64_t kept_bytes) = 0;
  /// A whole text, checked. Errors: throws DiskError.
  virtual void show_text(const std::string& text) = 0;
};

struct ReceivingOptions {
  bool allow_hidden = false;
  ByteArray<16> nonce{};
};

/// How it went; whole once the session is over.
struct ReceiveReport {
  std::optional<ReceiveProblem> problem;
  WriteOutcome outcome;
  bool in_place = false;
  std::vector<std::string> failures;                           // `name: why`, of entries the sender gave up
  bool has_changed = false;                                    // one of them because it changed
  std::vector<std::pair<std::string, ByteArray<32>>> digests;  // with --verify
  std::string check_string;
};

/// One receiving. The command keeps it; the session's driver gets its end by sink().
class Receiving : public std::enable_shared_from_this<Receiving>, private WriterWaits {
public:
  /// `send`: gives a message to the driver, called on `executor`. `hooks` outlives the session.
  Receiving(boost::asio::any_io_executor executor, std::function<void(Bytes)> send, ReceivingHooks& hooks,
            const ReceivingOptions& options);
  ~Receiving() override;

  SinkMaker sink();
  /// Of the session, for the check string; before the sink is made.
  void bind(const ByteArray<32>& binding) { binding_ = binding; }

  /// Empty until the manifest is here; then it does not change any more.
  const transfer::Manifest* manifest() const { return offered_ ? &core_.manifest() : nullptr; }
  transfer::Progress progress() const;
  /// From earlier tries, or not wanted.
  std::uint64_t bytes_kept() const { return bytes_kept_; }
  /// Why nothing moves at the moment; empty: it does.
  std::string paused() const;
  bool is_asking() const { return asking_; }
  /// Everything arrived and gets its final names.
  bool is_placing() const { return placing_; }
  /// Of earlier tries, read again so far.
  std::uint64_t bytes_checked() const { return checked_; }
  /// Ends waiting in a hook: hooks look at it.
  const std::atomic<bool>& stopping() const override { return stopped_; }
  /// The session is complete: the sender knows.
  void forget();
  /// When the session is over: lets go of the destination, and of a staging directory without content.
  void close();
  /// Only when the session is over.
  const ReceiveReport& report() const { return report_; }

private:
  class End;
  void start(PumpNotify notify);
  void stop();
  void run();
  void receive();
  void take(const transfer::ReceiverCore::Step& step);
  void on_offer();
  void on_file(const transfer::FileArrived& file);
  void finish();
  void end_with(ReceiveProblem problem);
  void say(Bytes message);

  void wait_for_space(const std::string& why) override;
  void space_is_back() override;
  std::atomic<std::uint64_t>& checked() override { return checked_; }

  boost::asio::any_io_executor executor_;
  std::function<void(Bytes)> send_;
  ReceivingHooks& hooks_;
  const ReceivingOptions options_;
  ByteArray<32> binding_{};

  ByteRing ring_;
  PumpNotify notify_;
  std::thread thread_;
  mutable std::mutex mutex_;
  std::condition_variable stop_heard_;
  std::optional<StreamFault> fault_;  // under mutex_
  std::string paused_;                // under mutex_
  std::atomic<bool> stopped_ = false, offered_ = false, asking_ = false, placing_ = false, finished_ = false;
  std::atomic<std::uint64_t> bytes_ = 0, bytes_kept_ = 0, checked_ = 0;
  std::atomic<std::uint32_t> files_ = 0, entry_ = 0;

  // The thread's, until it has ended.
  transfer::ReceiverCore core_;
  std::unique_ptr<TreeWriter> writer_;
  std::string text_;
  std::optional<transfer::CheckString> check_;
  ReceiveReport report_;
};

}  // namespace dh::io
