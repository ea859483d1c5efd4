#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <string_view>

#include "reporter.hh"

namespace dh::app {

/// Asks at the terminal and waits for the line that answers: what was typed before the question does not.
/// Empty at the end of the input, and when a signal came while nobody watches for it with `stop`. Nothing:
/// `stop` is set. Any thread.
std::optional<std::string> ask_line(Reporter& reporter, const std::string& question,
                                    const std::atomic<bool>* stop = nullptr);

bool is_yes(std::string_view answer);

}  // namespace dh::app
