#pragma once

#include <string>

#include "io/netcheck_driver.hh"

namespace dh::app {

/// The result for a person: verdict first, advice last. Lines end with \n.
/// `all_relays`: every relay, not only the nearest.
std::string netcheck_text(const io::NetcheckResult& result, bool all_relays);

/// The result as one JSON object, docs/netcheck.md has the schema. No line end.
std::string netcheck_json(const io::NetcheckResult& result);

}  // namespace dh::app
