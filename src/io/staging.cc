#include "io/staging.hh"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include "crypto/hash.hh"
#include "transfer/limits.hh"

namespace dh::io {
namespace {

constexpr std::string_view kPrefix = ".derphole-part-";

[[noreturn]] void fail(const std::string& what, int error) {
  throw DiskError(fmt::format("{}: {}", what, std::strerror(error)));
}

std::string staging_name(const transfer::Manifest& manifest) {
  RunningBlake2b hash;
  for (std::uint32_t i = 0; i < manifest.size(); ++i) {
    if (manifest[i].parent != transfer::kTop) continue;
    const ByteArray<2> head{static_cast<std::byte>(manifest[i].kind),
                            static_cast<std::byte>(manifest[i].name_size)};
    hash.update(head);
    hash.update(as_bytes(manifest.name(i)));
  }
  const ByteArray<32> digest = hash.digest();
  return std::string(kPrefix) + to_hex(ByteView(digest).first(6));
}

std::uint64_t child_hash(std::uint32_t parent, std::string_view name) {
  std::string key(reinterpret_cast<const char*>(&parent), sizeof parent);
  key += name;
  return transfer::short_hash(as_bytes(key));
}

Fd make_directory(int above, const std::string& name) {
  if (::mkdirat(above, name.c_str(), 0700) != 0 && errno != EEXIST) fail("cannot create " + name, errno);
  auto opened = open_beneath(above, name, O_RDONLY | O_DIRECTORY);
  if (!opened) fail("cannot open " + name, opened.error());
  return std::move(*opened);
}

// false: not that many bytes.
bool read_fully(int fd, std::uint64_t at, ByteSpan into) {
  while (!into.empty()) {
    const ssize_t size = ::pread(fd, into.data(), into.size(), static_cast<off_t>(at));
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return false;
    at += static_cast<std::uint64_t>(size);
    into = into.subspan(static_cast<std::size_t>(size));
  }
  return true;
}

bool is_zero(ByteView bytes) {
  return bytes.empty() ||
         (bytes[0] == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

}  // namespace

Staging::Staging(int destination, const transfer::Manifest& manifest)
    : manifest_(manifest), destination_(destination), name_(staging_name(manifest)) {
  directory_ = make_directory(destination, name_);
  struct stat info {};
  if (::fstat(directory_.get(), &info) != 0) fail("cannot look at " + name_, errno);
  // In a directory that others may write to, somebody could have put it there before us.
  if (info.st_uid != ::geteuid() || (info.st_mode & 077) != 0)
    throw DiskError(name_ +
                    " in the destination was not made by this derphole; remove it or receive somewhere else");
  if (::flock(directory_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK)
      throw DiskError("another derphole is receiving the same things here at the moment");
    if (errno != EOPNOTSUPP && errno != ENOLCK) fail("cannot lock " + name_, errno);
  }
  tree_ = make_directory(directory_.get(), "tree");
  manifest_key_ = transfer::manifest_key(manifest);
  earlier_ = transfer::parse_journal(read_journal());
  for (const transfer::JournalPlaced& placed : earlier_.placed)
    if (placed.manifest == manifest_key_) placed_.insert({placed.device, placed.inode});
}

Staging::~Staging() {
  if (removed_) return;
  const auto left = names_in(tree_.get());
  if (left && left->empty() && earlier_.placed.empty()) remove();
}

bool Staging::was_placed(const struct stat& found) const {
  return placed_.contains({found.st_dev, found.st_ino});
}

void Staging::about_to_place(const struct stat& entry) {
  if (!placed_.insert({entry.st_dev, entry.st_ino}).second) return;  // an earlier try had said so
  earlier_.placed.push_back({.manifest = manifest_key_, .device = entry.st_dev, .inode = entry.st_ino});
  Writer w(pending_);
  transfer::journal_placed(w, earlier_.placed.back());
}

Bytes Staging::read_journal() const {
  Bytes out;
  const auto file = open_beneath(directory_.get(), "journal", O_RDONLY);
  if (!file) return out;
  struct stat info {};
  if (::fstat(file->get(), &info) != 0 || !S_ISREG(info.st_mode)) return out;
  if (info.st_size <= 0 || static_cast<std::uint64_t>(info.st_size) > transfer::kMaxJournalBytes) return out;
  out.resize(static_cast<std::size_t>(info.st_size));
  if (!read_fully(file->get(), 0, out)) out.clear();
  return out;
}

std::unordered_map<std::uint32_t, Kept> Staging::survey(bool with_sha256, const std::atomic<bool>& stop,
                                                        std::atomic<std::uint64_t>& checked) {
  with_sha256_ = with_sha256;
  stop_ = &stop;
  checked_ = &checked;
  const auto left = names_in(tree_.get());
  if (!left) fail("cannot read " + name_, left.error());
  if (!left->empty()) {
    index_children();
    survey_directory(tree_.get(), transfer::kTop);
    children_.clear();
  }
  auto fresh = open_beneath(directory_.get(), "journal.new", O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (!fresh) fail("cannot create the journal in " + name_, fresh.error());
  journal_ = std::move(*fresh);
  Writer w(pending_);
  transfer::journal_start(w);
  for (const transfer::JournalPlaced& placed : earlier_.placed) transfer::journal_placed(w, placed);
  for (const auto& [entry, kept] : kept_) {
    begin_file(entry);
    for (const transfer::JournalBlock& block : kept.journal) {
      if (block.holes > 0) hole_written(block.holes);
      if (block.holes == 0) block_written(block.digest);
    }
  }
  if (auto flushed = flush(); !flushed) fail("cannot write the journal in " + name_, flushed.error());
  // Before it replaces the one that earlier tries wrote: else the power could take both.
  if (auto synced = sync_journal(); !synced) fail("cannot write the journal in " + name_, synced.error());
  if (::renameat(directory_.get(), "journal.new", directory_.get(), "journal") != 0)
    fail("cannot replace the journal in " + name_, errno);
  earlier_.files.clear();
  return std::move(kept_);
}

void Staging::index_children() {
  for (std::uint32_t i = 0; i < manifest_.size(); ++i)
    children_[child_hash(manifest_[i].parent, manifest_.name(i))].push_back(i);
}

void Staging::survey_directory(int directory, std::uint32_t parent) {
  const auto names = names_in(directory);
  if (!names) fail("cannot read " + name_, names.error());
  for (const std::string& name : *names) {
    if (stop_->load()) throw Stopped();
    std::optional<std::uint32_t> entry;
    if (const auto found = children_.find(child_hash(parent, name)); found != children_.end()) {
      for (const std::uint32_t candidate : found->second)
        if (manifest_[candidate].parent == parent && manifest_.name(candidate) == name) entry = candidate;
    }
    struct stat info {};
    const bool there = ::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
    if (entry && there && S_ISDIR(info.st_mode) && manifest_[*entry].kind == transfer::EntryKind::Directory) {
      [[maybe_unused]] const int opened =
          ::fchmodat(directory, name.c_str(), 0700, 0);  // an earlier try may have finished it
      const auto inner = open_beneath(directory, name, O_RDONLY | O_DIRECTORY);
      if (!inner) fail("cannot open a directory in " + name_, inner.error());
      survey_directory(inner->get(), *entry);
      continue;
    }
    if (entry && there && S_ISREG(info.st_mode) && info.st_nlink == 1 &&
        manifest_[*entry].kind == transfer::EntryKind::File)
      survey_file(directory, name, *entry);
    if (entry && kept_.contains(*entry)) continue;
    if (auto removed = remove_beneath(directory, name); !removed)
      fail("cannot remove a leftover in " + name_, removed.error());
  }
}

void Staging::survey_file(int directory, const std::string& name, std::uint32_t entry) {
  const auto found = earlier_.files.find(transfer::file_key(manifest_, entry));
  if (found == earlier_.files.end()) return;
  const auto file = open_beneath(directory, name, O_RDONLY);
  if (!file) return;
  const std::uint64_t size = manifest_[entry].size;
  const std::uint32_t all = transfer::block_count(size);
  Kept kept;
  RunningBlake2b hash;
  if (with_sha256_) kept.sha256.emplace();
  Bytes buffer(static_cast<std::size_t>(std::min<std::uint64_t>(size, transfer::kBlockBytes)));
  bool good = true;
  // `holes`: the block must be zeros; else it must have this digest.
  const auto check_block = [&](const transfer::JournalBlock& said) {
    if (stop_->load()) throw Stopped();
    if (kept.blocks >= all) return false;
    const ByteSpan block = ByteSpan(buffer).first(transfer::block_size(size, kept.blocks));
    if (!read_fully(file->get(), std::uint64_t{kept.blocks} * transfer::kBlockBytes, block)) return false;
    if (said.holes > 0 ? !is_zero(block) : transfer::block_digest(block) != said.digest) return false;
    hash.update(block);
    *checked_ += block.size();
    if (kept.sha256) kept.sha256->update(block);
    ++kept.blocks;
    kept.journal.push_back(said.holes > 0 ? transfer::JournalBlock{.holes = 1, .digest = {}} : said);
    return true;
  };
  for (const transfer::JournalBlock& said : found->second) {
    for (std::uint32_t i = 0; good && i < std::max(said.holes, 1u); ++i) good = check_block(said);
    if (!good) break;
  }
  struct stat info {};
  kept.is_whole = kept.blocks == all && ::fstat(file->get(), &info) == 0 &&
                  static_cast<std::uint64_t>(info.st_size) == size;
  if (kept.blocks == all && !kept.is_whole) return;  // a tail that does not belong
  if (kept.blocks == 0 && !kept.is_whole) return;
  kept.digest = hash.digest();
  kept_.emplace(entry, std::move(kept));
}

void Staging::begin_file(std::uint32_t entry) {
  Writer w(pending_);
  transfer::journal_file(w, transfer::file_key(manifest_, entry));
}

void Staging::block_written(const transfer::BlockDigest& digest) {
  Writer w(pending_);
  transfer::journal_block(w, digest);
}

void Staging::hole_written(std::uint32_t blocks) {
  Writer w(pending_);
  transfer::journal_hole(w, blocks);
}

std::expected<void, int> Staging::flush() {
  std::size_t done = 0;
  int error = 0;
  while (done < pending_.size() && error == 0) {
    const ssize_t size = ::write(journal_.get(), pending_.data() + done, pending_.size() - done);
    if (size < 0 && errno != EINTR) error = errno;
    if (size > 0) done += static_cast<std::size_t>(size);
  }
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(done));
  if (error != 0) return std::unexpected(error);
  return {};
}

std::expected<void, int> Staging::sync_journal() {
  while (::fdatasync(journal_.get()) != 0)
    if (errno != EINTR) return std::unexpected(errno);
  // And its name; some file systems have nothing to sync in a directory, and say so.
  if (::fsync(directory_.get()) != 0 && errno != EINVAL && errno != ENOTSUP) return std::unexpected(errno);
  return {};
}

void Staging::remove() {
  removed_ = true;
  journal_.reset();
  // The journal last: whoever is killed meanwhile finds in it that everything is in place.
  (void)remove_beneath(directory_.get(), "tree");
  (void)remove_beneath(destination_, name_);  // what stays behind is a hidden directory without use
}

}  // namespace dh::io
