#include "path/netcheck.hh"

#include <algorithm>

#include "wire/stun_behaviour.hh"

namespace dh::path {
namespace {

constexpr std::size_t kMaxMappedShown = 16;
constexpr std::uint16_t kDnsPort = 53;  // as open as STUN's in the firewalls that open nothing else

bool is_usual_port(std::uint16_t port) {
  return port == wire::stun::kDefaultPort || port == kDnsPort;
}

bool may_be_server(const Endpoint& server) {
  return server.port != 0 && !server.address.is_unspecified() && !server.address.is_multicast() &&
         server.address != IpAddress::v4(255, 255, 255, 255);
}

// OTHER-ADDRESS is the server's word: it must not aim us at our own network or at hosts of another kind.
bool may_be_other(const Endpoint& server, const Endpoint& other) {
  return may_be_server(other) && other.address.is_v4() == server.address.is_v4() &&
         other.address != server.address && other.port != server.port &&
         other.address.is_loopback() == server.address.is_loopback() &&
         other.address.is_private() == server.address.is_private() &&
         other.address.is_link_local() == server.address.is_link_local();
}

std::optional<Duration> smaller(std::optional<Duration> a, std::optional<Duration> b) {
  if (!a || !b) return a ? a : b;
  return std::min(*a, *b);
}

}  // namespace

Netcheck::Netcheck(NetcheckConfig config, Instant now, Rng& rng)
    : config_(std::move(config)), rng_(rng), started_(now), next_start_(now) {}

void Netcheck::add_server(std::size_t relay, const Endpoint& server, Instant now) {
  const bool v6 = server.address.is_v6();
  if (!family_config(v6).usable) return;
  std::size_t servers = 0;
  for (const Question& question : questions_) {
    if (question.kind != Kind::Binding) continue;
    if (question.to == server) return;
    ++servers;
  }
  if (relay >= config_.relays || servers >= kMaxServers || !may_be_server(server)) {
    ++counters_.ignored_servers;
    return;
  }
  next_start_ = std::max(now, next_start_);
  ask(Kind::Binding, NetcheckSocket::Main, server, next_start_).relay = relay;
  next_start_ += kStartGap;
}

Netcheck::Question& Netcheck::ask(Kind kind, NetcheckSocket socket, const Endpoint& to, Instant due) {
  Question question;
  question.kind = kind;
  question.socket = socket;
  question.to = question.answers_from = to;
  question.due = due;
  questions_.push_back(question);
  return questions_.back();
}

void Netcheck::on_datagram(NetcheckSocket socket, const Endpoint& from, ByteView datagram, Instant now) {
  const auto request = wire::stun::classify(datagram);
  if (request.kind == wire::stun::RequestKind::Tailnode) return on_request(socket, request.id);
  const auto reply = wire::stun::parse_reply(datagram);
  const auto sent = reply ? sent_.find(reply->id) : sent_.end();
  if (sent == sent_.end()) {
    ++counters_.foreign;
    return;
  }
  const std::size_t index = sent->second.question;
  const Question& question = questions_[index];
  // A server we can reach could answer a hairpin request only by forging.
  if (question.kind == Kind::Hairpin || question.socket != socket || question.answers_from != from ||
      reply->mapped.address.is_v4() != from.address.is_v4()) {
    ++counters_.foreign;
    return;
  }
  on_answer(index, datagram, now - sent->second.at, now);
}

// Our own request, come back around the NAT.
void Netcheck::on_request(NetcheckSocket socket, const wire::stun::TransactionId& id) {
  const auto sent = sent_.find(id);
  if (sent == sent_.end() || questions_[sent->second.question].kind != Kind::Hairpin ||
      questions_[sent->second.question].socket == socket) {
    ++counters_.foreign;
    return;
  }
  ++counters_.answers;
  questions_[sent->second.question].state = State::Answered;
}

void Netcheck::on_answer(std::size_t index, ByteView datagram, Duration rtt, Instant now) {
  Question& question = questions_[index];
  ++counters_.answers;
  question.rtt = smaller(question.rtt, rtt);
  if (question.state == State::Answered) return;  // to a retransmission
  const auto reply = wire::stun::parse_behaviour_reply(datagram);
  question.state = State::Answered;
  question.mapped = reply->mapped;
  const Question answered = question;  // what follows adds questions
  const bool v6 = answered.to.address.is_v6();
  switch (answered.kind) {
    case Kind::Binding:
      after_binding(answered.relay, answered.to, rtt, now);
      break;
    case Kind::Discovery:
      if (reply->other) start_behaviour(answered.to, *reply->other, rtt, now);
      break;
    case Kind::SecondBinding:
    case Kind::Alternate:
    case Kind::ChangeBoth:
    case Kind::ChangePort:
    case Kind::Hairpin:
      break;
  }
  start_hairpin(v6, now);
}

void Netcheck::after_binding(std::size_t relay, const Endpoint& server, Duration rtt, Instant now) {
  Family& state = family(server.address.is_v6());
  const Duration patience = std::clamp(4 * rtt, kMinPatience, kPatience);
  for (Question& question : questions_)
    if (question.relay == relay && question.to.address == server.address) question.patience = patience;
  const auto ask_second = [&](Kind kind) {
    Question& question = ask(kind, NetcheckSocket::Second, server, now);
    question.relay = relay;
    question.patience = patience;
  };
  if (!state.second_started) ask_second(Kind::SecondBinding);
  state.second_started = true;
  if (state.behaviour_started || state.discoveries >= kMaxDiscoveries) return;
  ++state.discoveries;
  ask_second(Kind::Discovery);
}

void Netcheck::start_behaviour(const Endpoint& server, const Endpoint& other, Duration rtt, Instant now) {
  Family& state = family(server.address.is_v6());
  if (state.behaviour_started || !may_be_other(server, other)) return;
  state.behaviour_started = true;
  const Duration patience = std::clamp(4 * rtt, kMinPatience, kPatience);
  const Endpoint far_near{other.address, server.port};
  const Endpoint near_far{server.address, other.port};
  // In this order, at once: a NAT that counts shows its step.
  for (const Endpoint& to : {far_near, other, near_far})
    ask(Kind::Alternate, NetcheckSocket::Main, to, now).patience = patience;
  // Who has sent there has opened the filter.
  const bool opened = std::any_of(questions_.begin(), questions_.end(), [&](const Question& question) {
    return question.socket == NetcheckSocket::Second && question.to.address == other.address;
  });
  if (opened) return;
  Question& both = ask(Kind::ChangeBoth, NetcheckSocket::Second, server, now);
  both.answers_from = other;
  both.patience = patience;
  Question& port = ask(Kind::ChangePort, NetcheckSocket::Second, server, now);
  port.answers_from = near_far;
  port.patience = patience;
}

// Each socket to the other's outer endpoint, so that filters are open where they can be.
void Netcheck::start_hairpin(bool v6, Instant now) {
  Family& state = family(v6);
  const auto main = mapped_of(NetcheckSocket::Main, v6);
  const auto second = mapped_of(NetcheckSocket::Second, v6);
  if (state.hairpin_started || v6 || !main || !second) return;
  state.hairpin_started = true;
  if (std::ranges::find(config_.local_addresses, main->address) != config_.local_addresses.end()) return;
  // Servers that disagree about our address lie, or there is a pool: then nothing is sent there.
  if (main->address != second->address || main->address.is_loopback()) return;
  if (!may_be_server(*main) || !may_be_server(*second)) return;
  ask(Kind::Hairpin, NetcheckSocket::Main, *second, now).patience = kMinPatience;
  ask(Kind::Hairpin, NetcheckSocket::Second, *main, now).patience = kMinPatience;
}

void Netcheck::on_unreachable(const Endpoint& to) {
  ++family(to.address.is_v6()).unreachable;
  for (Question& question : questions_)
    if (question.to == to && question.state == State::Open) question.state = State::Silent;
}

void Netcheck::on_timeout(Instant now) {
  for (Question& question : questions_) {
    if (question.state == State::Open && question.tries > kRetryAfter.size() && question.due <= now)
      question.state = State::Silent;
  }
}

std::optional<Netcheck::Transmit> Netcheck::poll_transmit(Instant now) {
  on_timeout(now);
  if (now - started_ >= config_.budget) return std::nullopt;
  for (std::size_t i = 0; i < questions_.size(); ++i) {
    Question& question = questions_[i];
    if (question.state != State::Open || question.due > now) continue;
    wire::stun::TransactionId id;
    rng_.fill(id);
    sent_[id] = {i, now};
    if (!question.asked_at) question.asked_at = now;
    question.due =
        now + (question.tries < kRetryAfter.size() ? kRetryAfter[question.tries] : question.patience);
    ++question.tries;
    ++counters_.sent;
    ++family(question.to.address.is_v6()).sent;
    Transmit out{question.socket, question.to, {}};
    switch (question.kind) {
      case Kind::Binding:
      case Kind::SecondBinding:
      case Kind::Alternate:
      case Kind::Hairpin:
        out.datagram = to_bytes(wire::stun::make_request(id));
        break;
      case Kind::Discovery:
        out.datagram = wire::stun::make_behaviour_request({.id = id});
        break;
      case Kind::ChangeBoth:
        out.datagram =
            wire::stun::make_behaviour_request({.id = id, .change_address = true, .change_port = true});
        break;
      case Kind::ChangePort:
        out.datagram = wire::stun::make_behaviour_request({.id = id, .change_port = true});
        break;
    }
    return out;
  }
  return std::nullopt;
}

std::optional<Instant> Netcheck::next_timeout() const {
  std::optional<Instant> next;
  for (const Question& question : questions_)
    if (question.state == State::Open) next = earlier(next, question.due);
  return earlier(next, started_ + config_.budget);
}

bool Netcheck::is_finished(Instant now) const {
  if (now - started_ >= config_.budget) return true;
  const auto open = [](const Question& question) { return question.state == State::Open; };
  return complete_ && std::none_of(questions_.begin(), questions_.end(), open);
}

std::optional<Endpoint> Netcheck::mapped_of(NetcheckSocket socket, bool v6) const {
  for (const Question& question : questions_) {
    if (question.state == State::Answered && question.socket == socket && question.kind != Kind::Hairpin &&
        question.to.address.is_v6() == v6)
      return question.mapped;
  }
  return std::nullopt;
}

const Netcheck::Question* Netcheck::find(Kind kind, bool v6) const {
  for (const Question& question : questions_)
    if (question.kind == kind && question.to.address.is_v6() == v6) return &question;
  return nullptr;
}

// Silence counts only where that end of the server is known to be alive.
FilteringEvidence Netcheck::filtering_evidence(bool v6) const {
  const auto evidence = [&](Kind kind) -> std::optional<bool> {
    const Question* question = find(kind, v6);
    if (question == nullptr || question->state == State::Open) return std::nullopt;
    if (question->state == State::Answered) return true;
    for (const Question& alive : questions_) {
      if (alive.kind == Kind::Alternate && alive.to == question->answers_from &&
          alive.state == State::Answered)
        return false;
    }
    return std::nullopt;
  };
  return {evidence(Kind::ChangeBoth), evidence(Kind::ChangePort)};
}

std::optional<bool> Netcheck::other_ports(bool v6) const {
  bool asked = false;
  for (const Question& question : questions_) {
    if (question.kind == Kind::Hairpin || question.to.address.is_v6() != v6) continue;
    if (is_usual_port(question.answers_from.port)) continue;
    if (question.state == State::Answered) return true;
    asked = asked || (question.kind == Kind::Alternate && question.state == State::Silent);
  }
  return asked ? std::optional(false) : std::nullopt;
}

FamilyReport Netcheck::report_family(bool v6) const {
  const NetcheckConfig::Family& sockets = family_config(v6);
  const Family& state = families_[v6 ? 1 : 0];
  FamilyReport out;
  out.local_port = sockets.main_port;
  std::vector<MappingSample> samples;
  bool hairpin_arrived = false, hairpin_open = false, hairpin_asked = false;
  for (const Question& question : questions_) {
    if (question.to.address.is_v6() != v6) continue;
    if (question.kind == Kind::Hairpin) {
      hairpin_asked = true;
      hairpin_arrived = hairpin_arrived || question.state == State::Answered;
      hairpin_open = hairpin_open || question.state == State::Open;
      continue;
    }
    const bool answered = question.state == State::Answered;
    if (question.kind == Kind::Binding) {
      ++out.servers_asked;
      out.servers_answered += answered ? 1 : 0;
    }
    if (!answered || question.kind == Kind::ChangeBoth || question.kind == Kind::ChangePort) continue;
    const bool second = question.socket == NetcheckSocket::Second;
    samples.push_back({.socket = static_cast<std::uint8_t>(question.socket),
                       .local_port = second ? sockets.second_port : sockets.main_port,
                       .server = question.to,
                       .mapped = question.mapped,
                       .asked_at = *question.asked_at});
  }
  std::stable_sort(samples.begin(), samples.end(),
                   [](const auto& a, const auto& b) { return a.asked_at < b.asked_at; });
  for (const MappingSample& sample : samples) {
    if (sample.socket != 0 || out.mapped.size() >= kMaxMappedShown) continue;
    if (std::ranges::find(out.mapped, sample.mapped) == out.mapped.end()) out.mapped.push_back(sample.mapped);
  }

  if (!sockets.usable) {
    out.udp = UdpState::Unavailable;
  } else if (out.servers_asked == 0) {
    out.udp = UdpState::NotAsked;
  } else if (out.servers_answered > 0) {
    out.udp = UdpState::Works;
  } else {
    out.udp = state.unreachable >= state.sent ? UdpState::Unavailable : UdpState::Silent;
  }
  if (out.mapped.empty()) return out;
  const auto& local = config_.local_addresses;
  out.nat.translated = std::ranges::find(local, out.mapped[0].address) == local.end();
  out.nat.mapping = deduce_mapping(samples);
  const PortPattern pattern = deduce_ports(samples, out.nat.mapping);
  out.nat.ports = pattern.ports;
  out.nat.stride = pattern.stride;
  out.nat.filtering = deduce_filtering(filtering_evidence(v6));
  if (hairpin_asked && (hairpin_arrived || !hairpin_open)) out.nat.hairpin = hairpin_arrived;
  out.other_ports = other_ports(v6);
  return out;
}

NetcheckReport Netcheck::report() const {
  NetcheckReport out;
  out.v4 = report_family(false);
  out.v6 = report_family(true);
  out.relays.resize(config_.relays);
  for (const Question& question : questions_) {
    if (question.kind != Kind::Binding) continue;
    RelayReport& relay = out.relays[question.relay];
    auto& latency = question.to.address.is_v6() ? relay.v6 : relay.v4;
    latency = smaller(latency, question.rtt);
  }
  out.port_mapping = port_mapping_;
  return out;
}

}  // namespace dh::path
