#pragma once

#include <optional>
#include <vector>

#include "base/rng.hh"
#include "path/limits.hh"
#include "path/route.hh"

namespace dh::path {

/// Finds a way to a peer whose NAT takes an unpredictable port for every destination, when ours does not: the
/// peer opens many ports towards us, we try random ports of its address until one of them is open. Bounded in
/// number and rate, so that a small router's table survives. Pure.
class BirthdaySearch {
public:
  enum class Role : std::uint8_t {
    Opener,    // hard NAT here: one probe from each of many sockets to the peer's one address
    Searcher,  // easy NAT here: probes to many ports of the peer's address
  };
  BirthdaySearch(Role role, std::vector<Endpoint> targets, Instant start, Rng& rng)
      : role_(role), targets_(std::move(targets)), next_(start), until_(start + kBirthdayTime), rng_(rng) {}

  Role role() const { return role_; }
  /// Opener: sockets to probe from.
  void set_sockets(SocketId first, std::size_t count) {
    first_socket_ = first;
    sockets_ = count;
  }
  struct Probe {
    SocketId socket;
    Endpoint to;
    std::uint8_t ttl = 0;  // hops; 0: the system's default
  };
  /// The next probe that is due.
  std::optional<Probe> poll(Instant now);
  std::optional<Instant> next_timeout() const;
  /// An opener stays while the other side may still be trying its ports.
  bool over(Instant now) const {
    return now >= until_ || targets_.empty() ||
           (role_ == Role::Searcher && used_up() && now >= next_ + kLastAnswers);
  }

private:
  static constexpr Duration kLastAnswers = 1s;  // to the last probes may be on their way

  bool used_up() const {
    return sent_ >= (role_ == Role::Opener ? sockets_ * targets_.size() : kBirthdayProbes);
  }

  Role role_;
  std::vector<Endpoint> targets_;
  Instant next_, until_;
  Rng& rng_;
  SocketId first_socket_ = 0;
  std::size_t sockets_ = 0, sent_ = 0;
};

}  // namespace dh::path
