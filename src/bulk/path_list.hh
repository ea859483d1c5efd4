#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/time.hh"
#include "bulk/limits.hh"
#include "bulk/stream.hh"

namespace dh::bulk {

/// The paths of one end of a stream. `Path` is a SenderPath or a ReceiverPath.
template <class Path>
struct PathList {
  std::vector<std::unique_ptr<Path>> paths;  // a handful; references stay valid

  Path* find(PathId id) {
    for (auto& path : paths)
      if (path->channel.id == id) return path.get();
    return nullptr;
  }
  /// One bit for each that is usable.
  std::uint64_t live() const {
    std::uint64_t mask = 0;
    for (const auto& path : paths)
      if (path->usable) mask |= std::uint64_t{1} << path->channel.id;
    return mask;
  }
  Duration longest_pto() const {
    Duration pto = kTimerGranularity;
    for (const auto& path : paths)
      if (path->usable) pto = std::max(pto, path->channel.rtt.pto());
    return pto;
  }
};

}  // namespace dh::bulk
