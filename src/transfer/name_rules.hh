#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "transfer/fault.hh"

namespace dh::transfer {

class Manifest;

/// One path component, any bytes but these: none at all, `.`, `..`, a slash, NUL, more than 255.
std::expected<void, Refusal> check_component(std::string_view name);

/// A symlink's target as the receiver takes it: relative, `..` only at the beginning and never above the
/// top-level entry that the link is in. `depth`: components above the link; 0: the link is at the top, where
/// it can point nowhere safe. With that, following any chain of such links stays inside the tree.
std::expected<void, Refusal> check_link_target(std::string_view target, std::size_t depth);

/// What a file system without regard to case and Unicode normalisation would call the same: NFC, case folded,
/// invisible characters dropped. Bytes that are not UTF-8 stand for themselves.
std::string fold_name(std::string_view name);
/// As fold_name, but with case kept: equal keys look the same to a person.
std::string normal_name(std::string_view name);

struct NamePolicy {
  bool allow_hidden = false;       // names at the top that begin with a dot
  bool destination_folds = false;  // the destination's file system ignores case
};

/// The rules that need the whole list: no name twice in a directory, none that looks like another, none
/// hidden at the top. Errors: the first breach, by fault.
std::expected<void, Refusal> check_names(const Manifest& manifest, const NamePolicy& policy);

}  // namespace dh::transfer
