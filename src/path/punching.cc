// The part of PathFinder that decides when and how to try: lists exchanged through the relay, rounds of
// probing that both sides start together, and what to try after the plain way did not work.

#include <algorithm>

#include "base/check.hh"
#include "path/limits.hh"
#include "path/path_finder.hh"

namespace dh::path {

using wire::Candidate;
using wire::CandidateKind;
using wire::MappingBehaviour;
using wire::PunchMode;

namespace {

bool is_hard(MappingBehaviour mapping) {
  return mapping == MappingBehaviour::Random || mapping == MappingBehaviour::Sequential;
}

Duration time_for(PunchMode mode) {
  switch (mode) {
    case PunchMode::Plain:
      return kFreshAfter;
    case PunchMode::FreshPort:
      return kBirthdayAfter;
    case PunchMode::Birthday:
      return kBirthdayTime + 1s;
  }
  return kFreshAfter;
}

}  // namespace

MappingBehaviour PathFinder::own_mapping() const {
  return gatherer_.mapping(kSocketV4);
}

// ---- attempts ---------------------------------------------------------------------------------------------

/// Dialer: tries anew. The list goes out as soon as it is ready; probing begins with the peer's answer.
void PathFinder::begin_attempt(PunchMode mode, Instant now) {
  ++attempt_;
  mode_ = mode;
  phase_ = Phase::Attempt;
  mode_until_ = now + time_for(mode) + kGatherPatience + control_rtt_.value_or(Duration::zero());
  birthday_.reset();
  if (mode == PunchMode::Plain) {
    drop_extra_sockets(true);
  } else if (mode == PunchMode::FreshPort) {
    drop_extra_sockets(true);
    fresh_socket_ = next_socket_++;
    fresh_opened_ = now;
    events_.push_back(OpenSockets{fresh_socket_, 1});
  }
  call_due_ = true;
}

/// Listener: the dialer has begun an attempt.
void PathFinder::follow_attempt(Instant now) {
  begin_attempt(peer_->mode, now);
  attempt_ = peer_->attempt;
}

/// Dialer: the present way of trying has had its time.
void PathFinder::next_attempt(Instant now) {
  mode_until_.reset();
  if (has_carrying_pair()) return rest(now);  // there is a way, it only has to wait after a stall
  const MappingBehaviour peers = peer_ ? peer_->mapping : MappingBehaviour::Unknown;
  switch (mode_) {
    case PunchMode::Plain:
      // Two random NATs: nothing can be predicted, and no port of either stays put.
      if (own_mapping() == MappingBehaviour::Random && peers == MappingBehaviour::Random) return rest(now);
      if (!peer_ || gatherer_.servers() == 0 || !gatherer_.any_answer()) return rest(now);
      return begin_attempt(PunchMode::FreshPort, now);
    case PunchMode::FreshPort:
      if (birthday_role() && may_search(now)) return begin_attempt(PunchMode::Birthday, now);
      return rest(now);
    case PunchMode::Birthday:
      return rest(now);
  }
}

/// Nothing worked: the relay goes on, and another attempt comes later.
void PathFinder::rest(Instant now) {
  phase_ = Phase::Resting;
  mode_until_.reset();
  birthday_.reset();
  drop_extra_sockets(false);
  if (!config_.dialer) return;
  retry_at_ = now + kRetryAfter[std::min(retries_, kRetryAfter.size() - 1)];
  ++retries_;
}

void PathFinder::drop_extra_sockets(bool keep_current) {
  const SocketId kept = keep_current && current() ? current()->socket : SocketId{0};
  for (std::size_t i = 0; i < sockets_.size();) {
    const SocketId id = sockets_[i].id;
    if (id < kFirstExtraSocket || id == kept) {
      ++i;
      continue;
    }
    events_.push_back(CloseSockets{id, 1});
    gatherer_.close_socket(id);
    if (prober_) prober_->close_socket(id);
    sockets_.erase(sockets_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  fresh_socket_ = 0;
}

// ---- lists ------------------------------------------------------------------------------------------------

bool PathFinder::list_ready(Instant now) const {
  if (mode_ == PunchMode::FreshPort) {
    if (fresh_socket_ == 0) return true;
    if (!has_socket(fresh_socket_)) return false;
    const bool waited = now - fresh_opened_ >= kFreshPatience && !gatherer_.mapped(fresh_socket_).empty();
    return waited || gatherer_.settled(fresh_socket_);
  }
  if (now - created_ >= kGatherPatience || gatherer_.servers() == 0) return true;
  return std::all_of(sockets_.begin(), sockets_.end(), [&](const Socket& socket) {
    return gatherer_.settled(socket.id) || !gatherer_.mapped(socket.id).empty();
  });
}

std::vector<Candidate> PathFinder::candidates() const {
  std::vector<Candidate> out;
  const auto add = [&out](CandidateKind kind, const Endpoint& endpoint) {
    const bool known =
        std::any_of(out.begin(), out.end(), [&](const Candidate& c) { return c.endpoint == endpoint; });
    if (!known && out.size() < wire::CallMeMaybe::kMaxCandidates) out.push_back({kind, endpoint});
  };
  const bool fresh = mode_ == PunchMode::FreshPort && fresh_socket_ != 0;
  if (fresh) {
    const auto predicted = gatherer_.predicted(fresh_socket_, kPredictedPorts);
    for (const Endpoint& guess : predicted) add(CandidateKind::Predicted, guess);
    if (predicted.empty())
      for (const Endpoint& seen : gatherer_.mapped(fresh_socket_)) add(CandidateKind::ServerReflexive, seen);
    return out;
  }
  for (const Socket& socket : sockets_) {
    if (socket.id >= kFirstExtraSocket) continue;
    std::size_t count = 0;
    for (const LocalAddress& local : local_) {
      if (local.address.is_v6() != socket.is_v6 || local.address.is_link_local()) continue;
      if (local.address.is_loopback() && !config_.loopback_peer) continue;
      if (++count > kMaxLocalCandidates / 2) break;
      add(CandidateKind::Host, {local.address, socket.port});
    }
  }
  for (const auto& mapped : mapped_)
    if (mapped) add(CandidateKind::Mapped, *mapped);
  for (const Socket& socket : sockets_)
    if (socket.id < kFirstExtraSocket)
      for (const Endpoint& seen : gatherer_.mapped(socket.id)) add(CandidateKind::ServerReflexive, seen);
  if (prober_ && prober_->seen_as()) add(CandidateKind::ServerReflexive, *prober_->seen_as());
  return out;
}

wire::CallMeMaybe PathFinder::make_call() {
  wire::CallMeMaybe call;
  call.round = ++round_;
  call.attempt = attempt_;
  call.mode = mode_;
  call.mapping = own_mapping();
  call.candidates = candidates();
  sent_candidates_ = call.candidates;
  return call;
}

std::optional<wire::CallMeMaybe> PathFinder::poll_call(Instant now) {
  if (!prober_ || attempt_ == 0) return std::nullopt;
  // A candidate that came later (a port mapping, a second server) is news.
  const bool look = std::exchange(list_may_differ_, false) && !call_due_;
  if (look && phase_ != Phase::Resting && mode_ == PunchMode::Plain && candidates() != sent_candidates_)
    call_due_ = true;
  if (!call_due_ || !list_ready(now)) return std::nullopt;
  call_due_ = false;
  const wire::CallMeMaybe call = make_call();
  // The peer probes when it gets this, half a round trip from now; so do we, if we know where.
  const bool peer_is_ready = peer_ && peer_->attempt == attempt_;
  if (peer_is_ready) {
    const Duration half = std::min(control_rtt_.value_or(Duration::zero()) / 2, kMaxStartDelay);
    probe_peer(now + half);
  }
  return call;
}

void PathFinder::on_call(const wire::CallMeMaybe& call, Instant now) {
  list_may_differ_ = true;
  if (!prober_ || (peer_ && call.round <= peer_->round)) return;
  if (waiting_call_ && call.round <= waiting_call_->round) return;
  waiting_call_ = call;  // the newest list is all that matters
  take_call(now);
}

/// The peer's newest list, once its turn has come: a peer that floods us with lists makes us probe no more
/// than this.
void PathFinder::take_call(Instant now) {
  const double refill = to_seconds(now - call_credit_at_) / to_seconds(kCallInterval);
  call_credit_ = std::min<double>(kCallBurst, call_credit_ + refill);
  call_credit_at_ = now;
  if (!waiting_call_ || call_credit_ < 1) return;
  call_credit_ -= 1;
  peer_ = std::move(waiting_call_);
  waiting_call_.reset();
  if (config_.dialer) {
    if (peer_->attempt != attempt_) return;
    if (phase_ == Phase::Resting) {  // the listener's network has changed, or its path is gone
      retry_at_ = earlier(retry_at_, now + kRetryAfterLoss);
      return;
    }
    return probe_peer(now);
  }
  if (peer_->attempt > attempt_) return follow_attempt(now);  // our list goes out, and probing begins with it
  probe_peer(now);
}

std::optional<Instant> PathFinder::call_turn() const {
  if (!waiting_call_) return std::nullopt;
  // A millisecond more, so that rounding never leaves a hair's breadth of credit missing.
  return call_credit_at_ + from_seconds((1 - call_credit_) * to_seconds(kCallInterval)) + 1ms;
}

// ---- probing ----------------------------------------------------------------------------------------------

/// Probes what the peer listed last. The first time in an attempt everything else starts afresh, too.
void PathFinder::probe_peer(Instant start) {
  const bool first = probed_attempt_ != attempt_;
  probed_attempt_ = attempt_;
  if (mode_ == PunchMode::Birthday) {
    if (first) start_birthday(start);
    return;
  }
  const bool fresh = mode_ == PunchMode::FreshPort && fresh_socket_ != 0;
  if (first) prober_->start_round(start);
  if (first && !fresh) prober_->restart(start, false);
  const bool shares_our_nat =
      std::any_of(peer_->candidates.begin(), peer_->candidates.end(), [&](const auto& c) {
        return c.kind != CandidateKind::Host && filter_.is_reflexive(c.endpoint.address);
      });
  for (const Candidate& candidate : peer_->candidates) {
    const Endpoint& to = candidate.endpoint;
    if (!filter_.allows(to, shares_our_nat)) continue;
    const SocketId socket = fresh ? fresh_socket_ : plain_socket(to);
    if (!has_socket(socket) || (fresh && to.address.is_v6())) continue;
    const bool own = std::any_of(sent_candidates_.begin(), sent_candidates_.end(),
                                 [&](const Candidate& c) { return c.endpoint == to; });
    if (own) continue;  // our own address: it would only talk to itself
    const auto origin =
        candidate.kind == CandidateKind::Predicted ? PairOrigin::Predicted : PairOrigin::Listed;
    prober_->add(socket, to, origin, tier_of(to), start, fresh);
  }
}

std::optional<BirthdaySearch::Role> PathFinder::birthday_role() const {
  if (!peer_) return std::nullopt;
  const bool we_are_hard = is_hard(own_mapping()), peer_is_hard = is_hard(peer_->mapping);
  if (we_are_hard == peer_is_hard) return std::nullopt;
  if (own_mapping() == MappingBehaviour::Unknown || peer_->mapping == MappingBehaviour::Unknown)
    return std::nullopt;
  return we_are_hard ? BirthdaySearch::Role::Opener : BirthdaySearch::Role::Searcher;
}

/// Both sides hold to this: a peer that asks for searches again and again gets no more of them.
bool PathFinder::may_search(Instant now) const {
  return birthdays_ < kMaxBirthdays && (!last_birthday_ || now - *last_birthday_ >= kBirthdayPause);
}

void PathFinder::start_birthday(Instant start) {
  const auto role = birthday_role();
  if (!role || !may_search(start)) return;
  last_birthday_ = start;
  ++birthdays_;
  std::vector<Endpoint> targets;
  for (const Candidate& candidate : peer_->candidates) {
    const Endpoint& to = candidate.endpoint;
    if (candidate.kind != CandidateKind::ServerReflexive || to.address.is_v6() || !filter_.allows(to, false))
      continue;
    const bool known = std::any_of(targets.begin(), targets.end(),
                                   [&](const Endpoint& t) { return t.address == to.address; });
    if (!known) targets.push_back(to);
    if (targets.size() == 1) break;  // one public address; more would only dilute the search
  }
  birthday_.emplace(*role, std::move(targets), start, rng_);
  if (*role == BirthdaySearch::Role::Opener) {
    const SocketId first = next_socket_;
    next_socket_ = static_cast<SocketId>(next_socket_ + kBirthdaySockets);
    birthday_->set_sockets(first, kBirthdaySockets);
    events_.push_back(OpenSockets{first, kBirthdaySockets});
  }
}

}  // namespace dh::path
