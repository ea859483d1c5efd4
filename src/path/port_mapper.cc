#include "path/port_mapper.hh"

#include <algorithm>

#include "base/check.hh"

namespace dh::path {
namespace {

namespace nat_pmp = wire::nat_pmp;
namespace pcp = wire::pcp;
using WireSeconds = std::chrono::duration<std::uint32_t>;

constexpr std::uint16_t kFirstUserPort = 1024;

WireSeconds to_wire(Duration duration) {
  return std::chrono::duration_cast<WireSeconds>(duration);
}

}  // namespace

std::string_view to_string(MappingProtocol protocol) {
  switch (protocol) {
    case MappingProtocol::Pcp:
      return "PCP";
    case MappingProtocol::NatPmp:
      return "NAT-PMP";
    case MappingProtocol::Upnp:
      return "UPnP";
  }
  CHECK(false);
}

bool is_usable_external(const Endpoint& external, bool want_v4) {
  const IpAddress& address = external.address;
  if (external.port == 0 || address.is_v4() != want_v4 || address.is_unspecified() || address.is_loopback() ||
      address.is_multicast() || address.is_link_local())
    return false;
  if (!want_v4) return true;
  const auto first = static_cast<unsigned>(address.v4_bytes()[0]);
  return first != 0 && first < 240;  // "this network", and what was never assigned
}

PortMapper::PortMapper(const PortMapperConfig& config, Instant now, Rng& rng)
    : config_(config), rng_(rng), external_wish_(config.internal_port) {
  CHECK(config.gateway.is_v4() == config.local.is_v4() && config.internal_port != 0);
  if (external_wish_ < kFirstUserPort)
    external_wish_ = static_cast<std::uint16_t>(kFirstUserPort + rng.below(65536 - kFirstUserPort));
  rng_.fill(nonce_);
  ask(now);
}

// Asking.

void PortMapper::ask(Instant now) {
  state_ = State::Asking;
  timers_ = {};
  bursts_ = 0;
  pcp_ = Answer::Open;
  nat_pmp_ = is_v4() ? Answer::Open : Answer::Refused;  // NAT-PMP knows IPv4 only
  ask_again_ = kAskAgain;
  nat_pmp_address_.reset();
  nat_pmp_map_.reset();
  send_burst(now);
}

void PortMapper::send_burst(Instant now) {
  if (pcp_ != Answer::Refused) {
    if (state_ == State::Asking && !presence_.pcp) send_pcp(std::nullopt);
    send_pcp(kLease);
  }
  if (nat_pmp_ != Answer::Refused) {
    if (!nat_pmp_address_) send_nat_pmp_address();
    if (!nat_pmp_map_ && pcp_ != Answer::Open) send_nat_pmp_map(kLease);
  }
  timers_[Burst] = now + kBurstWait[bursts_++];
}

// Never while PCP may still grant: gateways that keep one table for both give the mapping to who asked last,
// and then refuse PCP's renewals and deletion.
void PortMapper::turn_to_nat_pmp(Instant now) {
  pcp_ = Answer::Refused;
  timers_[Settle].reset();
  if (nat_pmp_ != Answer::Open) return;
  send_nat_pmp_map(kLease);
  bursts_ = 1;
  timers_[Burst] = now + kBurstWait[0];
}

void PortMapper::give_up_asking(Instant now) {
  timers_ = {};
  if (!is_v4()) return become_unavailable(now);
  state_ = State::AskingUpnp;
  timers_[AskAgain] = now + kUpnpPatience;
  events_.push_back(UpnpWanted{config_.internal_port, external_wish_, kLease});
}

void PortMapper::become_unavailable(Instant now) {
  state_ = State::Unavailable;
  timers_ = {};
  Duration pause = ask_again_;
  if (losses_ < kAskAfterLoss.size()) pause = std::min(pause, kAskAfterLoss[losses_++]);
  timers_[AskAgain] = now + pause;
  events_.push_back(Unavailable{});
}

bool PortMapper::is_asked() const {
  return state_ == State::Asking || state_ == State::Renewing;
}

// Keeping.

void PortMapper::adopt(const Endpoint& external, MappingProtocol protocol, Duration lifetime, Instant now) {
  lifetime = std::clamp(lifetime, kMinLifetime, kMaxLifetime);
  if (state_ == State::Renewing) ++counters_.renewed;
  const bool is_news = !mapping_ || mapping_->external != external || mapping_->protocol != protocol;
  mapping_ = Mapped{external, protocol, lifetime};
  external_wish_ = external.port;
  losses_ = 0;
  state_ = State::Mapped;
  timers_ = {};
  timers_[Expire] = now + lifetime;
  if (protocol == MappingProtocol::Upnp) {
    timers_[Renew] = now + std::min(lifetime / 2, kUpnpRenew);
  } else {
    timers_[Renew] = now + lifetime / 2;
    timers_[Check] = now + kCheckEvery;
  }
  if (is_news) events_.push_back(*mapping_);
}

void PortMapper::renew(Instant now) {
  state_ = State::Renewing;
  timers_[Renew].reset();
  timers_[Check].reset();
  bursts_ = 0;
  if (mapping_->protocol == MappingProtocol::Upnp) {
    events_.push_back(UpnpWanted{config_.internal_port, external_wish_, kLease});
    timers_[AskAgain] = now + kUpnpPatience;
    return;
  }
  const bool by_pcp = mapping_->protocol == MappingProtocol::Pcp;
  pcp_ = by_pcp ? Answer::Open : Answer::Refused;
  nat_pmp_ = by_pcp ? Answer::Refused : Answer::Open;
  nat_pmp_address_.reset();
  nat_pmp_map_.reset();
  send_burst(now);
}

void PortMapper::lose(LostReason why) {
  if (!mapping_) return;
  mapping_.reset();
  events_.push_back(Lost{why});
}

void PortMapper::on_expired(Instant now) {
  lose(LostReason::Expired);
  ask(now);
}

// Its mappings are gone. Somebody on the network could pretend that, so there is a pause.
void PortMapper::on_restart(Instant now) {
  ++counters_.restarts;
  if (state_ != State::Mapped && state_ != State::Renewing && state_ != State::Unavailable) return;
  if (recreated_at_ && now < *recreated_at_ + kRenewGap) {
    auto& again = state_ == State::Unavailable ? timers_[AskAgain] : timers_[Renew];
    again = *recreated_at_ + kRenewGap;
    return;
  }
  recreated_at_ = now;
  lose(LostReason::GatewayRestarted);
  ask(now);
}

void PortMapper::on_gateway_changed(const IpAddress& gateway, const IpAddress& local, Instant now) {
  if (gateway.is_v4() != local.is_v4() || (gateway == config_.gateway && local == config_.local)) return;
  if (state_ == State::Closing || state_ == State::Closed) return;
  if (gateway != config_.gateway) {
    presence_ = {};
    pcp_epoch_.forget();
    nat_pmp_epoch_.forget();
  }
  config_.gateway = gateway;
  config_.local = local;
  // A deletion would leave from an address the gateway does not know us by: the lease has to run out.
  held_ = {};
  rng_.fill(nonce_);
  losses_ = kAskAfterLoss.size();
  recreated_at_.reset();
  transmits_.clear();
  lose(LostReason::GatewayChanged);
  ask(now);
}

// Time.

std::optional<Instant> PortMapper::next_timeout() const {
  std::optional<Instant> next;
  for (const auto& timer : timers_) next = earlier(next, timer);
  return next;
}

void PortMapper::on_timeout(Instant now) {
  switch (state_) {
    case State::Asking:
      if (is_due(timers_[Settle], now)) return turn_to_nat_pmp(now);
      if (!is_due(timers_[Burst], now)) return;
      if (bursts_ < kBurstWait.size()) return send_burst(now);
      return give_up_asking(now);
    case State::AskingUpnp:
      if (is_due(timers_[AskAgain], now)) on_upnp_failed(now);
      return;
    case State::Mapped:
      if (is_due(timers_[Expire], now)) return on_expired(now);
      if (is_due(timers_[Renew], now)) return renew(now);
      if (is_due(timers_[Check], now)) {
        timers_[Check] = now + kCheckEvery;
        if (mapping_->protocol == MappingProtocol::Pcp) send_pcp(std::nullopt);
        if (mapping_->protocol == MappingProtocol::NatPmp) send_nat_pmp_address();
      }
      return;
    case State::Renewing:
      if (is_due(timers_[Expire], now)) return on_expired(now);
      if (is_due(timers_[AskAgain], now)) return on_upnp_failed(now);
      if (!is_due(timers_[Burst], now)) return;
      if (bursts_ < kBurstWait.size()) return send_burst(now);
      state_ = State::Mapped;
      timers_[Burst].reset();
      timers_[Renew] = now + std::max((*timers_[Expire] - now) / 2, kRenewGap);
      timers_[Check] = now + kCheckEvery;
      return;
    case State::Unavailable:
      if (is_due(timers_[AskAgain], now)) ask(now);
      return;
    case State::Closing:
      if (!is_due(timers_[Burst], now)) return;
      if (bursts_ >= kCloseWait.size()) {
        held_ = {};
        return finish_deletion();
      }
      if (held_.pcp) send_pcp(Duration::zero());
      if (held_.nat_pmp) send_nat_pmp_map(Duration::zero());
      timers_[Burst] = now + kCloseWait[bursts_++];
      return;
    case State::Closed:
      return;
  }
}

// Closing.

void PortMapper::close(Instant now) {
  if (state_ == State::Closing || state_ == State::Closed) return;
  // A grant may still be on its way: what was asked for is deleted, too.
  if (state_ == State::Asking) held_ = {.pcp = true, .nat_pmp = pcp_ != Answer::Open && is_v4()};
  state_ = State::Closing;
  mapping_.reset();
  events_.clear();
  transmits_.clear();
  timers_ = {};
  bursts_ = 0;
  timers_[Burst] = now;
  if (!held_.pcp && !held_.nat_pmp) return finish_deletion();
  on_timeout(now);
}

void PortMapper::finish_deletion() {
  if (held_.pcp || held_.nat_pmp) return;
  state_ = State::Closed;
  timers_ = {};
}

// Sending.

template <typename Message>
void PortMapper::send(const Message& message) {
  Transmit transmit;
  transmit.to = {config_.gateway, nat_pmp::kPort};
  Writer w(transmit.datagram);
  message.serialize(w);
  transmits_.push_back(std::move(transmit));
  ++counters_.sent;
}

void PortMapper::send_pcp(std::optional<Duration> map_lifetime) {
  pcp::Request request;
  request.client = config_.local;
  if (map_lifetime) {
    request.lifetime = to_wire(*map_lifetime);
    pcp::Mapping mapping;
    mapping.nonce = nonce_;
    mapping.internal_port = config_.internal_port;
    mapping.external_port = *map_lifetime == Duration::zero() ? std::uint16_t{0} : external_wish_;
    mapping.external_address = is_v4() ? IpAddress() : IpAddress::v6(ByteArray<16>{});
    if (mapping_ && *map_lifetime != Duration::zero()) mapping.external_address = mapping_->external.address;
    request.mapping = mapping;
  }
  send(request);
}

void PortMapper::send_nat_pmp_map(Duration lifetime) {
  nat_pmp::MapRequest request;
  request.internal_port = config_.internal_port;
  request.external_port = lifetime == Duration::zero() ? std::uint16_t{0} : external_wish_;
  request.lifetime = to_wire(lifetime);
  send(request);
}

void PortMapper::send_nat_pmp_address() {
  send(nat_pmp::AddressRequest{});
}

std::optional<PortMapper::Transmit> PortMapper::poll_transmit() {
  if (transmits_.empty()) return std::nullopt;
  Transmit next = std::move(transmits_.front());
  transmits_.pop_front();
  return next;
}

std::optional<PortMapper::Event> PortMapper::poll_event() {
  if (events_.empty()) return std::nullopt;
  Event next = events_.front();
  events_.pop_front();
  return next;
}

GatewayPresence PortMapper::presence() const {
  GatewayPresence out = presence_;
  out.pcp_epoch = pcp_epoch_.last();
  out.nat_pmp_epoch = nat_pmp_epoch_.last();
  return out;
}

}  // namespace dh::path
