// The netcheck against servers that answer whatever they like: it stays within its packets and its time, and
// always has something to say.
#include <algorithm>
#include <map>

#include "base/check.hh"
#include "path/netcheck.hh"
#include "wire/stun_behaviour.hh"

using namespace dh;
using namespace dh::path;

namespace {

// A handful of addresses, so that answers come from plausible places often enough.
Endpoint endpoint_from(Reader& r) {
  const std::uint8_t choice = r.u8();
  const std::uint16_t port = choice & 0x80 ? std::uint16_t{3479} : std::uint16_t{3478};
  ByteArray<16> v6{};
  v6[0] = std::byte{0x20};
  v6[15] = static_cast<std::byte>(choice & 3);
  switch (choice >> 2 & 7) {
    case 0:
      return {IpAddress::v4(192, 168, 1, choice & 3), port};
    case 1:
      return {IpAddress::v4(127, 0, 0, choice & 3), port};
    case 2:
    case 3:
      return {IpAddress::v6(v6), port};
    case 4:
      return {IpAddress::v4(224, 0, 0, 1), r.u16()};
    default:
      return {IpAddress::v4(5, 5, 5, choice & 3), (choice & 0x40) != 0 ? r.u16() : port};
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Reader r(ByteView(reinterpret_cast<const std::byte*>(data), size));
  constexpr std::size_t kRelays = 4;
  SeededRng rng(1);
  Instant now{1h};
  NetcheckConfig config;
  config.v4 = {.usable = true, .main_port = 1000, .second_port = 1001};
  config.v6 = {.usable = (r.u8() & 1) != 0, .main_port = 1002, .second_port = 1003};
  config.local_addresses = {IpAddress::v4(5, 5, 5, 1)};
  config.relays = kRelays;
  Netcheck check(config, now, rng);
  std::vector<Netcheck::Transmit> sent;
  std::map<Endpoint, std::size_t> per_target;
  const auto send = [&] {
    while (auto out = check.poll_transmit(now)) {
      CHECK(out->to.port != 0 && !out->to.address.is_multicast() && !out->to.address.is_unspecified());
      CHECK(out->to.address.is_v4() || config.v6.usable);
      // Binding, second binding, discovery, alternate, both changes, hairpin each way.
      constexpr std::size_t kTries = Netcheck::kRetryAfter.size() + 1;
      CHECK(++per_target[out->to] <= kTries * 8);
      sent.push_back(std::move(*out));
    }
  };
  while (r.ok() && r.remaining() > 0) {
    switch (r.u8() % 6) {
      case 0:
        check.add_server(r.u8() % (kRelays + 1), endpoint_from(r), now);
        break;
      case 1:
        now += 1ms * r.u8();
        check.on_timeout(now);
        break;
      case 2: {  // an answer to something that was sent
        if (sent.empty()) break;
        const Netcheck::Transmit& to = sent[r.u8() % sent.size()];
        const std::uint8_t how = r.u8();
        const Endpoint from = (how & 1) != 0 ? endpoint_from(r) : to.to;
        ByteArray<12> id;
        std::copy_n(to.datagram.begin() + 8, id.size(), id.begin());
        check.on_datagram((how & 2) != 0 ? NetcheckSocket::Second : to.socket, from,
                          wire::stun::make_behaviour_reply(id, endpoint_from(r), from, endpoint_from(r)),
                          now);
        break;
      }
      case 3: {  // a request of ours comes back
        if (sent.empty()) break;
        const Netcheck::Transmit& to = sent[r.u8() % sent.size()];
        check.on_datagram((r.u8() & 1) != 0 ? NetcheckSocket::Second : NetcheckSocket::Main, endpoint_from(r),
                          to.datagram, now);
        break;
      }
      case 4:
        check.on_datagram(NetcheckSocket::Main, endpoint_from(r), r.bytes(r.u8()), now);
        break;
      case 5:
        check.on_unreachable(endpoint_from(r));
        break;
    }
    send();
  }
  check.no_more_servers();
  for (int turns = 0; !check.is_finished(now); ++turns) {
    CHECK(turns < 10'000);
    now = std::max(now, *check.next_timeout());
    check.on_timeout(now);
    send();
  }
  CHECK(sent.size() == check.counters().sent);
  const NetcheckReport report = check.report();
  CHECK(report.relays.size() == kRelays);
  CHECK(report.v4.servers_answered <= report.v4.servers_asked);
  CHECK(report.v4.mapped.empty() == (report.v4.nat == NatBehaviour{}));
  const Verdict verdict = judge(report);
  CHECK(!verdict.sentence.empty());
  CHECK(!verdict.proven || verdict.kind == VerdictKind::Open);
  CHECK(peer_outlooks(report).size() == 6 && !nat_name(report.v4).empty() && !nat_name(report.v6).empty());
  return 0;
}
