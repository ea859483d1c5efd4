#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <tuple>
#include <vector>

#include "derp/server_core.hh"

namespace dh::derp {

enum class TimerKind : std::uint8_t { Login, KeepAlive, Write, Resume };

/// Deadlines of all connections in one heap. Lazy: an entry is never removed or moved, only looked at again
/// when it comes up, so a renewed write deadline costs one assignment and no heap operation. Each connection
/// keeps at most one entry of a kind.
class ServerTimers {
public:
  struct Entry {
    Instant when{};
    ConnectionId id = 0;
    TimerKind kind{};

    auto key() const { return std::tie(when, id, kind); }
    bool operator>(const Entry& other) const { return key() > other.key(); }
  };

  void add(Instant when, ConnectionId id, TimerKind kind) {
    heap_.push_back({when, id, kind});
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  }

  std::optional<Instant> next() const {
    return heap_.empty() ? std::nullopt : std::optional(heap_.front().when);
  }

  std::optional<Entry> pop_due(Instant now) {
    if (heap_.empty() || heap_.front().when > now) return std::nullopt;
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
    const Entry entry = heap_.back();
    heap_.pop_back();
    return entry;
  }

  std::size_t size() const { return heap_.size(); }
  /// Forgets the entries of connections that are gone. For when size() has outgrown their number.
  template <typename IsAlive>
  void sweep(IsAlive is_alive) {
    std::erase_if(heap_, [&](const Entry& entry) { return !is_alive(entry.id); });
    std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
  }

private:
  std::vector<Entry> heap_;
};

}  // namespace dh::derp
