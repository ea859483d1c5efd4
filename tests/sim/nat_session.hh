#pragma once

#include <optional>
#include <string>

#include <fmt/format.h>

#include "sim/host.hh"
#include "sim/nat_world.hh"
#include "sim/pairing.hh"

namespace dh::sim {

struct NatSessionOptions {
  std::uint64_t seed = 1;
  std::uint64_t bytes = 256 << 10;
  double write_bytes_per_second = 4e3;  // until hurry(): so that the session lasts
  Duration write_interval = 100ms;
  bool dialer_sends = true;
  std::size_t lanes = 1, most_lanes = bulk::kMaxLanes;  // of the sender
  NatKind dialer_box = NatKind::PortRestricted, listener_box = NatKind::PortRestricted;
  Wire dialer_wire{.delay = 10ms}, listener_wire{.delay = 10ms};  // of the boxes; so 20 ms one way
  LinkModel relay_link{.delay = 10ms};                            // and as long over the relay
  /// What a lying router calls the external address of each host's socket.
  std::optional<Endpoint> dialer_mapping{}, listener_mapping{};
  Duration wait = 60s;                              // the dialer's, for the listener
  std::size_t interface_mtu = 1500;                 // of both hosts
  std::optional<NatOptions> dialer_box_options{};   // instead of dialer_box
  bool dialer_ipv6 = false, listener_ipv6 = false;  // an address as well, behind the box's firewall
};

/// A real session between two hosts behind NAT boxes, with a relay that is always reachable and two STUN
/// servers.
class NatSession {
public:
  explicit NatSession(const NatSessionOptions& options)
      : lab(options.seed),
        dialer_site(options.dialer_box_options
                        ? lab.add_site(1, *options.dialer_box_options, options.dialer_wire)
                        : lab.add_site(1, options.dialer_box, options.dialer_wire)),
        listener_site(lab.add_site(2, options.listener_box, options.listener_wire)),
        relay(lab.world, options.relay_link),
        content(options.seed, options.bytes),
        dialer_sends_(options.dialer_sends) {
    for (const Site& site : {dialer_site, listener_site})
      lab.internet.interface(site.host).wire.mtu = options.interface_mtu;
    if (options.dialer_ipv6) lab.internet.interface(dialer_site.host).addresses.push_back(ipv6_address(1));
    if (options.listener_ipv6)
      lab.internet.interface(listener_site.host).addresses.push_back(ipv6_address(2));
    Pairing pairing = make_pairing(lab.world.rng(), 1, lab.world.wall());
    pairing.dialer.wait = options.wait;
    if (!options.dialer_sends) {
      pairing.dialer.direction = session::Direction::Receive;
      pairing.listener.direction = session::Direction::Send;
    }
    const auto host = [&](std::optional<Host>& out, session::SessionConfig config, const Site& site,
                          const std::optional<Endpoint>& mapping) {
      HostOptions host_options;
      host_options.session = std::move(config);
      host_options.session.lanes = options.lanes;
      host_options.session.most_lanes = options.most_lanes;
      host_options.write_interval = options.write_interval;
      host_options.write_bytes_per_second = options.write_bytes_per_second;
      host_options.udp = UdpOptions{.internet = &lab.internet,
                                    .host = site.host,
                                    .stun_servers = {lab.server.endpoint(0), lab.server.endpoint(1)},
                                    .first_port = NatWorld::kPort,
                                    .port_mapping = mapping ? mapping : lab.mapped_port_of(site)};
      out.emplace(lab.world, std::vector<Relay*>{&relay}, host_options, content);
    };
    host(dialer_, std::move(pairing.dialer), dialer_site, options.dialer_mapping);
    host(listener_, std::move(pairing.listener), listener_site, options.listener_mapping);
    listener().start();
    lab.world.after(5 * options.relay_link.delay + 300ms, [this] { dialer().start(); });
  }

  static IpAddress ipv6_address(std::uint8_t n) {
    ByteArray<16> address{std::byte{0x2a}, std::byte{0x01}};
    address[15] = static_cast<std::byte>(n);
    return IpAddress::v6(address);
  }

  Host& dialer() { return *dialer_; }
  Host& listener() { return *listener_; }
  Host& sender() { return dialer_sends_ ? dialer() : listener(); }
  Host& receiver() { return dialer_sends_ ? listener() : dialer(); }

  bool run_until(const std::function<bool()>& done, Duration limit) {
    return lab.world.run_until(done, limit);
  }
  void run_for(Duration duration) { lab.run(duration); }
  bool is_direct() { return dialer().path_log().direct && listener().path_log().direct; }
  bool is_over() const { return dialer_->ended() && listener_->ended(); }
  /// When both ends have known of each other.
  std::optional<Instant> claimed_at() const { return listener_->claimed_at(); }

  /// Lets the rest of the stream run; empty when both ends report success and every byte is right.
  std::string finish(Duration limit = 120s) {
    sender().hurry();
    const bool over = run_until([this] { return is_over(); }, limit);
    if (receiver().content_wrong()) return "wrong bytes were delivered";
    if (!over) return "the session hung";
    for (const auto* host : {&dialer(), &listener()}) {
      if (host->ended()->end != session::SessionEnd::Complete)
        return fmt::format("the {} ended with {}", host == &dialer() ? "dialer" : "listener",
                           session::to_string(host->ended()->end));
    }
    if (receiver().received() != content.size())
      return fmt::format("{} bytes arrived of {}", receiver().received(), content.size());
    return {};
  }

  NatWorld lab;
  Site dialer_site, listener_site;
  Relay relay;
  Content content;

private:
  bool dialer_sends_;
  std::optional<Host> dialer_, listener_;  // last: they close their sockets before the internet goes
};

}  // namespace dh::sim
