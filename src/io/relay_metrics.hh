#pragma once

#include <string>

#include "io/derp_server.hh"

namespace dh::io {

/// Prometheus text exposition 0.0.4 of every counter; the names are listed in docs/protocol/relay-server.md
/// §5.
std::string relay_metrics_page(const derp::ServerCounters& core, const ShellCounters& shell);

}  // namespace dh::io
