#include "session/code_receiver.hh"

#include <algorithm>

#include "base/check.hh"
#include "crypto/hash.hh"

namespace dh::session {

std::string_view to_string(CodeFailure failure) {
  switch (failure) {
    case CodeFailure::NobodyThere:
      return "nobody is there for this code: is it the whole code, and is the other side still waiting?";
    case CodeFailure::NoAnswer:
      return "somebody is there for this code but does not answer; try again, or ask for a new code";
    case CodeFailure::WrongCode:
      return "the code is wrong. Compare it with the other screen; if it is the same, somebody interferes: "
             "ask "
             "for a new code";
    case CodeFailure::Burnt:
      return "the code was tried too often with wrong words and is good no more. Ask for a new one";
    case CodeFailure::AlreadyUsed:
      return "somebody else has already used this code. Ask for a new one";
    case CodeFailure::Interference:
      return "the answer was not made by the side that has the code: somebody interferes. Ask for a new code";
  }
  return "the code did not work";
}

CodeReceiver::CodeReceiver(CodeReceiverConfig config, Instant now, Rng& rng)
    : config_(std::move(config)), rng_(rng), deadline_(now + config_.wait) {
  CHECK(!config_.meeting_keys.empty());
  rng_.fill(own_nonce_);
}

MeetingContext CodeReceiver::context() const {
  return {config_.secret_text, config_.place, sender(), config_.own_key.pub};
}

void CodeReceiver::finish(CodeResult result) {
  state_ = CodeReceiverState::Done;
  result_ = std::move(result);
  cpace_.reset();
  keys_.reset();
  out_.clear();
}

// Lines and time.

void CodeReceiver::on_line_up(Instant now) {
  up_ = true;
  if (state_ == CodeReceiverState::Calling)
    call(address_, now);
  else if (state_ != CodeReceiverState::Done)
    repeat(now);
}

void CodeReceiver::on_line_down(Instant /*now*/) {
  up_ = false;
  out_.clear();
  resend_at_.reset();
  if (state_ != CodeReceiverState::Calling) return;
  patience_until_.reset();
  round_at_.reset();
}

void CodeReceiver::call(std::size_t address, Instant now) {
  address_ = address;
  last_ = serialize(wire::CodeHello{config_.own_key.pub, own_nonce_});
  patience_until_ = now + kCallPatience;
  round_at_.reset();
  repeat(now);
}

void CodeReceiver::repeat(Instant now) {
  out_.push_back({sender(), last_});
  resend_at_ = now + kCodeResend;
}

void CodeReceiver::next_address(Instant now) {
  if (address_ + 1 < config_.meeting_keys.size()) return call(address_ + 1, now);
  resend_at_.reset();
  patience_until_.reset();
  round_at_ = now + kRoundPause;
}

void CodeReceiver::on_peer_gone(const PublicKey& peer, derp::PeerGoneReason reason, Instant now) {
  if (peer != sender() || !patience_until_) return;
  if (state_ != CodeReceiverState::Calling) {
    // It may be renewing its login.
    patience_until_ = std::min(*patience_until_, now + kGonePatience);
    return;
  }
  if (reason != derp::PeerGoneReason::NotHere) return;
  if (address_ == 0) silence_ = false;
  next_address(now);
}

void CodeReceiver::on_timeout(Instant now) {
  if (state_ == CodeReceiverState::Done) return;
  if (state_ == CodeReceiverState::Calling) {
    if (deadline_ <= now)
      return finish(std::unexpected(silence_ ? CodeFailure::NoAnswer : CodeFailure::NobodyThere));
    if (is_due(round_at_, now)) return call(0, now);
    if (is_due(patience_until_, now)) {
      silence_ = true;
      return next_address(now);
    }
  } else if (is_due(patience_until_, now)) {
    return finish(std::unexpected(CodeFailure::NoAnswer));
  }
  if (up_ && is_due(resend_at_, now)) repeat(now);
}

std::optional<Instant> CodeReceiver::next_timeout() const {
  if (state_ == CodeReceiverState::Done) return std::nullopt;
  const auto soon = earlier(earlier(resend_at_, patience_until_), round_at_);
  return state_ == CodeReceiverState::Calling ? earlier(soon, deadline_) : soon;
}

// The sender's answers. Only the first of each kind counts: a second one would be a second guess.

void CodeReceiver::on_packet(const PublicKey& from, ByteView packet, Instant now) {
  if (state_ == CodeReceiverState::Done || from != sender()) return;
  const auto message = wire::parse_code_msg(packet);
  if (!message) return;
  if (const auto* cookie = std::get_if<wire::CodeCookie>(&*message)) {
    on_cookie(*cookie, now);
  } else if (const auto* share = std::get_if<wire::CodeShareS>(&*message)) {
    on_share(*share, now);
  } else if (const auto* gift = std::get_if<wire::CodeGift>(&*message)) {
    on_gift(*gift);
  } else if (const auto* refusal = std::get_if<wire::CodeRefusal>(&*message)) {
    on_refusal(*refusal);
  }
}

void CodeReceiver::on_cookie(const wire::CodeCookie& cookie, Instant now) {
  if (state_ != CodeReceiverState::Calling || cookie.receiver_nonce != own_nonce_) return;
  sender_nonce_ = cookie.sender_nonce;
  cpace_.emplace(make_code_cpace(Cpace::Side::Initiator, context(), own_nonce_, sender_nonce_,
                                 config_.capabilities, rng_));
  state_ = CodeReceiverState::Sharing;
  patience_until_ = now + kProofPatience;
  round_at_.reset();
  last_ = serialize(
      wire::CodeShareR{config_.capabilities, own_nonce_, sender_nonce_, cookie.cookie, cpace_->point()});
  repeat(now);
}

void CodeReceiver::on_share(const wire::CodeShareS& share, Instant now) {
  if (state_ != CodeReceiverState::Sharing || share.sender_nonce != sender_nonce_) return;
  keys_ = cpace_->finish(share.point, sender_data(context(), share.capabilities));
  cpace_.reset();
  if (!keys_) return finish(std::unexpected(CodeFailure::Interference));
  state_ = CodeReceiverState::Proving;
  has_guessed_ = true;
  patience_until_ = now + kProofPatience;
  wire::CodeProof proof;
  proof.sender_nonce = sender_nonce_;
  std::copy(keys_->own_tag.expose().begin(), keys_->own_tag.expose().end(), proof.tag.begin());
  last_ = serialize(proof);
  repeat(now);
}

void CodeReceiver::on_gift(const wire::CodeGift& gift) {
  if (state_ != CodeReceiverState::Proving || gift.sender_nonce != sender_nonce_) return;
  if (!constant_time_equal(gift.tag, keys_->peer_tag.expose()))
    return finish(std::unexpected(CodeFailure::Interference));
  auto text = open_gift(*keys_, gift.sealed);
  if (!text) return finish(std::unexpected(CodeFailure::Interference));
  finish(std::move(*text));
}

void CodeReceiver::on_refusal(const wire::CodeRefusal& refusal) {
  const bool answers_us = state_ == CodeReceiverState::Sharing || state_ == CodeReceiverState::Proving;
  if (!answers_us || refusal.sender_nonce != sender_nonce_) return;
  switch (refusal.reason) {
    case wire::CodeRefusal::Reason::WrongCode:
      if (state_ == CodeReceiverState::Proving) finish(std::unexpected(CodeFailure::WrongCode));
      return;
    case wire::CodeRefusal::Reason::Burnt:
      // Our own try may have been the one that was too many.
      return finish(std::unexpected(state_ == CodeReceiverState::Proving ? CodeFailure::WrongCode
                                                                         : CodeFailure::Burnt));
    case wire::CodeRefusal::Reason::Used:
      return finish(std::unexpected(CodeFailure::AlreadyUsed));
  }
}

std::optional<CodeReceiver::Transmit> CodeReceiver::poll_transmit() {
  if (out_.empty() || !up_) return std::nullopt;
  Transmit next = std::move(out_.front());
  out_.pop_front();
  return next;
}

}  // namespace dh::session
