#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/time.hh"

namespace dh::session {

/// Relays a token can name, and so the relays a session can use.
inline constexpr std::size_t kMaxRelays = 4;

/// Which of the token's relays carries our packets now. A small value: no IO, no timers of its own.
///
/// A relay is usable while we are logged in to it. It is suspect once the peer seems not to hear us there:
/// the relay said it has no such client, or nothing authentic came back in time. Any authentic packet through
/// it clears that. The current relay only changes when it stops being usable or becomes suspect and another
/// one is better, so two good relays never flap.
class RelaySet {
public:
  explicit RelaySet(std::size_t count) : count_(count) {}

  void up(std::size_t relay);
  void down(std::size_t relay);
  void suspect(std::size_t relay);
  /// An authentic packet of the peer came through `relay`: the peer is there.
  void heard(std::size_t relay, Instant now);
  /// The peer is known to send through `relay` (it moved there): follow it.
  void follow(std::size_t relay);

  std::optional<std::size_t> current() const { return current_; }
  bool is_up(std::size_t relay) const { return relays_[relay].up; }
  bool is_suspect(std::size_t relay) const { return relays_[relay].suspect; }
  bool any_up() const;
  std::size_t size() const { return count_; }
  std::optional<Instant> last_heard() const;

private:
  struct Relay {
    bool up = false;
    bool suspect = false;
    std::optional<Instant> heard;
  };
  // Higher is better: usable, not suspect, then the token's order.
  int rank(std::size_t relay) const;
  void choose();

  std::array<Relay, kMaxRelays> relays_;
  std::size_t count_;
  std::optional<std::size_t> current_;
};

}  // namespace dh::session
