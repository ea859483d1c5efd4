#include "io/tree_writer.hh"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/check.hh"
#include "base/printable.hh"
#include "crypto/hash.hh"
#include "io/tree_placer.hh"
#include "transfer/limits.hh"

namespace dh::io {
namespace {

using transfer::EntryKind;
using transfer::Span;
using State = TreePlan::State;

constexpr std::size_t kPageBytes = 4096;              // the smallest hole that is kept
constexpr std::uint64_t kWritebackBytes = 32u << 20;  // then the disk starts, so that the last sync is short
constexpr std::uint32_t kSyncEachFiles =
    1;  // more are synced all at once: each sync alone waits for the disk
constexpr std::size_t kJournaledBytes = 1u << 20;  // of content that a kill may cost
constexpr std::size_t kJournalBytes = 4096;        // of records waiting: 195 small files

[[noreturn]] void fail(const std::string& what, int error) {
  throw DiskError(fmt::format("{}: {}", what, std::strerror(error)));
}

bool is_full(int error) {
  return error == ENOSPC || error == EDQUOT;
}

bool is_zero(ByteView bytes) {
  return bytes[0] == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

// Some file systems have nothing to sync in a directory, and say so.
int sync_directory(int directory) {
  return ::fsync(directory) == 0 || errno == EINVAL || errno == ENOTSUP ? 0 : -1;
}

mode_t current_umask() {
  const mode_t mask = ::umask(077);
  ::umask(mask);
  return mask;
}

}  // namespace

TreeWriter::TreeWriter(const std::string& directory, WriterWaits& waits)
    : path_(absolute(directory)), waits_(waits), umask_(current_umask()) {
  destination_ = Fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!destination_) fail("cannot receive into " + printable(directory, 1000), errno);
}

TreeWriter::~TreeWriter() = default;

// By another spelling of a name that is there for certain: nothing is made for it that a crash could leave.
bool TreeWriter::folds_case() const {
  std::string upper = staging_->name();
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  struct stat info {};
  return ::fstatat(destination_.get(), upper.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
}

std::vector<std::uint32_t> TreeWriter::begin(const transfer::Manifest& manifest,
                                             const std::string& only_name) {
  CHECK(manifest_ == nullptr);
  manifest_ = &manifest;
  staging_ = std::make_unique<Staging>(destination_.get(), manifest);
  plan_.emplace(destination_.get(), path_, manifest, only_name, *staging_);
  return plan_->taken();
}

void TreeWriter::check_space() const {
  const std::uint64_t wanted = plan_->bytes_missing(kept_);
  struct statvfs info {};
  if (::fstatvfs(destination_.get(), &info) != 0) return;
  const std::uint64_t free_bytes = std::uint64_t{info.f_bavail} * info.f_frsize;
  if (wanted > free_bytes)
    throw DiskError(fmt::format("not enough space in {}: {} bytes are needed, {} are free",
                                printable(path_, 1000), wanted, free_bytes));
}

std::vector<Span> TreeWriter::prepare(const WritePlan& plan) {
  CHECK(plan_.has_value());
  const transfer::Manifest& manifest = *manifest_;
  verify_ = plan.verify;
  plan_->decide(plan);
  staged_ = std::make_unique<DirectoryChain>(
      staging_->tree(), manifest, DirectoryChain::Missing::Create,
      [&manifest](std::uint32_t entry) { return std::string(manifest.name(entry)); });
  kept_ = staging_->survey(verify_, waits_.stopping(), waits_.checked());
  check_space();
  for (const auto& [entry, kept] : kept_) {
    bytes_kept_ += std::min(manifest[entry].size, std::uint64_t{kept.blocks} * transfer::kBlockBytes);
    files_kept_ += kept.is_whole;
  }
  sync_each_ = manifest.files() <= kSyncEachFiles;
  return plan_->spans(kept_);
}

// Repeats a call that returns -1 and sets errno while the disk is full. Errors: throws.
template <class Call>
auto TreeWriter::retrying(const char* what, Call call) {
  for (;;) {
    const auto result = call();
    if (result >= 0) {
      if (paused_) waits_.space_is_back();
      paused_ = false;
      return result;
    }
    if (errno == EINTR) continue;
    if (!is_full(errno)) fail(fmt::format("cannot {} in {}", what, printable(path_, 1000)), errno);
    paused_ = true;
    waits_.wait_for_space(std::strerror(errno));
  }
}

int TreeWriter::staged_parent(std::uint32_t entry) {
  return retrying("create a directory", [&] {
    const auto found = staged_->parent_of(entry);
    if (!found) errno = found.error();
    return found.value_or(-1);
  });
}

void TreeWriter::start(const transfer::FileStarted& file) {
  const int parent = staged_parent(file.entry);
  const std::string name(manifest_->name(file.entry));
  const auto kept = kept_.find(file.entry);
  const bool resumes = file.first > 0;
  CHECK(!resumes || (kept != kept_.end() && kept->second.blocks == file.first));
  if (!resumes && kept != kept_.end()) {
    // The sender's file is another one: what was here is worth nothing.
    if (auto removed = remove_beneath(parent, name); !removed)
      fail("cannot remove an old part", removed.error());
    bytes_kept_ -=
        std::min((*manifest_)[file.entry].size, std::uint64_t{kept->second.blocks} * transfer::kBlockBytes);
    files_kept_ -= kept->second.is_whole;
    kept_.erase(kept);
  }
  pieces_.end_file();
  const int flags = O_WRONLY | (resumes ? 0 : O_CREAT | O_EXCL);
  file_ = Fd(retrying("create a file", [&] {
    auto opened = open_beneath(parent, name, flags, 0600);
    if (!opened) errno = opened.error();
    return opened ? opened->release() : -1;
  }));
  if (verify_) sha256_ = resumes ? kept_.at(file.entry).sha256 : RunningSha256();
  written_end_ = unsynced_from_ = std::uint64_t{file.first} * transfer::kBlockBytes;
  staging_->begin_file(file.entry);
  if (resumes) {
    retrying("shorten a file", [&] { return ::ftruncate(file_.get(), static_cast<off_t>(written_end_)); });
    for (const transfer::JournalBlock& block : kept_.at(file.entry).journal) {
      if (block.holes > 0) staging_->hole_written(block.holes);
      if (block.holes == 0) staging_->block_written(block.digest);
    }
  }
}

void TreeWriter::write_bytes(std::uint64_t at, ByteView bytes) {
  while (!bytes.empty()) {
    const auto size = retrying("write", [&] { return pieces_.write(file_.get(), at, bytes); });
    at += static_cast<std::uint64_t>(size);
    bytes = bytes.subspan(static_cast<std::size_t>(size));
  }
}

void TreeWriter::write(const transfer::BlockArrived& block) {
  const std::uint64_t at = std::uint64_t{block.block} * transfer::kBlockBytes;
  if (!(*manifest_)[block.entry].sparse) {
    write_bytes(at, block.data);
  } else {
    // Pages of zeros stay holes.
    for (std::size_t from = 0; from < block.data.size();) {
      const auto page = [&](std::size_t start) {
        return block.data.subspan(start, std::min(kPageBytes, block.data.size() - start));
      };
      std::size_t to = from;
      while (to < block.data.size() && !is_zero(page(to))) to += kPageBytes;
      to = std::min(to, block.data.size());
      if (to > from) write_bytes(at + from, block.data.subspan(from, to - from));
      from = to;
      while (from < block.data.size() && is_zero(page(from))) from += kPageBytes;
    }
  }
  written_end_ = at + block.data.size();
  if (sha256_) sha256_->update(block.data);
  if (written_end_ - unsynced_from_ >= kWritebackBytes) {
    (void)::sync_file_range(file_.get(), static_cast<off_t>(unsynced_from_),
                            static_cast<off_t>(written_end_ - unsynced_from_), SYNC_FILE_RANGE_WRITE);
    unsynced_from_ = written_end_;
  }
  staging_->block_written(block.digest);
  unjournaled_bytes_ += block.data.size();
  if (unjournaled_bytes_ >= kJournaledBytes || staging_->unflushed() >= kJournalBytes) flush_journal();
}

void TreeWriter::hole(const transfer::HoleArrived& hole) {
  const std::uint64_t size = (*manifest_)[hole.entry].size;
  written_end_ = std::min(size, std::uint64_t{hole.first + hole.count} * transfer::kBlockBytes);
  retrying("lengthen a file", [&] { return ::ftruncate(file_.get(), static_cast<off_t>(written_end_)); });
  if (sha256_) {
    const Bytes zeros(transfer::kBlockBytes);
    for (std::uint32_t i = 0; i < hole.count; ++i)
      sha256_->update(ByteView(zeros).first(transfer::block_size(size, hole.first + i)));
  }
  staging_->hole_written(hole.count);
  flush_journal();
}

void TreeWriter::flush_journal() {
  retrying("write the journal", [&] {
    const auto flushed = staging_->flush();
    if (!flushed) errno = flushed.error();
    return flushed ? 0 : -1;
  });
  unjournaled_bytes_ = 0;
}

bool TreeWriter::finish(const transfer::FileArrived& file) {
  const transfer::Entry& entry = (*manifest_)[file.entry];
  if (!file_) {  // here from an earlier try, and the sender agrees
    const auto kept = kept_.find(file.entry);
    if (kept == kept_.end() || !kept->second.is_whole) return false;
    if (kept->second.sha256) last_sha256_ = kept->second.sha256->digest();
    auto opened = open_beneath(staged_parent(file.entry), std::string(manifest_->name(file.entry)), O_RDONLY);
    if (!opened) fail("cannot open a file of an earlier try", opened.error());
    file_ = std::move(*opened);
  } else {
    if (sha256_) last_sha256_ = sha256_->digest();
    sha256_.reset();
    if (entry.sparse)
      retrying("lengthen a file", [&] { return ::ftruncate(file_.get(), static_cast<off_t>(entry.size)); });
  }
  if (file.sha256 && *file.sha256 != last_sha256_) return false;
  const timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, to_timespec(entry.mtime_ns)};
  if (::fchmod(file_.get(), entry.mode & 0777 & ~umask_) != 0) fail("cannot set a file's mode", errno);
  (void)::futimens(file_.get(), times);  // some file systems cannot hold every time
  if (sync_each_) retrying("sync a file", [&] { return ::fsync(file_.get()); });
  close_file();
  plan_->set_state(file.entry, State::Done);
  return true;
}

void TreeWriter::close_file() {
  file_.reset();
  pieces_.end_file();
}

void TreeWriter::drop(std::uint32_t entry) {
  close_file();
  sha256_.reset();
  plan_->set_state(entry, State::Failed);
  (void)remove_beneath(staged_parent(entry), std::string(manifest_->name(entry)));
}

void TreeWriter::make_links_and_directories() {
  for (std::uint32_t i = 0; i < manifest_->size(); ++i) {
    const transfer::Entry& entry = (*manifest_)[i];
    if (waits_.stopping()) throw Stopped();
    if (plan_->state(i) == State::Skipped) continue;
    if (entry.kind == EntryKind::Directory) {
      retrying("create a directory", [&] {
        const auto made = staged_->directory(i);
        if (!made) errno = made.error();
        return made.value_or(-1);
      });
    } else if (entry.kind == EntryKind::Symlink) {
      const int parent = staged_parent(i);
      const std::string name(manifest_->name(i)), target(manifest_->target(i));
      (void)remove_beneath(parent, name);
      retrying("create a symlink", [&] { return ::symlinkat(target.c_str(), parent, name.c_str()); });
      const timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, to_timespec(entry.mtime_ns)};
      (void)::utimensat(parent, name.c_str(), times, AT_SYMLINK_NOFOLLOW);
      plan_->set_state(i, State::Done);
    }
  }
}

