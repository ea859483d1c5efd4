#pragma once

#include <optional>
#include <string>

#include "io/tree_plan.hh"

namespace dh::io {

/// Saves a text under a path that a person named: written beside it, synced, then renamed, never through a
/// link. Returns the path it has now; nothing: Conflict::Skip, and the name is taken.
/// Errors: throws DiskError with a sentence; the name is as it was.
std::optional<std::string> save_text(const std::string& path, const std::string& text, Conflict conflict);

}  // namespace dh::io
