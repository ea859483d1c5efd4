#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace dh {

/// Makes text that came from a peer, a relay or a file fit for a terminal and a log: the one choke point for
/// it. Control characters, escape sequences, invalid UTF-8, bidirectional overrides and other invisible code
/// points become \xNN (per byte); at most `max_bytes` bytes of input are shown, then "...".
std::string printable(std::string_view text, std::size_t max_bytes = 200);

}  // namespace dh
