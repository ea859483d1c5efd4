#include "lab/wire_command.hh"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace dh::lab {
namespace {

using Words = std::vector<std::string_view>;

template <class T>
using Or = std::expected<T, std::string>;

Words split(std::string_view line) {
  Words words;
  while (!line.empty()) {
    const auto start = line.find_first_not_of(" \t\r");
    if (start == std::string_view::npos) break;
    line.remove_prefix(start);
    const auto end = std::min(line.find_first_of(" \t\r"), line.size());
    words.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
  return words;
}

struct Unit {
  std::string_view name;
  double factor;
};

/// A number that is not negative, with one of the units behind it.
template <std::size_t N>
Or<double> quantity(std::string_view word, const std::array<Unit, N>& units) {
  double number = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  const std::string_view unit(end, static_cast<std::size_t>(word.data() + word.size() - end));
  if (error == std::errc() && std::isfinite(number) && number >= 0) {
    for (const Unit& known : units) {
      if (unit == known.name || (number == 0 && unit.empty())) return number * known.factor;
    }
  }
  std::string names;
  for (const Unit& known : units) names += fmt::format(" {}", known.name.empty() ? "(none)" : known.name);
  return std::unexpected(fmt::format("'{}' is not a number with one of these units:{}", word, names));
}

Or<double> probability(std::string_view word) {
  auto value = quantity(word, std::array{Unit{"", 1}, Unit{"%", 0.01}});
  if (value && *value > 1) return std::unexpected(fmt::format("'{}' is more than always", word));
  return value;
}

Or<Duration> time(std::string_view word) {
  constexpr double kLongest = 60;  // seconds: more is a mistake
  const auto seconds = quantity(word, std::array{Unit{"us", 1e-6}, Unit{"ms", 1e-3}, Unit{"s", 1}});
  if (!seconds) return std::unexpected(seconds.error());
  if (*seconds > kLongest) return std::unexpected(fmt::format("'{}' is longer than a minute", word));
  return Duration(std::llround(*seconds * 1e9));
}

Or<double> rate(std::string_view word) {
  return quantity(word, std::array{Unit{"kbit", 1e3}, Unit{"mbit", 1e6}, Unit{"gbit", 1e9}});
}

Or<std::size_t> size(std::string_view word) {
  constexpr double kLargest = 1e9;
  const auto value = quantity(word, std::array{Unit{"", 1}, Unit{"kB", 1e3}, Unit{"MB", 1e6}});
  if (!value) return std::unexpected(value.error());
  if (*value > kLargest) return std::unexpected(fmt::format("'{}' is more than a gigabyte", word));
  return static_cast<std::size_t>(*value);
}

template <class T>
Or<void> store(Or<T> value, T& into) {
  if (!value) return std::unexpected(value.error());
  into = *value;
  return {};
}

Or<void> set(LinkSettings& link, std::string_view what, const Words& values) {
  const bool takes_two = what == "burst" || what == "reorder";
  if (values.empty() || values.size() > (takes_two ? 2U : 1U))
    return std::unexpected(fmt::format("'{}' takes {} value(s)", what, takes_two ? "1 or 2" : "1"));
  const std::string_view value = values[0];
  if (what == "delay") return store(time(value), link.delay);
  if (what == "jitter") return store(time(value), link.jitter);
  if (what == "loss") return store(probability(value), link.loss);
  if (what == "duplicate") return store(probability(value), link.duplicate);
  if (what == "corrupt") return store(probability(value), link.corrupt);
  if (what == "rate") return store(rate(value), link.rate_bits);
  if (what == "queue") return store(size(value), link.queue_bytes);
  if (what == "mtu") return store(size(value), link.mtu_hole);
  if (what == "burst") {
    if (values.size() == 2) {
      const auto packets = quantity(values[1], std::array{Unit{"", 1}});
      if (!packets || *packets < 1)
        return std::unexpected(fmt::format("a burst has at least 1 packet, not {}", values[1]));
      link.burst_packets = *packets;
    }
    return store(probability(value), link.burst_loss);
  }
  if (what == "reorder") {
    if (values.size() == 2) {
      if (auto stored = store(time(values[1]), link.reorder_by); !stored) return stored;
    }
    return store(probability(value), link.reorder);
  }
  return std::unexpected(fmt::format("nobody knows '{}'", what));
}

}  // namespace

std::expected<WireReply, std::string> apply_command(std::string_view line, WireSettings& settings) {
  const Words words = split(line);
  if (words.empty()) return std::unexpected("an empty line");
  const std::string_view verb = words[0];
  if (verb == "stats" && words.size() == 1) return WireReply::Stats;
  if (verb != "set" && verb != "cut" && verb != "heal" && verb != "clear")
    return std::unexpected(fmt::format("nobody knows '{}'", line));
  const bool may_lack_direction = verb == "heal" || verb == "clear";
  if (words.size() < 2 && !may_lack_direction)
    return std::unexpected("a direction is missing: ab, ba or both");
  const std::string_view direction = words.size() < 2 ? "both" : words[1];
  if (direction != "ab" && direction != "ba" && direction != "both")
    return std::unexpected(fmt::format("'{}' is no direction: ab, ba or both", direction));
  if (verb == "set" ? words.size() < 3 : words.size() > 2)
    return std::unexpected(fmt::format("too many or too few words: '{}'", line));
  WireSettings changed = settings;
  for (const auto& [name, link] : {std::pair("ab", &changed.ab), std::pair("ba", &changed.ba)}) {
    if (direction != name && direction != "both") continue;
    if (verb == "clear") *link = {};
    if (verb == "cut" || verb == "heal") link->cut = verb == "cut";
    if (verb == "set") {
      if (auto done = set(*link, words[2], Words(words.begin() + 3, words.end())); !done)
        return std::unexpected(done.error());
    }
  }
  settings = changed;
  return WireReply::Done;
}

std::string to_json(const LinkCounters& c, std::size_t waiting) {
  return fmt::format(
      R"({{"offered":{},"offered_bytes":{},"delivered":{},"delivered_bytes":{},"lost":{},"burst_lost":{},"cut":{},)"
      R"("too_big":{},"queue_dropped":{},"overflowed":{},"reordered":{},"duplicated":{},"corrupted":{},"waiting":{}}})",
      c.offered, c.offered_bytes, c.delivered, c.delivered_bytes, c.lost, c.burst_lost, c.cut, c.too_big,
      c.queue_dropped, c.overflowed, c.reordered, c.duplicated, c.corrupted, waiting);
}

}  // namespace dh::lab
