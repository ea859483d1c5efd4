#pragma once

// Where a transfer is put together before anything gets its final name: a directory of ours in the
// destination, with a journal for the next try. Spec: docs/protocol/transfer.md "The receiver's disk".

#include <atomic>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <unordered_map>

#include "crypto/running_hash.hh"
#include "io/beneath.hh"
#include "transfer/journal.hh"
#include "transfer/manifest.hh"

namespace dh::io {

/// The machine's or the user's fault, in one sentence for them.
class DiskError : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};
/// The session ended while a thread was waiting or working.
class Stopped : public std::exception {};

/// What of a file is here from an earlier try, every block read again and right.
struct Kept {
  std::uint32_t blocks = 0;
  bool is_whole = false;
  ByteArray<32> digest{};               // BLAKE2b-256 of those blocks' content
  std::optional<RunningSha256> sha256;  // of the same, when asked for
  std::vector<transfer::JournalBlock> journal;
};

/// A resource: the directory is locked while this exists.
class Staging {
public:
  /// Makes or finds the directory for this manifest in `destination` (held by the caller).
  /// Errors: throws DiskError, also when another process is at it or the directory is not ours.
  Staging(int destination, const transfer::Manifest& manifest);
  Staging(const Staging&) = delete;
  /// Takes an empty one away.
  ~Staging();

  /// An earlier try, or this one, has put exactly this manifest's entry in place.
  bool was_placed(const struct stat& found) const;

  /// Reads what earlier tries left, removes what does not belong, and starts a journal of the rest.
  /// Errors: throws DiskError, Stopped.
  /// `checked`: bytes read again so far, for whoever waits.
  std::unordered_map<std::uint32_t, Kept> survey(bool with_sha256, const std::atomic<bool>& stop,
                                                 std::atomic<std::uint64_t>& checked);

  int tree() const { return tree_.get(); }
  const std::string& name() const { return name_; }

  // Journal. Buffered: flush() after the data was written.
  void begin_file(std::uint32_t entry);
  void block_written(const transfer::BlockDigest& digest);
  void hole_written(std::uint32_t blocks);
  std::size_t unflushed() const { return pending_.size(); }
  /// Before an entry is moved: one at the top of the tree, or any in a directory that is merged. flush() it.
  void about_to_place(const struct stat& entry);
  /// Errors: errno; what was not written is kept for the next flush.
  std::expected<void, int> flush();

  /// Forces what was flushed to the disk, and the journal's name. Errors: errno.
  std::expected<void, int> sync_journal();

  /// Everything has its final name: takes the directory away.
  void remove();

private:
  void survey_directory(int directory, std::uint32_t parent);
  void survey_file(int directory, const std::string& name, std::uint32_t entry);
  void index_children();
  Bytes read_journal() const;

  const transfer::Manifest& manifest_;
  int destination_;
  std::string name_;
  Fd directory_, tree_, journal_;
  Bytes pending_;
  ByteArray<16> manifest_key_{};
  transfer::Journal earlier_;
  std::set<std::pair<std::uint64_t, std::uint64_t>> placed_;  // of this manifest; device and inode
  bool removed_ = false;

  // While surveying.
  std::unordered_map<std::uint64_t, std::vector<std::uint32_t>> children_;  // by hash of parent and name
  std::unordered_map<std::uint32_t, Kept> kept_;
  bool with_sha256_ = false;
  const std::atomic<bool>* stop_ = nullptr;
  std::atomic<std::uint64_t>* checked_ = nullptr;
};

}  // namespace dh::io
