#pragma once

#include <string_view>

namespace dh::io {

/// What we call ourselves to relays and proxies: our own name, never another program's.
inline constexpr std::string_view kAgent = "derphole/" DERPHOLE_VERSION;

}  // namespace dh::io
