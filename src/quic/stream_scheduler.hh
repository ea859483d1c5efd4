#pragma once

#include <cstdint>
#include <deque>
#include <unordered_map>

#include "quic/limits.hh"

namespace dh::quic {

/// Whose turn it is to send: deficit round robin over the streams that have something to send (after RFC
/// 8290). A stream that begins anew goes before those that have been sending all along, for one quantum: a
/// keystroke does not wait behind ten downloads. Nobody is passed over for more than one round.
class StreamScheduler {
public:
  /// The stream has something to send. Safe to repeat.
  void activate(std::int64_t stream);
  /// It has nothing any more, or may not.
  void deactivate(std::int64_t stream);
  /// Whose turn it is; -1: nobody's.
  std::int64_t next();
  /// It sent this much.
  void charge(std::int64_t stream, std::size_t bytes);
  bool empty() const { return active_.empty(); }

private:
  struct Active {
    std::int64_t left = 0;     // bytes of this turn
    std::uint64_t ticket = 0;  // of the one place in a queue that counts; others are left-overs
  };
  struct Place {
    std::int64_t stream;
    std::uint64_t ticket;
  };
  void enqueue(std::deque<Place>& queue, std::int64_t stream, Active& active);
  Active* find(std::int64_t stream);

  std::unordered_map<std::int64_t, Active> active_;
  std::int64_t found_stream_ = -1;  // of the last find(): mostly it is the same one again
  Active* found_ = nullptr;
  std::deque<Place> fresh_, old_;
  std::uint64_t tickets_ = 0;
};

}  // namespace dh::quic
