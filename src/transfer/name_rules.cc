#include "transfer/name_rules.hh"

#include <algorithm>
#include <cstdlib>
#include <span>
#include <tuple>
#include <utf8proc.h>
#include <vector>

#include "transfer/block_digest.hh"
#include "transfer/manifest.hh"

namespace dh::transfer {
namespace {

std::unexpected<Refusal> refused(Fault fault, std::string_view name) {
  return std::unexpected(Refusal{fault, std::string(name)});
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// Empty: not UTF-8.
std::string map_utf8(std::string_view name, unsigned options) {
  utf8proc_uint8_t* mapped = nullptr;
  const auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(name.data()),
                                 static_cast<utf8proc_ssize_t>(name.size()), &mapped,
                                 static_cast<utf8proc_option_t>(options));
  if (size < 0) return {};
  std::string out(reinterpret_cast<const char*>(mapped), static_cast<std::size_t>(size));
  std::free(mapped);
  return out;
}

constexpr unsigned kNormal = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_IGNORE;

struct Keyed {
  std::uint64_t hash;  // of directory and folded name
  std::uint32_t index;
};

// One group of names with the same hash: who really is the same?
std::expected<void, Refusal> check_group(const Manifest& manifest, std::span<const Keyed> group, bool folds) {
  struct Name {
    std::uint32_t parent;
    std::string folded, normal;
    std::uint32_t index;
  };
  std::vector<Name> names;
  names.reserve(group.size());
  for (const Keyed& one : group) {
    const std::string_view name = manifest.name(one.index);
    names.push_back({manifest[one.index].parent, fold_name(name), normal_name(name), one.index});
  }
  std::sort(names.begin(), names.end(), [&](const Name& a, const Name& b) {
    return std::tuple(a.parent, std::string_view(a.folded), std::string_view(a.normal),
                      manifest.name(a.index)) < std::tuple(b.parent, std::string_view(b.folded),
                                                           std::string_view(b.normal),
                                                           manifest.name(b.index));
  });
  for (std::size_t i = 1; i < names.size(); ++i) {
    const Name& a = names[i - 1];
    const Name& b = names[i];
    if (a.parent != b.parent || a.folded != b.folded) continue;
    if (manifest.name(a.index) == manifest.name(b.index)) {
      const bool one_is_directory = (manifest[a.index].kind == EntryKind::Directory) !=
                                    (manifest[b.index].kind == EntryKind::Directory);
      return refused(one_is_directory ? Fault::FileAndDirectory : Fault::DuplicateName,
                     manifest.path(b.index));
    }
    if (a.normal == b.normal) return refused(Fault::UnicodeTwin, manifest.path(b.index));
    if (folds) return refused(Fault::CaseTwin, manifest.path(b.index));
  }
  return {};
}

}  // namespace

std::expected<void, Refusal> check_component(std::string_view name) {
  if (name.empty()) return refused(Fault::EmptyName, name);
  if (name == "." || name == "..") return refused(Fault::DotName, name);
  if (name.size() > kMaxComponentBytes) return refused(Fault::NameTooLong, name);
  if (name.find('/') != std::string_view::npos) return refused(Fault::SlashInName, name);
  if (name.find('\0') != std::string_view::npos) return refused(Fault::NulInName, name);
  return {};
}

std::expected<void, Refusal> check_link_target(std::string_view target, std::size_t depth) {
  if (target.empty()) return refused(Fault::LinkEmpty, target);
  if (target.size() > kMaxLinkBytes) return refused(Fault::LinkTooLong, target);
  if (target.find('\0') != std::string_view::npos) return refused(Fault::LinkNul, target);
  if (target.front() == '/') return refused(Fault::LinkAbsolute, target);
  if (depth == 0) return refused(Fault::LinkOutside, target);
  bool descending = false;
  for (std::string_view rest = target; !rest.empty();) {
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    const std::string_view component = rest.substr(0, slash);
    rest.remove_prefix(std::min(rest.size(), slash + 1));
    if (component.empty() || component == ".") continue;
    if (component != "..") {
      descending = true;
    } else if (descending || --depth == 0) {
      // Behind a name it may be another link that goes up, and .. would leave from there.
      return refused(Fault::LinkOutside, target);
    }
  }
  return {};
}

std::string fold_name(std::string_view name) {
  if (!is_ascii(name)) {
    if (std::string mapped = map_utf8(name, kNormal | UTF8PROC_CASEFOLD); !mapped.empty()) return mapped;
  }
  std::string out(name);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::string normal_name(std::string_view name) {
  if (!is_ascii(name)) {
    if (std::string mapped = map_utf8(name, kNormal); !mapped.empty()) return mapped;
  }
  return std::string(name);
}

std::expected<void, Refusal> check_names(const Manifest& manifest, const NamePolicy& policy) {
  std::vector<Keyed> keys;
  keys.reserve(manifest.size());
  std::string key;
  for (std::uint32_t i = 0; i < manifest.size(); ++i) {
    const std::string_view name = manifest.name(i);
    if (manifest[i].parent == kTop && name.front() == '.' && !policy.allow_hidden)
      return refused(Fault::HiddenName, name);
    const std::uint32_t parent = manifest[i].parent;
    key.assign(reinterpret_cast<const char*>(&parent), sizeof parent);
    key += fold_name(name);
    keys.push_back({short_hash(as_bytes(key)), i});
  }
  std::sort(keys.begin(), keys.end(), [](const Keyed& a, const Keyed& b) { return a.hash < b.hash; });
  for (std::size_t first = 0; first < keys.size();) {
    std::size_t last = first + 1;
    while (last < keys.size() && keys[last].hash == keys[first].hash) ++last;
    if (last - first > 1) {
      const auto group = std::span<const Keyed>(keys).subspan(first, last - first);
      if (auto good = check_group(manifest, group, policy.destination_folds); !good) return good;
    }
    first = last;
  }
  return {};
}

}  // namespace dh::transfer