// From the deepest up: what is put into a directory changes its time.
void TreeWriter::finish_directories() {
  for (std::uint32_t i = manifest_->size(); i-- > 0;) {
    const transfer::Entry& entry = (*manifest_)[i];
    if (entry.kind != EntryKind::Directory || plan_->state(i) == State::Skipped) continue;
    const auto directory = staged_->directory(i);
    if (!directory) fail("cannot open a directory of the transfer", directory.error());
    // Ours to write until everything has moved; see restrict_directories().
    if (::fchmod(*directory, (entry.mode & 0777 & ~umask_) | 0700) != 0)
      fail("cannot set a directory's mode", errno);
    const timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, to_timespec(entry.mtime_ns)};
    (void)::futimens(*directory, times);
    if (sync_each_) retrying("sync a directory", [&] { return sync_directory(*directory); });
  }
}

void TreeWriter::note(std::uint32_t entry) {
  struct stat info {};
  const std::string name(manifest_->name(entry));
  if (::fstatat(staged_parent(entry), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0)
    staging_->about_to_place(info);
}

// Whoever finds such an inode under its final name after a crash knows that it is in place. What is merged
// moves one by one.
void TreeWriter::note_what_is_placed() {
  for (std::uint32_t i = 0; i < manifest_->size(); ++i) {
    if (plan_->state(i) == State::Skipped) continue;
    if ((*manifest_)[i].parent == transfer::kTop || plan_->merges(i)) note(i);
  }
  flush_journal();
}

void TreeWriter::sync_all() {
  if (!sync_each_) {
    retrying("sync", [&] { return ::syncfs(staging_->tree()); });
    return;
  }
  retrying("sync the journal", [&] {
    const auto synced = staging_->sync_journal();
    if (!synced) errno = synced.error();
    return synced ? 0 : -1;
  });
  retrying("sync a directory", [&] { return sync_directory(staging_->tree()); });
}

// What a directory forbids its owner comes last: until then it is ours to move.
void TreeWriter::restrict_directories(const TreePlacer& placer) {
  DirectoryChain here(destination_.get(), *manifest_, DirectoryChain::Missing::Fail,
                      [this](std::uint32_t entry) { return plan_->final_name(entry); });
  bool any = false;
  const auto is_ours = [&](std::uint32_t entry) {
    for (; entry != transfer::kTop; entry = (*manifest_)[entry].parent) {
      if (plan_->is_in_place(entry)) return true;
      if ((*manifest_)[entry].parent == transfer::kTop) return plan_->top_of(entry).is_ours;
      const auto directory = here.directory(entry);
      struct stat info {};
      if (directory && ::fstat(*directory, &info) == 0 && placer.is_ours(info)) return true;
    }
    return false;
  };
  for (std::uint32_t i = manifest_->size(); i-- > 0;) {
    const transfer::Entry& entry = (*manifest_)[i];
    if (entry.kind != EntryKind::Directory || (entry.mode & 0700) == 0700) continue;
    if (!is_ours(i)) continue;  // there before us: not ours to change
    const auto directory = here.directory(i);
    if (!directory) continue;
    (void)::fchmod(*directory, entry.mode & 0777 & ~umask_);
    any = true;
  }
  if (any) (void)::syncfs(destination_.get());
}

std::string TreeWriter::place(std::uint32_t entry, TreePlan::Top& top, TreePlacer& placer) {
  const auto placed = placer.place(staging_->tree(), std::string(manifest_->name(entry)), destination_.get(),
                                   top.name, top.conflict);
  if (!placed) {
    if (placed.error() == EEXIST)
      throw DiskError(fmt::format("{} appeared in {} meanwhile; everything else is kept for the next try",
                                  printable(top.name), printable(path_, 1000)));
    fail(fmt::format("cannot put {} into {}", printable(top.name), printable(path_, 1000)), placed.error());
  }
  top.is_ours = placed->moved_whole;
  return placed->name;
}

WriteOutcome TreeWriter::commit() {
  WriteOutcome out;
  make_links_and_directories();
  finish_directories();
  note_what_is_placed();
  sync_all();
  staged_->forget();
  TreePlacer placer;
  for (auto& [entry, top] : plan_->tops()) {
    const bool is_directory = (*manifest_)[entry].kind == EntryKind::Directory;
    if (top.was_placed) {
      top.is_ours = true;
    } else if (plan_->state(entry) == State::Skipped ||
               (!is_directory && plan_->state(entry) != State::Done)) {
      continue;  // Skipped is also a directory whose name a file or a link keeps: nothing of it was staged
    } else {
      top.name = place(entry, top, placer);
    }
    out.placed.push_back(path_ + (path_ == "/" ? "" : "/") + top.name);
  }
  retrying("sync a directory", [&] { return sync_directory(destination_.get()); });
  restrict_directories(placer);
  out.failed = placer.failed();
  out.first_failure = placer.first_failure();
  complete_ = out.failed == 0;
  return out;
}

void TreeWriter::forget() {
  if (complete_ && staging_) staging_->remove();
}

}  // namespace dh::io
