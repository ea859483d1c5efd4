#include "io/tree_plan.hh"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <fmt/format.h>

#include "base/check.hh"
#include "base/printable.hh"
#include "crypto/hash.hh"
#include "io/tree_placer.hh"
#include "transfer/limits.hh"

namespace dh::io {
namespace {

using transfer::EntryKind;
using transfer::Span;

constexpr std::uint32_t kMostInRun = 256;  // files that one digest answers for
constexpr int kMostNumbers = 1000;         // of `name (1)` looked at for what an earlier try has placed

// A reused inode number is not enough: it must also be what was announced.
bool fits(const transfer::Entry& entry, const struct stat& found) {
  switch (entry.kind) {
    case EntryKind::Directory:
      return S_ISDIR(found.st_mode);
    case EntryKind::File:
      return S_ISREG(found.st_mode) && static_cast<std::uint64_t>(found.st_size) == entry.size;
    case EntryKind::Symlink:
      return S_ISLNK(found.st_mode);
    case EntryKind::Text:
      return false;
  }
  return false;
}

// Among names that others may write to: nor was it changed since.
bool is_as_placed(const transfer::Entry& entry, const struct stat& found) {
  if (!fits(entry, found)) return false;
  const timespec wanted = to_timespec(entry.mtime_ns);
  return entry.kind != EntryKind::File ||
         (found.st_mtim.tv_sec == wanted.tv_sec && found.st_mtim.tv_nsec == wanted.tv_nsec);
}

}  // namespace

TreePlan::TreePlan(int destination, std::string directory, const transfer::Manifest& manifest,
                   const std::string& only_name, const Staging& staging)
    : destination_(destination),
      directory_(std::move(directory)),
      manifest_(manifest),
      staging_(staging),
      states_(manifest.size(), State::Pending),
      in_place_(manifest.size(), false) {
  for (std::uint32_t i = 0; i < manifest.size(); ++i) {
    if (manifest[i].parent != transfer::kTop) continue;
    Top& top = tops_[i];
    top.name = only_name.empty() ? std::string(manifest.name(i)) : only_name;
    struct stat info {};
    if (::fstatat(destination_, top.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT)
      continue;
    top.was_placed = staging.was_placed(info) && fits(manifest[i], info);
    top.is_taken = !top.was_placed;
    if (top.is_taken) find_renamed(i, top);
  }
}

// An earlier try may have put it beside what has its name, with Conflict::Rename.
void TreePlan::find_renamed(std::uint32_t entry, Top& top) const {
  const bool is_directory = manifest_[entry].kind == EntryKind::Directory;
  for (int number = 1; number <= kMostNumbers; ++number) {
    std::string name = numbered_name(top.name, is_directory, number);
    struct stat info {};
    if (::fstatat(destination_, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return;
    if (!staging_.was_placed(info) || !fits(manifest_[entry], info)) continue;
    top.name = std::move(name);
    top.was_placed = true;
    top.is_taken = false;
    return;
  }
}

std::vector<std::uint32_t> TreePlan::taken() const {
  std::vector<std::uint32_t> out;
  for (const auto& [entry, top] : tops_)
    if (top.is_taken) out.push_back(entry);
  return out;
}

std::string TreePlan::final_name(std::uint32_t entry) const {
  if (manifest_[entry].parent == transfer::kTop) return tops_.at(entry).name;
  return std::string(manifest_.name(entry));
}

const TreePlan::Top& TreePlan::top_of(std::uint32_t entry) const {
  while (manifest_[entry].parent != transfer::kTop) entry = manifest_[entry].parent;
  return tops_.at(entry);
}

void TreePlan::decide(const WritePlan& plan) {
  for (const auto& [entry, conflict] : plan.conflicts) tops_.at(entry).conflict = conflict;
  check_names_free();
  mark_skipped();
}

void TreePlan::check_names_free() const {
  for (const auto& [entry, top] : tops_) {
    if (top.conflict != Conflict::Refuse || top.was_placed) continue;
    struct stat info {};
    if (::fstatat(destination_, top.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT)
      continue;
    throw DiskError(fmt::format("{} exists in {}", printable(top.name), printable(directory_, 1000)));
  }
}

TreePlan::There TreePlan::at_destination(DirectoryChain& chain, std::uint32_t entry,
                                         struct stat& info) const {
  const auto parent = chain.parent_of(entry);
  if (!parent) return parent.error() == ENOENT ? There::Nothing : There::Unreachable;
  if (::fstatat(*parent, final_name(entry).c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT ? There::Nothing : There::Unreachable;
  return S_ISDIR(info.st_mode) ? There::Directory : There::Other;
}

// What exists and stays is not asked for; what cannot be merged is noticed before the first byte.
void TreePlan::mark_skipped() {
  DirectoryChain here(destination_, manifest_, DirectoryChain::Missing::Fail,
                      [this](std::uint32_t entry) { return final_name(entry); });
  std::vector<const Top*> tops(manifest_.size());
  struct stat info {};
  for (std::uint32_t i = 0; i < manifest_.size(); ++i) {
    const std::uint32_t parent = manifest_[i].parent;
    tops[i] = parent == transfer::kTop ? &tops_.at(i) : tops[parent];
    if (tops[i]->was_placed || (parent != transfer::kTop && in_place_[parent])) {
      states_[i] = State::Skipped;
      in_place_[i] = true;
      continue;
    }
    const Conflict conflict = tops[i]->conflict;
    if (conflict == Conflict::Refuse || conflict == Conflict::Rename) continue;
    const There there = at_destination(here, i, info);
    if (there == There::Nothing) continue;
    if (there != There::Unreachable && staging_.was_placed(info) && is_as_placed(manifest_[i], info)) {
      states_[i] = State::Skipped;
      in_place_[i] = true;
      continue;
    }
    const bool fits = (there == There::Directory) == (manifest_[i].kind == EntryKind::Directory) &&
                      there != There::Unreachable;
    if (conflict == Conflict::Skip) {
      if (there != There::Directory || !fits) states_[i] = State::Skipped;
    } else if (!fits) {
      throw DiskError(
          fmt::format("{} is a directory on one side and a file on the other, or lies behind a link here",
                      printable(manifest_.path(i), 1000)));
    }
  }
}

std::uint64_t TreePlan::bytes_missing(const KeptFiles& kept) const {
  std::uint64_t wanted = 0;
  for (std::uint32_t i = 0; i < manifest_.size(); ++i) {
    if (manifest_[i].kind != EntryKind::File || manifest_[i].sparse || states_[i] == State::Skipped) continue;
    const auto found = kept.find(i);
    const std::uint64_t here =
        found == kept.end() ? 0 : std::uint64_t{found->second.blocks} * transfer::kBlockBytes;
    wanted += manifest_[i].size - std::min(manifest_[i].size, here);
  }
  return wanted;
}

std::vector<Span> TreePlan::spans(const KeptFiles& kept_files) const {
  std::vector<Span> out;
  RunningBlake2b run;
  const auto close_run = [&] {
    if (!out.empty() && out.back().wish == Span::Wish::Have) out.back().digest = run.digest();
    run = RunningBlake2b();
  };
  for (std::uint32_t i = 0; i < manifest_.size(); ++i) {
    const auto kept = kept_files.find(i);
    Span span{.wish = Span::Wish::Whole, .first = i};
    if (states_[i] == State::Skipped) {
      span.wish = Span::Wish::Skip;
    } else if (kept != kept_files.end()) {
      span.wish = kept->second.is_whole ? Span::Wish::Have : Span::Wish::Resume;
      span.blocks = kept->second.is_whole ? 0 : kept->second.blocks;
      span.digest = kept->second.digest;
    } else if (!manifest_[i].has_content() && !out.empty()) {
      span.wish = out.back().wish;  // whatever makes the run longer
      if (span.wish == Span::Wish::Resume) span.wish = Span::Wish::Whole;
    }
    const bool extends = !out.empty() && out.back().wish == span.wish && span.wish != Span::Wish::Resume &&
                         (span.wish != Span::Wish::Have || out.back().count < kMostInRun);
    if (!extends) {
      close_run();
      out.push_back(span);
    } else {
      ++out.back().count;
    }
    if (span.wish == Span::Wish::Have && kept != kept_files.end()) {
      Bytes size;
      Writer(size).u64(manifest_[i].size);
      run.update(size);
      run.update(kept->second.digest);
    }
  }
  close_run();
  return out;
}

}  // namespace dh::io
