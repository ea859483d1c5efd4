#include "path/birthday_search.hh"

namespace dh::path {
namespace {

constexpr Duration kOpenerGap = 2ms;  // 256 ports open within half a second
constexpr std::uint64_t kFirstPort = 1024;

}  // namespace

std::optional<BirthdaySearch::Probe> BirthdaySearch::poll(Instant now) {
  if (now < next_ || now >= until_ || targets_.empty() || used_up()) return std::nullopt;
  Probe probe{kSocketV4, targets_[sent_ % targets_.size()]};
  if (role_ == Role::Opener) {
    probe.socket = static_cast<SocketId>(first_socket_ + sent_ / targets_.size());
    probe.ttl = kSearchOpenerTtl;
  } else {
    probe.to.port = static_cast<std::uint16_t>(kFirstPort + rng_.below(65536 - kFirstPort));
  }
  ++sent_;
  next_ = std::max(next_, now - 20ms) + (role_ == Role::Opener ? kOpenerGap : kBirthdayGap);
  return probe;
}

std::optional<Instant> BirthdaySearch::next_timeout() const {
  if (targets_.empty()) return std::nullopt;
  if (used_up()) return role_ == Role::Opener ? until_ : std::min(until_, next_ + kLastAnswers);
  return std::min(until_, next_);
}

}  // namespace dh::path
