#pragma once

#include "bulk/bbr_config.hh"
#include "bulk/congestion_controller.hh"
#include "reporter.hh"

namespace dh::app {

/// The parts of BBR that are in use: all, but for those in DERPHOLE_BBR_WITHOUT (E1 to E9 as in
/// docs/congestion.md, with commas; `all` leaves the draft). To find the part at fault. Errors:
/// CommandError(Usage).
bulk::BbrConfig bbr_from_environment();

/// What a sender's controller believes about its path: fields of the `congestion` event and of `done`.
Reporter::Fields congestion_fields(const bulk::ControllerReport& report);
/// The same for a person with --verbose.
std::string congestion_words(const bulk::ControllerReport& report);

}  // namespace dh::app
