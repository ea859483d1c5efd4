#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "lab/link_model.hh"

namespace dh::lab {

/// The two directions of a wire between ends a and b.
struct WireSettings {
  LinkSettings ab;
  LinkSettings ba;
};

/// What a line asked for beside changing settings.
enum class WireReply : std::uint8_t { Done, Stats };

/// Applies one line of the wire's control language; a line that does not fit changes nothing. DIR is ab, ba
/// or both, P a probability (0.05 or 5%), T a time (20ms, 100us, 1s), B bytes:
///   set DIR delay T | jitter T | loss P | burst P [PACKETS] | reorder P [T] | duplicate P | corrupt P
///   set DIR rate R (20mbit, 500kbit, 1gbit, 0: none) | queue B | mtu B (0: any size passes)
///   cut DIR | heal [DIR]           everything is lost; undoes only that
///   clear [DIR]                    back to a wire that does nothing
///   stats
/// Errors: a sentence for a person.
std::expected<WireReply, std::string> apply_command(std::string_view line, WireSettings& settings);

/// One JSON object on one line.
std::string to_json(const LinkCounters& counters, std::size_t waiting);

}  // namespace dh::lab
