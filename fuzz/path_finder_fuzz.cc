// The path finder with a peer that holds the session's keys and does what it likes: the finder stays within
// its budget, never sends to forbidden places, uses a route only where its own full ping was answered, never
// believes in a size of which no ping was answered, and never spins.
#include <algorithm>
#include <map>
#include <set>

#include "base/check.hh"
#include "path/limits.hh"
#include "path/path_finder.hh"
#include "wire/path_probe.hh"
#include "wire/stun.hh"

using namespace dh;
using namespace dh::path;

namespace {

Endpoint endpoint_from(Reader& r) {
  const std::uint8_t choice = r.u8(), last = choice >> 3 & 3;
  const std::uint16_t port = static_cast<std::uint16_t>(4000 + (choice >> 5));
  ByteArray<16> v6{};
  v6[0] = std::byte{0x20};
  v6[15] = std::byte{last};
  switch (choice & 7) {
    case 0:
      return {IpAddress::v4(127, 0, 0, last), port};
    case 1:
      return {IpAddress::v4(224, 0, 0, last), port};
    case 2:
      return {IpAddress::v4(169, 254, 169, 254), port};
    case 3:
      return {IpAddress::v6(v6), port};
    case 4:
      return {IpAddress::v4(192, 168, 1, last), port};
    case 5:
      return {IpAddress::v4(7, 7, 7, r.u8()), r.u16()};
    default:
      return {IpAddress::v4(5, 5, 5, last), port};
  }
}

ProbeKeys keys_of(bool dialer) {
  ProbeKeys keys;
  Secret<32> one, other;
  one.expose_mutable()[0] = std::byte{1};
  other.expose_mutable()[0] = std::byte{2};
  keys.send = dialer ? one : other;
  keys.receive = dialer ? other : one;
  return keys;
}

struct Ping {
  SocketId socket;
  Endpoint to;
  std::uint64_t transaction;
  std::size_t size;
};

class Hostile {
public:
  explicit Hostile(bool dialer) : finder({.dialer = dialer}, now, rng), cipher(keys_of(!dialer)) {
    finder.on_local_addresses({{IpAddress::v4(192, 168, 1, 1), 24}});
    finder.on_socket_open(kSocketV4, false, 1000, now);
    finder.on_socket_open(kSocketV6, true, 1001, now);
    finder.add_stun_server(server(1), now);
    finder.add_stun_server(server(2), now);
    finder.start(keys_of(dialer), now);
    drain();
  }

  void run(Reader& r) {
    while (r.ok() && r.remaining() > 0) {
      act(r);
      drain();
    }
    const auto allowed = static_cast<std::uint64_t>(kProbeBurst + kProbeRefill * to_seconds(now - start)) + 2;
    CHECK(blind <= allowed + pings_given + kMaxBirthdays * kBirthdayProbes);
    const auto full = static_cast<std::uint64_t>(kFullBurst + kFullRefill * to_seconds(now - start)) + 1;
    CHECK(blind_full <= full + full_pings_given);
  }

private:
  static Endpoint server(std::uint8_t n) { return {IpAddress::v4(9, 9, 9, n), 3478}; }

  void act(Reader& r) {
    switch (r.u8() % 8) {
      case 0:
        now += 1ms * r.u16();
        return finder.on_timeout(now);
      case 1: {  // a list of our own making
        wire::CallMeMaybe call;
        call.round = ++round;
        call.attempt = attempt += r.u8() & 1;
        call.mode = static_cast<wire::PunchMode>(1 + r.u8() % 3);
        call.mapping = static_cast<wire::MappingBehaviour>(r.u8() % 4);
        for (std::size_t i = r.u8() % 33; i > 0; --i)
          call.candidates.push_back({static_cast<wire::CandidateKind>(1 + r.u8() % 4), endpoint_from(r)});
        return finder.on_call(call, now);
      }
      case 2: {  // or of its bytes
        const auto message = wire::parse_session_msg(r.bytes(std::min<std::size_t>(r.u8(), r.remaining())));
        if (message && std::holds_alternative<wire::CallMeMaybe>(*message))
          finder.on_call(std::get<wire::CallMeMaybe>(*message), now);
        return;
      }
      case 3: {
        const Endpoint from = endpoint_from(r);
        finder.on_datagram(socket(r), from, r.bytes(std::min<std::size_t>(r.u8(), r.remaining())), now);
        return;
      }
      case 4:
        return ping(r);
      case 5:
        return pong(r);
      case 6:
        return answer_stun(r);
      default:
        return disturb(r);
    }
  }

  SocketId socket(Reader& r) { return r.u8() & 1; }

