#pragma once

// The receiver's files: written below a staging directory, moved to their names when everything is there.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/file_writer.hh"
#include "io/tree_plan.hh"
#include "transfer/receiver_core.hh"

namespace dh::io {

/// What the writer needs from its thread's owner.
class WriterWaits {
public:
  virtual ~WriterWaits() = default;
  /// The disk is full: returns after a second, or throws Stopped.
  virtual void wait_for_space(const std::string& why) = 0;
  virtual void space_is_back() = 0;
  virtual const std::atomic<bool>& stopping() const = 0;
  /// Counts bytes of earlier tries that were read again.
  virtual std::atomic<std::uint64_t>& checked() = 0;
};

struct WriteOutcome {
  std::vector<std::string> placed;  // absolute paths, one per top-level entry
  std::uint32_t failed = 0;         // could not be put in place
  std::string first_failure;
};

class TreePlacer;

/// One transfer into one directory. A resource of one thread. Everything throws DiskError with a sentence
/// when the machine does not let us, and Stopped when the session has ended; what was written stays for the
/// next try.
class TreeWriter {
public:
  /// Opens the destination, following links: the person named it.
  TreeWriter(const std::string& directory, WriterWaits& waits);
  ~TreeWriter();
  TreeWriter(const TreeWriter&) = delete;

  const std::string& directory() const { return path_; }

  /// First: `manifest` has passed every rule and outlives the writer. Returns the top-level entries whose
  /// names are taken, for the plan. `only_name`: what the single top-level entry is to be called; empty: its
  /// own name.
  std::vector<std::uint32_t> begin(const transfer::Manifest& manifest, const std::string& only_name);
  /// Whether the destination's file system ignores case. After begin().
  bool folds_case() const;
  /// Second: decides what is wanted. Errors: also too little space, and a file where a directory must be.
  std::vector<transfer::Span> prepare(const WritePlan& plan);

  void start(const transfer::FileStarted& file);
  void write(const transfer::BlockArrived& block);
  void hole(const transfer::HoleArrived& hole);
  /// The file is whole. `sha256`: what it must be (with verify). false: it is not.
  bool finish(const transfer::FileArrived& file);
  /// Gives an entry up: nothing of it stays.
  void drop(std::uint32_t entry);
  /// Of a finished file, with verify.
  const ByteArray<32>& last_sha256() const { return last_sha256_; }

  /// Directories, links, modes and times; syncs; final names.
  WriteOutcome commit();
  /// The sender knows: takes the staging directory away.
  void forget();

  std::uint64_t bytes_kept() const { return bytes_kept_; }  // from earlier tries
  std::uint32_t files_kept() const { return files_kept_; }

private:
  void check_space() const;
  template <class Call>
  auto retrying(const char* what, Call call);
  int staged_parent(std::uint32_t entry);
  void write_bytes(std::uint64_t at, ByteView bytes);
  void flush_journal();
  void make_links_and_directories();
  void finish_directories();
  void note_what_is_placed();
  void note(std::uint32_t entry);
  void close_file();
  void sync_all();
  std::string place(std::uint32_t entry, TreePlan::Top& top, TreePlacer& placer);
  void restrict_directories(const TreePlacer& placer);

  std::string path_;
  Fd destination_;
  WriterWaits& waits_;
  bool complete_ = false;
  mode_t umask_;
  const transfer::Manifest* manifest_ = nullptr;
  std::unique_ptr<Staging> staging_;
  std::optional<TreePlan> plan_;
  std::unique_ptr<DirectoryChain> staged_;
  KeptFiles kept_;
  bool verify_ = false, sync_each_ = false, paused_ = false;
  std::uint64_t bytes_kept_ = 0;
  std::uint32_t files_kept_ = 0;

  // The file being written.
  Fd file_;
  PieceWriter pieces_;
  std::uint64_t written_end_ = 0, unsynced_from_ = 0, unjournaled_bytes_ = 0;
  std::optional<RunningSha256> sha256_;
  ByteArray<32> last_sha256_{};
};

}  // namespace dh::io
