#include "path/prober.hh"

#include <algorithm>
#include <utility>

namespace dh::path {
namespace {

constexpr std::size_t kMaxOpenPings = 2048;  // a whole birthday search and more
constexpr std::size_t kMaxAnswers = 64;      // pongs waiting to be sent; more pings than that are a flood

}  // namespace

Pair* Prober::find_pair(SocketId socket, const Endpoint& remote) {
  for (Pair& pair : pairs_)
    if (pair.socket == socket && pair.remote == remote) return &pair;
  return nullptr;
}

const Pair* Prober::find(SocketId socket, const Endpoint& remote) const {
  return const_cast<Prober*>(this)->find_pair(socket, remote);
}

bool Prober::add(SocketId socket, const Endpoint& remote, PairOrigin origin, Tier tier, Instant start,
                 bool opener) {
  Pair* pair = find_pair(socket, remote);
  if (pair == nullptr) {
    if (pairs_.size() >= kMaxPairs) {  // the oldest that never worked makes room
      const auto idle = std::find_if(pairs_.begin(), pairs_.end(), [](const Pair& p) {
        return p.state == PairState::Idle && !p.last_pong;
      });
      if (idle == pairs_.end()) return false;
      pairs_.erase(idle);
    }
    pairs_.push_back({});
    pair = &pairs_.back();
    pair->socket = socket;
    pair->remote = remote;
    set_limits(*pair, start);
    pair->origin = origin;
  }
  pair->tier = tier;
  if (pair->state == PairState::Valid || pair->state == PairState::Probing) return true;
  if (pair->state != PairState::Suspect) pair->state = PairState::Fresh;
  pair->step = 0;
  pair->round_start = start;
  pair->due = start;
  pair->wants_opener = opener;
  return true;
}

void Prober::start_round(Instant start) {
  round_probes_ = 0;
  next_free_ = start;
}

void Prober::restart(Instant start, bool opener) {
  for (Pair& pair : pairs_) {
    if (pair.state == PairState::Valid) continue;
    if (pair.state != PairState::Suspect) pair.state = PairState::Fresh;
    pair.step = 0;
    pair.round_start = start;
    pair.due = start;
    pair.wants_opener = opener;
  }
}

void Prober::close_socket(SocketId socket) {
  std::erase_if(pairs_, [socket](const Pair& pair) { return pair.socket == socket; });
  std::erase_if(open_, [socket](const Ping& ping) { return ping.socket == socket; });
  std::erase_if(answers_, [socket](const Pong& pong) { return pong.socket == socket; });
  std::erase_if(searches_, [socket](const Search& search) { return search.socket == socket; });
}

Prober::Result Prober::on_datagram(SocketId socket, const Endpoint& from, ByteView datagram, bool allowed,
                                   Tier tier, Instant now) {
  const ProbeCipher::Opened opened = cipher_.unseal(datagram);
  switch (opened.verdict) {
    case ProbeCipher::Verdict::NotForUs:
      return Result::NotAProbe;
    case ProbeCipher::Verdict::Forged:
      ++counters_.forged;
      return Result::Ignored;
    case ProbeCipher::Verdict::Replayed:
      ++counters_.replayed;
      return Result::Ignored;
    case ProbeCipher::Verdict::Opened:
      break;
  }
  if (opened.body.kind == wire::ProbeKind::Ping) {
    on_ping(socket, from, opened.body, datagram.size(), allowed, tier, now);
    return Result::Ping;
  }
  return on_pong(socket, from, opened.body, tier, now) ? Result::Pong : Result::Ignored;
}

void Prober::on_ping(SocketId socket, const Endpoint& from, const wire::ProbeBody& body, std::size_t size,
                     bool allowed, Tier tier, Instant now) {
  ++counters_.pings_received;
  credit_ = std::min(kProbeBurst, credit_ + 1);  // it paid for our probe with one of its own
  if (size >= kBaseDatagram) full_credit_ = std::min(kFullBurst, full_credit_ + 1);
  if (!allowed) {
    ++counters_.forbidden;
    return;
  }
  if (answers_.size() < kMaxAnswers)
    answers_.push_back({socket, from, {wire::ProbeKind::Pong, body.transaction, from}});
  Pair* pair = find_pair(socket, from);
  if (pair == nullptr) {
    if (!add(socket, from, PairOrigin::Reflexive, tier, now, false)) return;
    pair = find_pair(socket, from);
  }
  // The peer reaches us this way: see at once whether we reach it.
  if (pair->state == PairState::Valid) return;
  if (pair->last_ping && now - *pair->last_ping < kTriggeredGap) return;
  if (pair->state == PairState::Idle) {
    pair->state = PairState::Fresh;
    pair->step = 0;
    pair->round_start = now;
  }
  pair->wants_opener = false;
  pair->due = now;
  pair->wants_full = true;
}

bool Prober::on_pong(SocketId socket, const Endpoint& from, const wire::ProbeBody& body, Tier tier,
                     Instant now) {
  const auto ping = std::find_if(open_.begin(), open_.end(),
                                 [&](const Ping& open) { return open.transaction == body.transaction; });
  if (ping == open_.end() || ping->socket != socket || ping->remote != from ||
      now - ping->sent_at > kForgetPing) {
    ++counters_.unexpected_pongs;
    return false;
  }
  ++counters_.pongs_received;
  const Duration sample = now - ping->sent_at;
  const std::size_t size = ping->size;
  open_.erase(ping);
  seen_as_ = body.seen;
  Pair* pair = find_pair(socket, from);
  if (pair == nullptr) {
    if (!add(socket, from, PairOrigin::Searched, tier, now, false)) return false;
    pair = find_pair(socket, from);
  }
  validate(*pair, sample, now);
  if (size > wire::kProbeSize) pair->mtu.on_answered(size, now);
  return true;
}

void Prober::validate(Pair& pair, Duration sample, Instant now) {
  pair.rtt = pair.rtt ? (7 * *pair.rtt + sample) / 8 : sample;
  pair.state = PairState::Valid;
  pair.last_pong = now;
  pair.unanswered = 0;
  pair.suspect_since.reset();
  pair.mtu.enable(*pair.rtt, now);
  schedule_next(pair, now);
}

void Prober::suspect(SocketId socket, const Endpoint& remote, Instant now) {
  Pair* pair = find_pair(socket, remote);
  if (pair == nullptr || pair->state != PairState::Valid) return;
  pair->state = PairState::Suspect;
  pair->suspect_since = pair->failed_at = now;
  pair->due = now;
  pair->mtu.reset();  // what stands behind it now may be another path
}

void Prober::on_alive(SocketId socket, const Endpoint& remote, Instant now) {
  Pair* pair = find_pair(socket, remote);
  if (pair == nullptr) return;
  if (pair->state == PairState::Valid) {
    pair->unanswered = 0;
  } else if (!pair->last_ping || now - *pair->last_ping >= kTriggeredGap) {
    pair->due = now;  // it came from there, so ask whether we get there
  }
}

void Prober::ping_now(SocketId socket, const Endpoint& remote, Instant now) {
  Pair* pair = find_pair(socket, remote);
  if (pair != nullptr && pair->state == PairState::Valid && pair->unanswered == 0) pair->due = now;
}

void Prober::set_in_use(std::optional<Route> route, bool busy, Instant now) {
  const bool changed = busy != busy_ || route.has_value() != in_use_.has_value() ||
                       (route && (route->socket != in_use_->socket || route->remote != in_use_->remote));
  in_use_ = route;
  busy_ = busy;
  if (!changed) return;
  for (Pair& pair : pairs_) pair.mtu.set_in_use(this->in_use(pair), now);
  for (Pair& pair : pairs_)
    if (pair.state == PairState::Valid && pair.unanswered == 0) schedule_next(pair, now);
}

Duration Prober::patience(const Pair& pair) const {
  return std::max(kPingRetry, 3 * pair.rtt.value_or(Duration::zero()));
}

/// When the pair is pinged next, given that it was pinged or answered just now.
void Prober::schedule_next(Pair& pair, Instant now) {
  switch (pair.state) {
    case PairState::Fresh:
    case PairState::Probing:
      if (pair.step >= kProbeSchedule.size()) {
        pair.state = PairState::Idle;
        pair.due.reset();
      } else {
        pair.due = std::max(now + kTriggeredGap, pair.round_start + kProbeSchedule[pair.step]);
      }
      return;
    case PairState::Valid:
      if (pair.unanswered > 0) {
        pair.due = now + patience(pair);
      } else {
        pair.due =
            std::max(now, pair.last_pong.value_or(now) + (in_use(pair) && busy_ ? kPingInUse : kPingStandby));
      }
      return;
    case PairState::Suspect: {
      const Duration since = now - pair.suspect_since.value_or(now);
      if (since > kSuspectLimit) {
        pair.state = PairState::Idle;
        pair.due.reset();
      } else {
        pair.due = now + (since > kSuspectFor ? kSuspectSlowPing : kSuspectPing);
      }
      return;
    }
    case PairState::Idle:
      pair.due.reset();
      return;
  }
}

void Prober::on_timeout(Instant now) {
  while (!open_.empty() && now - open_.front().sent_at > kForgetPing) open_.pop_front();
  for (Pair& pair : pairs_) {
    if (pair.state != PairState::Valid || pair.unanswered < kMissedPings || !is_due(pair.due, now)) continue;
    suspect(pair.socket, pair.remote, now);
  }
  for (Pair& pair : pairs_) pair.mtu.on_timeout(now);
}

void Prober::refill(Instant now) {
  credit_ = std::min(kProbeBurst, credit_ + to_seconds(now - credit_at_) * kProbeRefill);
  full_credit_ = std::min(kFullBurst, full_credit_ + to_seconds(now - credit_at_) * kFullRefill);
  credit_at_ = now;
}

/// When the next probe to an address that has not answered may leave.
Instant Prober::next_unproven() const {
  if (credit_ >= 1) return next_free_;
  // A millisecond more, so that rounding never leaves a hair's breadth of credit missing.
  return std::max(next_free_, credit_at_ + from_seconds((1 - credit_) / kProbeRefill) + 1ms);
}

Pair* Prober::next_due(Instant now) {
  Pair* best = nullptr;
  for (Pair& pair : pairs_) {
    if (!is_due(pair.due, now)) continue;
    const bool unproven = pair.state == PairState::Fresh || pair.state == PairState::Probing;
    if (unproven && (next_unproven() > now || round_probes_ >= kMaxRoundProbes)) continue;
    if (best == nullptr || *pair.due < *best->due) best = &pair;
  }
  return best;
}

Transmit Prober::send_ping(SocketId socket, const Endpoint& remote, std::size_t size, std::uint8_t ttl,
                           ByteSpan out, Instant now) {
  const std::uint64_t transaction = rng_.u64();
  if (open_.size() >= kMaxOpenPings) open_.pop_front();
  if (ttl == 0) open_.push_back({socket, remote, transaction, now, size});
  cipher_.seal({wire::ProbeKind::Ping, transaction, remote}, out, size);
  ++counters_.pings_sent;
  if (size > wire::kProbeSize) ++counters_.full_pings_sent;
  return {socket, remote, size, ttl};
}

std::optional<Transmit> Prober::poll_transmit(ByteSpan out, Instant now) {
  if (!answers_.empty()) {
    const Pong pong = answers_.front();
    answers_.pop_front();
    cipher_.seal(pong.body, out);
    ++counters_.pongs_sent;
    return Transmit{pong.socket, pong.to, wire::kProbeSize, 0};
  }
  if (!searches_.empty()) {
    const Search search = searches_.front();
    searches_.pop_front();
    counters_.unproven_bytes += wire::kProbeSize;
    return send_ping(search.socket, search.remote, wire::kProbeSize, search.ttl, out, now);
  }
  refill(now);
  if (auto full = poll_full(out, now)) return full;
  Pair* pair = next_due(now);
  if (pair == nullptr) return std::nullopt;
  std::uint8_t ttl = 0;
  if (pair->state == PairState::Fresh || pair->state == PairState::Probing) {
    counters_.unproven_bytes += wire::kProbeSize;
    credit_ -= 1;
    if (++round_probes_ > kFreeProbes) next_free_ = now + kProbeGap;
    pair->state = PairState::Probing;
    if (pair->wants_opener) {
      pair->wants_opener = false;
      pair->round_start = now + kAfterOpener;
      ttl = kOpenerTtl;
    } else {
      pair->wants_full = pair->wants_full || pair->step < kEarlyFullSteps;
      pair->full_due = std::exchange(pair->wants_full, false);
      while (pair->step < kProbeSchedule.size() && pair->round_start + kProbeSchedule[pair->step] <= now)
        ++pair->step;
    }
  } else if (pair->state == PairState::Valid) {
    ++pair->unanswered;
  }
  pair->last_ping = now;
  schedule_next(*pair, now);
  return send_ping(pair->socket, pair->remote, wire::kProbeSize, ttl, out, now);
}

/// Padded pings: of the searches, and beside small ones to addresses that have not answered yet.
std::optional<Transmit> Prober::poll_full(ByteSpan out, Instant now) {
  for (Pair& pair : pairs_) {
    if (pair.state == PairState::Valid) {
      if (const auto size = pair.mtu.poll_probe(pair.rtt.value_or(Duration::zero()), now))
        return send_ping(pair.socket, pair.remote, *size, 0, out, now);
      continue;
    }
    if (!std::exchange(pair.full_due, false)) continue;
    if (full_credit_ < 1) continue;
    full_credit_ -= 1;
    counters_.unproven_bytes += kBaseDatagram;
    pair.mtu.on_early_probe(now);
    return send_ping(pair.socket, pair.remote, kBaseDatagram, 0, out, now);
  }
  return std::nullopt;
}

void Prober::set_limits(Pair& pair, Instant now) const {
  const bool v6 = pair.remote.address.is_v6();
  const std::size_t overhead = udp_overhead(v6), mtu = interface_mtu_[v6 ? 1 : 0];
  pair.mtu.set_limits(mtu - std::min(mtu, overhead), kUsualMtu - overhead, now);
}

void Prober::set_interface_mtu(std::size_t v4, std::size_t v6, Instant now) {
  interface_mtu_ = {v4, v6};
  for (Pair& pair : pairs_) set_limits(pair, now);
}

void Prober::on_too_big(SocketId socket, const Endpoint& remote, std::size_t size, Instant now) {
  if (Pair* pair = find_pair(socket, remote)) pair->mtu.on_too_big(size, now);
}

void Prober::on_black_hole(SocketId socket, const Endpoint& remote, Instant now) {
  if (Pair* pair = find_pair(socket, remote)) pair->mtu.on_black_hole(now);
}

std::optional<Instant> Prober::next_timeout() const {
  std::optional<Instant> next;
  for (const Pair& pair : pairs_) {
    if (pair.state == PairState::Valid) next = earlier(next, pair.mtu.next_timeout());
    if (!pair.due) continue;
    const bool unproven = pair.state == PairState::Fresh || pair.state == PairState::Probing;
    if (unproven && round_probes_ >= kMaxRoundProbes) continue;
    next = earlier(next, unproven ? std::max(*pair.due, next_unproven()) : *pair.due);
  }
  return next;
}

}  // namespace dh::path
