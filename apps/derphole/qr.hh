#pragma once

#include <string>
#include <string_view>

namespace dh::app {

/// A QR code for a terminal with a dark background, two modules to a character, each line ending in a
/// newline. Empty when the text does not fit into one (2,953 bytes).
std::string qr_text(std::string_view text);

}  // namespace dh::app
