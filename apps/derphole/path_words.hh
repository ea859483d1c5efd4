#pragma once

#include <string>

#include "path/path_finder.hh"

namespace dh::app {

/// Why there is no direct path, as a clause, and what might help: "UDP seems to be blocked on this network".
std::string words_for(const path::Obstacle& obstacle);

/// What stands beside the progress and in summaries: `lan` or `direct`.
std::string_view badge_for(const path::Route& route);

}  // namespace dh::app
