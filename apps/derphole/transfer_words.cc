#include "transfer_words.hh"

#include <algorithm>

#include <fmt/format.h>

#include "base/printable.hh"
#include "io/clock.hh"

namespace dh::app {
namespace {

constexpr Duration kStallNotice = 1500ms;  // looked at twice a second: within two
constexpr std::size_t kNamesShown = 3;     // of those at the top

}  // namespace

std::string count_files(std::uint64_t count) {
  return count == 1 ? "1 file" : fmt::format("{} files", count);
}

std::string describe(const transfer::Manifest& manifest) {
  if (manifest.is_text()) return "a text of " + human_bytes(manifest.bytes());
  std::string names;
  std::size_t top = 0;
  for (std::uint32_t i = 0; i < manifest.size(); ++i) {
    if (manifest[i].parent != transfer::kTop || ++top > kNamesShown) continue;
    if (!names.empty()) names += ", ";
    names += printable(manifest.name(i), 100);
    if (manifest[i].kind == transfer::EntryKind::Directory) names += "/";
  }
  if (top > kNamesShown) names += fmt::format(" and {} more", top - kNamesShown);
  if (manifest.size() == 1 && manifest.files() == 1)
    return fmt::format("{} ({})", names, human_bytes(manifest.bytes()));
  return fmt::format("{} ({}, {})", names, count_files(manifest.files()), human_bytes(manifest.bytes()));
}

void show_transfer(Reporter& reporter, const transfer::Manifest& manifest, const transfer::Progress& progress,
                   const std::string& badge) {
  Reporter::ProgressDetail detail;
  const std::string_view name = progress.entry < manifest.size() ? manifest.name(progress.entry) : "";
  detail.name = printable(name, 1000);
  if (manifest.files() > 1) detail.count = fmt::format("{}/{} files, ", progress.files, manifest.files());
  detail.fields = {{"name", Reporter::text(manifest.path(progress.entry))},
                   {"files", Reporter::number(std::uint64_t{progress.files})},
                   {"files_total", Reporter::number(std::uint64_t{manifest.files()})}};
  reporter.progress(std::min(progress.bytes, manifest.bytes()), manifest.bytes(), badge, io::now(), detail);
}

std::string transfer_line(const transfer::Manifest& manifest, std::uint64_t moved, Duration open_for,
                          const std::string& shares) {
  const double rate = static_cast<double>(moved) / std::max(1e-9, to_seconds(open_for));
  std::string what = manifest.is_text() ? "a text" : count_files(manifest.files());
  if (moved < manifest.bytes())
    what += fmt::format(", {} ({} of it new)", human_bytes(manifest.bytes()), human_bytes(moved));
  else
    what += ", " + human_bytes(manifest.bytes());
  return fmt::format("{} in {}, {}, {}", what, human_duration(open_for), human_rate(rate), shares);
}

void Stalls::tell(Reporter& reporter, const char* why) {
  const Instant now = io::now();
  if (why_ == nullptr || std::string_view(why_) != why) {
    why_ = why;
    since_ = now;
    told_ = false;
  }
  if (told_ || now - since_ < kStallNotice) return;
  told_ = true;
  reporter.event("stalled", {{"message", Reporter::text(why)}});
  reporter.line(why);
}

void show_digests(Reporter& reporter, const std::vector<io::FileDigest>& digests, const std::string& check) {
  for (const io::FileDigest& file : digests) {
    const std::string hex = to_hex(file.sha256);
    reporter.event("file-digest", {{"path", Reporter::text(file.path)}, {"sha256", Reporter::text(hex)}});
    reporter.line(hex + "  " + printable(file.path, 1000));
  }
  if (check.empty()) return;
  reporter.event("check", {{"check", Reporter::text(check)}});
  reporter.line("Check string, the same on both sides: " + check);
}

}  // namespace dh::app