  void give(SocketId socket, const Endpoint& from, const wire::ProbeBody& body,
            std::size_t size = wire::kProbeSize) {
    Bytes datagram(size);
    cipher.seal(body, datagram, size);
    finder.on_datagram(socket, from, datagram, now);
  }
  void ping(Reader& r) {
    ++pings_given;
    const SocketId at = socket(r);
    const Endpoint from = endpoint_from(r);
    const std::size_t size = wire::kProbeSize + r.u16() % (wire::kMaxProbeSize - wire::kProbeSize + 1);
    full_pings_given += size >= kBaseDatagram;
    give(at, from, {wire::ProbeKind::Ping, r.u64(), endpoint_from(r)}, size);
  }
  void pong(Reader& r) {
    if (pings.empty()) return;
    const Ping& asked = pings[r.u8() % pings.size()];
    const bool honest = (r.u8() & 1) != 0;
    const Endpoint from = honest ? asked.to : endpoint_from(r);
    const SocketId at = honest ? asked.socket : socket(r);
    if (from == asked.to && at == asked.socket) {
      answered.insert({at, from});
      std::size_t& most = carried[{at, from}];
      most = std::max(most, asked.size);
    }
    give(at, from, {wire::ProbeKind::Pong, asked.transaction, endpoint_from(r)});
  }
  void answer_stun(Reader& r) {
    if (questions.empty()) return;
    const auto& [at, to, id] = questions[r.u8() % questions.size()];
    finder.on_datagram(at, to, wire::stun::make_reply(id, endpoint_from(r)), now);
  }
  void disturb(Reader& r) {
    switch (r.u8() % 8) {
      case 6: {
        const SocketId at = socket(r);
        const Endpoint to = endpoint_from(r);
        return finder.on_too_big(at, to, r.u16(), now);
      }
      case 7:
        return finder.on_black_hole(now);
      case 0:
        return finder.on_stalled(now);
      case 1:
        return finder.on_network_changed(now);
      case 2: {
        const SocketId at = socket(r);
        return finder.on_send_failed(at, endpoint_from(r), now);
      }
      case 3: {
        const bool v6 = (r.u8() & 1) != 0;
        return finder.on_port_mapping(v6, endpoint_from(r));
      }
      case 4: {
        const SocketId at = socket(r);
        return finder.on_peer_datagram(at, endpoint_from(r), now);
      }
      default:
        return finder.on_traffic(now);
    }
  }

  void drain() {
    for (int turn = 0;; ++turn) {
      CHECK(turn < 100);  // else it spins
      drain_once();
      const auto next = finder.next_timeout();
      if (!next || *next > now) return;
      finder.on_timeout(now);
    }
  }
  void check_size(std::size_t bytes) {
    CHECK(answered.contains(route));
    CHECK(bytes >= kBaseDatagram && bytes <= carried[route]);
  }
  void drain_once() {
    while (const auto event = finder.poll_event()) {
      if (const auto* up = std::get_if<RouteUp>(&*event)) {
        route = {up->route.socket, up->route.remote};
        check_size(up->route.datagram_bytes);
      }
      if (const auto* size = std::get_if<RouteSize>(&*event)) check_size(size->datagram_bytes);
      if (const auto* open = std::get_if<OpenSockets>(&*event)) {
        if (open->count > 1) opened += open->count;
        CHECK(opened <= kMaxBirthdays * kBirthdaySockets);
        for (std::size_t i = 0; i < open->count; ++i)
          finder.on_socket_open(static_cast<SocketId>(open->first + i), false, 5000, now);
      }
    }
    while (finder.poll_call(now)) {
    }
    Bytes buffer(kMaxDatagram);
    while (const auto sent = finder.poll_transmit(buffer, now))
      look_at(*sent, ByteView(buffer).first(sent->size));
  }
  void look_at(const Transmit& sent, ByteView datagram) {
    const IpAddress& to = sent.to.address;
    if (to == server(1).address || to == server(2).address) {
      if (questions.size() < 64)
        questions.push_back({sent.socket, sent.to, wire::stun::classify(datagram).id});
      return;
    }
    CHECK(!to.is_loopback() && !to.is_multicast() && !to.is_link_local() && !to.is_unspecified());
    const auto probe = cipher.unseal(datagram);
    if (sent.ttl == 0) CHECK(probe.verdict == ProbeCipher::Verdict::Opened);
    if (probe.body.kind == wire::ProbeKind::Pong) return;
    const bool is_full = sent.size > wire::kProbeSize;
    if (!answered.contains({sent.socket, sent.to})) ++(is_full ? blind_full : blind);
    pings.push_back({sent.socket, sent.to, probe.body.transaction, sent.size});
    if (pings.size() > 200) pings.erase(pings.begin());
  }

  struct Question {
    SocketId socket;
    Endpoint to;
    wire::stun::TransactionId id;
  };
  const Instant start{1h};
  Instant now = start;
  SeededRng rng{1};
  PathFinder finder;
  ProbeCipher cipher;
  std::uint32_t round = 0, attempt = 0;
  std::uint64_t blind = 0, blind_full = 0, pings_given = 0, full_pings_given = 0;
  std::size_t opened = 0;
  std::vector<Ping> pings;
  std::vector<Question> questions;
  std::set<std::pair<SocketId, Endpoint>> answered;
  std::map<std::pair<SocketId, Endpoint>, std::size_t> carried;  // the largest ping that was answered
  std::pair<SocketId, Endpoint> route;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Reader r(ByteView(reinterpret_cast<const std::byte*>(data), size));
  Hostile hostile((r.u8() & 1) != 0);
  hostile.run(r);
  return 0;
}
