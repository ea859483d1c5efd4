// What PortMapper makes of the gateway's answers.
#include <algorithm>

#include "base/overloaded.hh"
#include "path/port_mapper.hh"

namespace dh::path {

namespace nat_pmp = wire::nat_pmp;
namespace pcp = wire::pcp;

void PortMapper::on_datagram(const Endpoint& from, ByteView datagram, Instant now) {
  ++counters_.received;
  if (from != Endpoint{config_.gateway, nat_pmp::kPort}) {
    ++counters_.foreign;
    return;
  }
  if (state_ == State::Closed) return;
  if (const auto reply = pcp::Reply::parse(datagram)) return on_pcp(*reply, now);
  if (is_v4()) {
    if (const auto reply = nat_pmp::parse_reply(datagram)) return on_nat_pmp(*reply, now);
  }
  ++counters_.malformed;
}

void PortMapper::on_pcp(const pcp::Reply& reply, Instant now) {
  const bool is_map = reply.opcode == static_cast<std::uint8_t>(pcp::Opcode::Map);
  if (is_map && reply.mapping &&
      (reply.mapping->nonce != nonce_ || reply.mapping->protocol != pcp::Protocol::Udp ||
       reply.mapping->internal_port != config_.internal_port)) {
    ++counters_.mismatched;
    return;
  }
  const bool is_new = !std::exchange(presence_.pcp, true);
  const bool restarted = pcp_epoch_.restarted_by_pcp(reply.epoch, now);
  if (is_map) {
    on_pcp_map(reply, now);
  } else if (state_ == State::Unavailable && is_new) {
    ask(now);
  } else if (restarted) {
    on_restart(now);
  }
}

void PortMapper::on_pcp_map(const pcp::Reply& reply, Instant now) {
  const bool granted = reply.result == pcp::Result::Success;
  if (state_ == State::Closing) {
    if (!granted || reply.lifetime.count() == 0) held_.pcp = false;  // what it does not know is gone as well
    return finish_deletion();
  }
  if (!granted) {
    presence_.pcp_result = reply.result;
    if (!is_asked() || pcp_ != Answer::Open) {
      ++counters_.mismatched;
      return;
    }
    return on_refusal(pcp_, reply.lifetime, now);
  }
  const Endpoint external{reply.mapping->external_address, reply.mapping->external_port};
  if (!is_usable_external(external, is_v4()) || reply.lifetime.count() == 0) {
    ++counters_.absurd;
    if (is_asked() && pcp_ == Answer::Open) on_refusal(pcp_, kAskAgain, now);
    return;
  }
  presence_.pcp_result = reply.result;
  held_.pcp = true;
  // A late answer: what works, or was turned to in the meantime, stays.
  if ((mapping_ && mapping_->protocol != MappingProtocol::Pcp) ||
      (state_ == State::Asking && pcp_ != Answer::Open))
    return;
  pcp_ = Answer::Granted;
  adopt(external, MappingProtocol::Pcp, reply.lifetime, now);
}

void PortMapper::on_nat_pmp(const nat_pmp::Reply& reply, Instant now) {
  const bool is_new = !std::exchange(presence_.nat_pmp, true);
  const auto epoch = std::visit([](const auto& message) { return message.epoch; }, reply);
  const bool restarted = nat_pmp_epoch_.restarted_by_nat_pmp(epoch, now);
  std::visit(Overloaded{[&](const nat_pmp::AddressReply& answer) {
                          presence_.nat_pmp_address = answer.external;
                          if (restarted || (is_new && state_ == State::Unavailable)) {
                            on_restart(now);
                          }
                          nat_pmp_address_ = answer.external;
                          settle_nat_pmp(now);
                        },
                        [&](const nat_pmp::MapReply& answer) { on_nat_pmp_map(answer, now); },
                        [&](const nat_pmp::Refusal& answer) {
                          // 1: it speaks NAT-PMP only and means our PCP question.
                          const bool means_pcp = answer.result == nat_pmp::Result::UnsupportedVersion;
                          if (!means_pcp) presence_.nat_pmp_result = answer.result;
                          if (state_ == State::Closing) {
                            (means_pcp ? held_.pcp : held_.nat_pmp) = false;
                            return finish_deletion();
                          }
                          Answer& which = means_pcp ? pcp_ : nat_pmp_;
                          if (is_asked() && which == Answer::Open) on_refusal(which, kAskAgain, now);
                        }},
             reply);
}

void PortMapper::on_nat_pmp_map(const nat_pmp::MapReply& reply, Instant now) {
  if (reply.transport != nat_pmp::Transport::Udp || reply.internal_port != config_.internal_port) {
    ++counters_.mismatched;
    return;
  }
  if (state_ == State::Closing) {
    if (reply.lifetime.count() == 0) held_.nat_pmp = false;
    return finish_deletion();
  }
  if (reply.lifetime.count() == 0 || reply.external_port == 0) {
    ++counters_.absurd;
    return;
  }
  presence_.nat_pmp_result = nat_pmp::Result::Success;
  held_.nat_pmp = true;
  if (state_ == State::Mapped) return;  // the answer to a repeated request
  nat_pmp_map_ = reply;
  settle_nat_pmp(now);
}

// Adopts what NAT-PMP granted once port and address are known.
void PortMapper::settle_nat_pmp(Instant now) {
  const bool by_other = mapping_ && mapping_->protocol != MappingProtocol::NatPmp;
  if (!nat_pmp_address_ || by_other || state_ == State::Closing) return;
  if (!nat_pmp_map_) {
    const bool waits_for_pcp = state_ == State::Asking && pcp_ == Answer::Open;
    if (waits_for_pcp && !timers_[Settle]) timers_[Settle] = now + kPcpGrace;
    // An announcement of another address?
    if (state_ != State::Mapped || mapping_->external.address == *nat_pmp_address_) return;
    if (is_usable_external({*nat_pmp_address_, mapping_->external.port}, true)) return renew(now);
    return;
  }
  const Endpoint external{*nat_pmp_address_, nat_pmp_map_->external_port};
  if (!is_usable_external(external, true)) {
    ++counters_.absurd;
    nat_pmp_address_.reset();
    nat_pmp_map_.reset();
    if (is_asked() && nat_pmp_ == Answer::Open) on_refusal(nat_pmp_, kAskAgain, now);
    return;
  }
  nat_pmp_ = Answer::Granted;
  const Duration lifetime = nat_pmp_map_->lifetime;
  nat_pmp_map_.reset();
  nat_pmp_address_.reset();
  adopt(external, MappingProtocol::NatPmp, lifetime, now);
}

void PortMapper::on_refusal(Answer& answer, Duration for_how_long, Instant now) {
  ++counters_.refused;
  answer = Answer::Refused;
  ask_again_ = std::min(ask_again_, std::clamp(for_how_long, kMinAskAgain, kAskAgain));
  if (state_ == State::Renewing) {
    if (pcp_ == Answer::Refused && nat_pmp_ == Answer::Refused) on_expired(now);
    return;
  }
  if (pcp_ == Answer::Refused && nat_pmp_ == Answer::Refused) return give_up_asking(now);
  if (&answer == &pcp_) turn_to_nat_pmp(now);
}

void PortMapper::on_port_unreachable(Instant now) {
  if (state_ == State::Asking && !nat_pmp_map_) give_up_asking(now);
}

void PortMapper::on_upnp_mapped(const Endpoint& external, Duration lease, Instant now) {
  presence_.upnp = true;
  const bool is_renewal = state_ == State::Renewing && mapping_->protocol == MappingProtocol::Upnp;
  if (state_ != State::AskingUpnp && !is_renewal) return;
  if (!is_usable_external(external, is_v4())) {
    ++counters_.absurd;
    return on_upnp_failed(now);
  }
  adopt(external, MappingProtocol::Upnp, lease == Duration::zero() ? kMaxLifetime : lease, now);
}

void PortMapper::on_upnp_failed(Instant now) {
  if (state_ == State::AskingUpnp) become_unavailable(now);
  if (state_ == State::Renewing && mapping_->protocol == MappingProtocol::Upnp) on_expired(now);
}

}  // namespace dh::path
