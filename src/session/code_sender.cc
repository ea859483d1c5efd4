#include "session/code_sender.hh"

#include <algorithm>
#include <cctype>
#include <utility>

#include "base/check.hh"
#include "base/overloaded.hh"
#include "crypto/hash.hh"

namespace dh::session {
namespace {

std::size_t index(CodeLine line) {
  return static_cast<std::size_t>(line);
}

// Relays say it in words of their own.
bool speaks_of_a_second_login(std::string_view problem) {
  std::string lower(problem.substr(0, 500));
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower.find("duplicate") != std::string::npos;
}

bool is_legal(CodeSenderState from, CodeSenderState to) {
  using enum CodeSenderState;
  switch (from) {
    case Ringing:
      return to == Joining || to == Ended;
    case Joining:
      return to == Open || to == Ended;
    case Open:
      return to == Handed || to == Ended;
    case Handed:
      return to == Ended;
    case Ended:
      return false;
  }
  return false;
}

}  // namespace

std::string_view to_string(CodeEnd end) {
  switch (end) {
    case CodeEnd::Used:
      return "the code was used";
    case CodeEnd::Burnt:
      return "the code was tried three times with wrong words and is good no more";
    case CodeEnd::TakenOver:
      return "somebody else took the place where the code meets, so it is good no more";
    case CodeEnd::WordsInUse:
      return "somebody else uses a code that begins with the same words";
    case CodeEnd::Expired:
      return "the code has expired";
  }
  return "the code is good no more";
}

CodeSender::CodeSender(CodeSenderConfig config, Instant now, Rng& rng)
    : config_(std::move(config)), rng_(rng), expires_(now + std::min(config_.life, kMaxCodeLife)) {
  CHECK(config_.token_text.size() + 16 <= wire::CodeGift::kMaxSealed);
  rng_.fill(cookie_key_.expose_mutable());
  rng_.fill(ring_nonce_);
}

void CodeSender::enter(CodeSenderState next, Instant now) {
  CHECK(is_legal(state_, next));
  state_ = next;
  rings_ = 0;
  ring_out_ = false;
  ring_due_back_.reset();
  ring_at_.reset();
  if (state_ == CodeSenderState::Joining) rng_.fill(ring_nonce_);
  if (state_ == CodeSenderState::Open) ring_at_ = now + config_.self_check_every;
}

void CodeSender::end(CodeEnd reason) {
  if (state_ == CodeSenderState::Ended) return;
  enter(CodeSenderState::Ended, Instant{});
  linger_until_.reset();
  runs_.clear();
  run_order_.clear();
  events_.push_back(CodeEnded{reason});
}

void CodeSender::send(CodeLine line, const PublicKey& to, Bytes packet) {
  out_.push_back({line, to, std::move(packet)});
}

// Lines.

void CodeSender::on_line_up(CodeLine line, Instant now) {
  up_[index(line)] = true;
  switch (state_) {
    case CodeSenderState::Ringing:
      if (line == CodeLine::Bell) ring_at_ = now;
      break;
    case CodeSenderState::Joining:
    case CodeSenderState::Open:
      if (both_up()) ring_at_ = now;
      break;
    case CodeSenderState::Handed:
    case CodeSenderState::Ended:
      break;
  }
  on_timeout(now);
}

void CodeSender::on_line_down(CodeLine line, Instant /*now*/) {
  up_[index(line)] = false;
  // What was under way is lost with the line and proves nothing.
  ring_at_.reset();
  ring_due_back_.reset();
  ring_out_ = false;
  rings_ = 0;
}

bool CodeSender::wants_line(CodeLine line) const {
  switch (state_) {
    case CodeSenderState::Ringing:
      return line == CodeLine::Bell;
    case CodeSenderState::Joining:
    case CodeSenderState::Open:
      return true;
    case CodeSenderState::Handed:
      return line == CodeLine::Meeting;
    case CodeSenderState::Ended:
      return false;
  }
  return false;
}

void CodeSender::on_peer_gone(CodeLine line, const PublicKey& peer, derp::PeerGoneReason reason,
                              Instant now) {
  if (line != CodeLine::Bell || peer != config_.meeting_key.pub) return;
  if (state_ == CodeSenderState::Ringing) {
    if (reason == derp::PeerGoneReason::NotHere) enter(CodeSenderState::Joining, now);
  } else {
    // Nobody has the address, so nobody took it: our own login is being renewed.
    ring_out_ = false;
    ring_due_back_.reset();
  }
}

void CodeSender::on_health(CodeLine line, std::string_view problem, Instant /*now*/) {
  if (line != CodeLine::Meeting || !speaks_of_a_second_login(problem)) return;
  if (state_ == CodeSenderState::Joining) end(CodeEnd::WordsInUse);
  if (state_ == CodeSenderState::Open) end(CodeEnd::TakenOver);
}

// Rings: is the address free, and later: is it still ours?

void CodeSender::ring(Instant now) {
  if (state_ == CodeSenderState::Open) rng_.fill(ring_nonce_);
  send(CodeLine::Bell, config_.meeting_key.pub, serialize(wire::CodeRing{config_.bell_key.pub, ring_nonce_}));
  switch (state_) {
    case CodeSenderState::Ringing:
      ++rings_;
      ring_at_ = now + kRingEvery;
      break;
    case CodeSenderState::Joining:
      ring_out_ = true;
      ring_due_back_ = now + kFirstSelfCheckEvery;
      ring_at_ = now + kFirstSelfCheckEvery;
      break;
    case CodeSenderState::Open:
      ring_out_ = true;
      ring_due_back_ = now + std::min(kSelfCheckWithin, config_.self_check_every / 2);
      ring_at_ = now + config_.self_check_every;
      break;
    case CodeSenderState::Handed:
    case CodeSenderState::Ended:
      break;
  }
}

void CodeSender::on_own_ring(const wire::CodeRing& own, Instant now) {
  if (own.nonce != ring_nonce_) return;  // a late one
  ring_out_ = false;
  ring_due_back_.reset();
  rings_ = 0;
  if (state_ != CodeSenderState::Joining) return;
  enter(CodeSenderState::Open, now);
  events_.push_back(CodeReady{});
}

void CodeSender::on_timeout(Instant now) {
  if (is_due(linger_until_, now)) return end(CodeEnd::Used);
  if (state_ == CodeSenderState::Handed || state_ == CodeSenderState::Ended) return;
  if (expires_ <= now) return end(CodeEnd::Expired);
  if (is_due(ring_due_back_, now)) {
    ring_due_back_.reset();
    if (std::exchange(ring_out_, false)) {
      ++counters_.missed_self_checks;
      ++rings_;
    }
    if (state_ == CodeSenderState::Joining && rings_ >= kMissedFirstChecks) return end(CodeEnd::WordsInUse);
    if (state_ == CodeSenderState::Open && rings_ >= kMissedSelfChecks) return end(CodeEnd::TakenOver);
  }
  if (!is_due(ring_at_, now)) return;
  if (state_ == CodeSenderState::Ringing && rings_ >= kRings) return end(CodeEnd::WordsInUse);
  ring(now);
}

std::optional<Instant> CodeSender::next_timeout() const {
  if (state_ == CodeSenderState::Ended) return std::nullopt;
  if (state_ == CodeSenderState::Handed) return linger_until_;
  return earlier(expires_, earlier(ring_at_, ring_due_back_));
}

// What receivers say.

void CodeSender::on_packet(CodeLine line, const PublicKey& from, ByteView packet, Instant now) {
  if (line != CodeLine::Meeting || state_ == CodeSenderState::Ringing || state_ == CodeSenderState::Ended)
    return;
  const auto message = wire::parse_code_msg(packet);
  if (!message) {
    ++counters_.malformed;
    return;
  }
  if (const auto* ringing = std::get_if<wire::CodeRing>(&*message)) {
    if (from == config_.bell_key.pub) on_own_ring(*ringing, now);
    return;  // another sender with the same first two words: it gets no answer, and draws others
  }
  if (state_ == CodeSenderState::Joining) return;  // nobody can know the code yet
  if (const auto* hello = std::get_if<wire::CodeHello>(&*message)) {
    on_hello(from, *hello, now);
  } else if (const auto* share = std::get_if<wire::CodeShareR>(&*message)) {
    on_share(from, *share, now);
  } else if (const auto* proof = std::get_if<wire::CodeProof>(&*message)) {
    on_proof(from, *proof, now);
  } else {
    ++counters_.malformed;  // a sender's message
  }
}

ByteArray<16> CodeSender::cookie(const PublicKey& from, const wire::CodeNonce& receiver_nonce,
                                 const wire::CodeNonce& sender_nonce) const {
  Bytes text = to_bytes(from.bytes);
  text.insert(text.end(), receiver_nonce.begin(), receiver_nonce.end());
  text.insert(text.end(), sender_nonce.begin(), sender_nonce.end());
  return blake2b_mac(cookie_key_.expose(), text);
}

MeetingContext CodeSender::context(const PublicKey& receiver) const {
  return {config_.secret_text, config_.place, config_.meeting_key.pub, receiver};
}

void CodeSender::on_hello(const PublicKey& from, const wire::CodeHello& hello, Instant now) {
  if (hello.sender != from) {
    ++counters_.malformed;
    return;
  }
  ++counters_.hellos;
  if (!hello_bucket_.take(now, kAllHellosEvery, kAllHellosBurst)) {
    ++counters_.rate_limited;
    return;
  }
  wire::CodeCookie answer;
  answer.receiver_nonce = hello.nonce;
  rng_.fill(answer.sender_nonce);
  answer.cookie = cookie(from, answer.receiver_nonce, answer.sender_nonce);
  send(CodeLine::Meeting, from, serialize(answer));
}

bool CodeSender::within_budget(Run& run, unsigned messages) {
  run.messages += messages;
  if (run.messages <= kMaxRunMessages) return true;
  run.messages = kMaxRunMessages + 1;
  ++counters_.over_budget;
  return false;
}

void CodeSender::answer(const PublicKey& to, Run& run, Bytes packet) {
  run.answer = std::move(packet);
  send(CodeLine::Meeting, to, run.answer);
}

void CodeSender::on_share(const PublicKey& from, const wire::CodeShareR& share, Instant now) {
  ++counters_.shares;
  if (!constant_time_equal(cookie(from, share.receiver_nonce, share.sender_nonce), share.cookie)) {
    ++counters_.bad_cookies;
    return;
  }
  const auto known = runs_.find(from);
  if (known != runs_.end()) {
    Run& run = known->second;
    if (!within_budget(run, 2)) return;
    if (run.share == share && run.state == RunState::Shared) return send(CodeLine::Meeting, from, run.answer);
    if (run.state != RunState::Shared) return;  // a new try takes a new key
  }
  if (state_ == CodeSenderState::Handed) {
    if (known == runs_.end())
      send(CodeLine::Meeting, from,
           serialize(wire::CodeRefusal{share.sender_nonce, wire::CodeRefusal::Reason::Used}));
    return;
  }
  if (!share_bucket_.take(now, kAllSharesEvery, kAllSharesBurst)) {
    ++counters_.rate_limited;
    return;
  }
  const Cpace cpace = make_code_cpace(Cpace::Side::Responder, context(from), share.receiver_nonce,
                                      share.sender_nonce, config_.capabilities, rng_);
  const auto keys = cpace.finish(share.point, receiver_data(context(from), share.capabilities));
  if (!keys) {
    ++counters_.bad_points;
    return;
  }
  if (known == runs_.end()) {
    if (runs_.size() >= kMaxRuns) {
      runs_.erase(run_order_.front());
      run_order_.pop_front();
    }
    run_order_.push_back(from);
  }
  Run& run = runs_[from];
  if (run.messages == 0) run.messages = 4;  // hello, cookie, this one and its answer
  run.share = share;
  run.expected_tag = keys->peer_tag;
  run.own_tag = keys->own_tag;
  run.gift = seal_gift(*keys, config_.token_text);
  answer(from, run, serialize(wire::CodeShareS{config_.capabilities, share.sender_nonce, cpace.point()}));
}

void CodeSender::on_proof(const PublicKey& from, const wire::CodeProof& proof, Instant now) {
  ++counters_.proofs;
  const auto known = runs_.find(from);
  if (known == runs_.end() || known->second.share.sender_nonce != proof.sender_nonce) return;
  Run& run = known->second;
  if (!within_budget(run, 1)) return;
  if (run.state != RunState::Shared) {
    if (within_budget(run, 1)) send(CodeLine::Meeting, from, run.answer);
    return;
  }
  if (state_ != CodeSenderState::Open) return;
  if (now < next_try_) {
    ++counters_.too_early;  // an honest receiver asks again
    return;
  }
  if (!constant_time_equal(proof.tag, run.expected_tag.expose())) return wrong_try(from, run, now);
  run.state = RunState::Right;
  wire::CodeGift gift;
  gift.sender_nonce = proof.sender_nonce;
  std::copy(run.own_tag.expose().begin(), run.own_tag.expose().end(), gift.tag.begin());
  gift.sealed = std::move(run.gift);
  answer(from, run, serialize(gift));
  enter(CodeSenderState::Handed, now);
  linger_until_ = now + kGiftLinger;
  forget_all_runs_but(from);
  events_.push_back(CodeHandedOver{from});
}

void CodeSender::wrong_try(const PublicKey& from, Run& run, Instant now) {
  run.state = RunState::Wrong;
  next_try_ = now + kBetweenTries;
  ++wrong_tries_;
  const bool burnt = wrong_tries_ >= kCodeTries;
  const auto reason = burnt ? wire::CodeRefusal::Reason::Burnt : wire::CodeRefusal::Reason::WrongCode;
  answer(from, run, serialize(wire::CodeRefusal{run.share.sender_nonce, reason}));
  run.expected_tag = {};
  run.own_tag = {};
  run.gift.clear();
  events_.push_back(CodeWrongTry{wrong_tries_, kCodeTries});
  if (burnt) end(CodeEnd::Burnt);
}

void CodeSender::forget_all_runs_but(const PublicKey& receiver) {
  std::erase_if(runs_, [&](const auto& entry) { return entry.first != receiver; });
  run_order_.assign(1, receiver);
}

std::optional<CodeSender::Transmit> CodeSender::poll_transmit() {
  if (out_.empty()) return std::nullopt;
  Transmit next = std::move(out_.front());
  out_.pop_front();
  return next;
}

std::optional<CodeSenderEvent> CodeSender::poll_event() {
  if (events_.empty()) return std::nullopt;
  const CodeSenderEvent event = events_.front();
  events_.pop_front();
  return event;
}

}  // namespace dh::session
