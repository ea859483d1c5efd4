#!/usr/bin/env python3
"""Where two people may sit, beyond two plain homes: places.py BINARY [names]

Each place is a lab of its own: networks shared and isolated, carrier-grade NAT, routers with port mapping (the real miniupnpd), IPv6, two
uplinks, delay, an MTU hole. A transfer runs for a few seconds; its bytes must be whole and it must end on the path that the place names.
"""
import os
import sys
import time

import natlab
import router
from transfer import Transfer

RATE = 2_000_000  # bytes per second
HARD = ("sym-rand", "sym-rand")  # without help: the relay


class Place:
    """What a place may say about its transfer; a generator function fills it in and checks at its end."""

    def __init__(self, lab):
        self.lab = lab
        self.listener, self.sender, self.seconds, self.actions = "a1", "b1", 3.0, []
        self.ending, self.route, self.most_moves = "direct", None, None  # route: a pattern in the sender's last route line
        self.note, self.rate, self.transfer = "", RATE, None
        self.routers = []

    def nats(self, a, b):
        self.lab.set_nat("a", a)
        self.lab.set_nat("b", b)

    def router(self, side, **kwargs):
        gateway, public, lan = natlab.GATEWAYS[side]
        self.routers.append(router.Router(self.lab, side, gateway, public, lan, **kwargs))
        return self.routers[-1]


# ---- one network ------------------------------------------------------------------------------------------------------------


def same_lan(p):
    p.nats("port-restr", "port-restr")
    p.lab.add_host("a2")
    p.lab.plug("gwa", "a2", "192.168.11", 3)
    p.sender, p.route = "a2", r"192\.168\.11\.2"


def isolated(p):
    """A guest network: its hosts do not see each other, and the router sends nobody back inside."""
    p.nats("port-restr", "port-restr")
    p.lab.add_host("a2")
    p.lab.plug("gwa", "a2", "192.168.11", 3)
    for port in ("a1-eth0", "a2-eth0"):
        p.lab.on("gwa", f"bridge link set dev {port} isolated on")
    p.sender = "a2"


def same_lan_isolated(p):
    isolated(p)
    p.ending = "relay"


def same_lan_isolated_with_hairpin(p):
    isolated(p)
    p.lab.set_nat("a", "hairpin")
    p.route = r"5\.5\.5\.21"


# ---- carrier-grade NAT --------------------------------------------------------------------------------------------------------


def carrier(p, sides, hairpin):
    """Puts the homes of `sides` behind one more NAT that has the only public address, 5.5.5.41."""
    lab = p.lab
    lab.add_host("cgn")
    lab.link("cgn", "wan0", ("5.5.5.41",))
    lab.add_lan("cgn", "100.64.0")
    for number, side in enumerate(sides, 2):
        gateway, public, _ = natlab.GATEWAYS[side]
        lab.on(gateway, "ip link del wan0")
        lab.on("inet", f"ip route del {public}/32", check=False)
        lab.plug("cgn", gateway, "100.64.0", number, device="wan0")
    lab.on("cgn", "nft -f -", stdin=natlab.rules("hairpin" if hairpin else "port-restr", "5.5.5.41", "100.64.0.2"))


def home_behind_a_carrier(p):
    carrier(p, "a", False)
    p.nats("port-restr", "port-restr")


def same_carrier_without_hairpin(p):
    carrier(p, "ab", False)
    p.nats("port-restr", "port-restr")
    p.ending = "relay"


def same_carrier_with_hairpin(p):
    carrier(p, "ab", True)
    p.nats("port-restr", "port-restr")


# ---- port mapping ---------------------------------------------------------------------------------------------------------------


def port_mapping(p, only=None):
    p.nats(*HARD)
    home = p.router("a", only=only)
    p.seconds, p.route = 5.0, r"5\.5\.5\.21"
    yield
    if home.mappings():
        raise natlab.Failure("the mapping is still there after the end")
    p.note = "mapping deleted"


def port_mapping_by_pcp(p):
    yield from port_mapping(p, "pcp")


def port_mapping_by_nat_pmp(p):
    yield from port_mapping(p, "nat-pmp")


def port_mapping_by_upnp(p):
    yield from port_mapping(p, "upnp")


def silent_router(p):
    """Nobody answers: nothing waits for it."""
    p.nats("port-restr", "port-restr")
    p.router("a", only="none")


def router_reboots(p):
    """The mapping is gone in the middle of the transfer, and made again."""
    p.nats(*HARD)
    home = p.router("a")
    p.actions, p.seconds, p.route = [(4, home.reboot)], 14.0, r"5\.5\.5\.21"


def port_mapping_comes_late(p):
    """From the relay to direct without a new session: the router speaks five seconds after the start."""
    p.nats(*HARD)
    home = p.router("a")
    home.stop()
    p.actions, p.seconds = [(5, home.start)], 45.0


def port_mapping_with_a_short_lease(p):
    """Renewed in time, the transfer outlives it three times."""
    p.nats(*HARD)
    p.router("a", lease=6)
    p.seconds, p.route, p.most_moves = 20.0, r"5\.5\.5\.21", 1


def router_maps_and_lets_nothing_in(p):
    p.nats(*HARD)
    p.router("a")
    p.lab.on("gwa", "nft 'insert rule inet fw forward iifname wan0 ct state new drop'")
    p.ending = "relay"


def router_names_a_wrong_address(p):
    """The outer address it tells belongs to somebody else: no path, no harm."""
    p.nats(*HARD)
    p.router("a", outside="5.5.5.77")
    p.ending = "relay"


# ---- IPv6 ---------------------------------------------------------------------------------------------------------------------------


def add_ipv6(lab, sides):
    lab.on("inet", "sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.all.forwarding=1")
    for side in sides:
        gateway, host, net = f"gw{side}", f"{side}1", f"2001:db8:{side}"
        for name in (gateway, host):
            lab.on(name, "sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0 net.ipv6.conf.all.accept_dad=0 "
                         "net.ipv6.conf.default.accept_dad=0")
        lab.on(gateway, "sysctl -qw net.ipv6.conf.all.forwarding=1")
        for name, address, device in ((gateway, f"{net}::1/64", "lan0"), (host, f"{net}::2/64", "eth0"),
                                      (gateway, f"{net}:ff::2/64", "wan0"), ("inet", f"{net}:ff::1/64", f"p-{gateway}")):
            lab.on(name, f"sysctl -qw net.ipv6.conf.{device}.disable_ipv6=0 net.ipv6.conf.{device}.accept_dad=0")
            lab.on(name, f"ip -6 addr add {address} dev {device} nodad")
        lab.on(gateway, f"ip -6 route add default via {net}:ff::1")
        lab.on(host, f"ip -6 route add default via {net}::1")
        lab.on("inet", f"ip -6 route add {net}::/64 via {net}:ff::2")
    while any("tentative" in lab.on(name, "ip -6 addr") for name in lab.names):
        time.sleep(0.1)


def ipv6_on_one_side(p):
    p.nats("port-restr", "port-restr")
    add_ipv6(p.lab, "b")
    p.route = r"5\.5\.5\."


def ipv6_through_two_firewalls(p):
    """IPv4 has no way, IPv6 has one: both firewalls let out and let answers in."""
    p.nats(*HARD)
    add_ipv6(p.lab, "ab")
    p.route = r"2001:db8:a::2"


def ipv6_black_hole(p):
    """There are addresses and routes, and nothing arrives: IPv4 does not wait for it."""
    p.nats("port-restr", "port-restr")
    add_ipv6(p.lab, "ab")
    p.lab.on("inet", "nft -f -", stdin="table ip6 hole {\n chain f { type filter hook forward priority 0; policy drop;\n }\n}\n")
    p.route = r"5\.5\.5\."


# ---- links -----------------------------------------------------------------------------------------------------------------------------


def second_uplink(p):
    """The cable comes out; there is another one."""
    p.nats("port-restr", "port-restr")
    lab = p.lab
    lab.add_host("gwc")
    lab.link("gwc", "wan0", ("5.5.5.23",))
    lab.add_lan("gwc", "192.168.13")
    lab.on("gwc", "nft -f -", stdin=natlab.rules("port-restr", "5.5.5.23", "192.168.13.2"))
    lab.plug("gwc", "b1", "192.168.13", 2, device="eth1", metric=100)
    p.actions, p.seconds = [(2, lambda: lab.on("b1", "ip link set eth0 down"))], 6.0


def default_route_changes(p):
    """Both cables stay in; what leaves takes the other one, with another address."""
    second_uplink(p)
    p.actions = [(2, lambda: p.lab.on("b1", "ip route replace default via 192.168.13.1 dev eth1 metric 0"))]


def delayed(p):
    """40 ms of round trip between the homes."""
    p.nats("port-restr", "port-restr")
    for wire in p.lab.wires.values():
        wire.tell("set both delay 10ms")


def lossy(p):
    delayed(p)
    for name in ("gwa", "gwb"):
        p.lab.wires[name].tell("set both loss 2%")
        p.lab.wires[name].tell("set both reorder 1% 5ms")
        p.lab.wires[name].tell("set both duplicate 1%")
        p.lab.wires[name].tell("set both corrupt 0.5%")


def lossy_direct_and_clean_relay(p):
    """The direct way loses one datagram in twenty, the relay nothing: the stream goes where more of it arrives."""
    p.lab.wires["gwa"].tell("set both delay 20ms")
    p.nats("port-restr", "port-restr")
    p.lab.on("inet", "nft -f -", stdin="""table ip lossy {
 chain f { type filter hook forward priority 0; policy accept;
  ip daddr 5.5.5.21 ip saddr 5.5.5.22 meta l4proto udp numgen random mod 100 < 5 drop
 }
}
""")
    p.rate, p.seconds, p.ending = 20_000_000, 12.0, None
    yield
    p.note = f"{p.transfer.bytes / 12e6:.1f} MB/s"


def mtu_hole(p):
    """Pings pass, full datagrams do not, and nobody says so. TCP's segments are clamped, as such links' routers do."""
    delayed(p)
    clamp_tcp(p)
    p.lab.wires["gwa"].tell("set both mtu 1208")
    p.seconds, p.ending, p.most_moves = 12.0, "relay", 0


def clamp_tcp(p):
    p.lab.on("gwa", "ip route change default via 5.5.5.1 dev wan0 src 5.5.5.21 advmss 1100")
    p.lab.on("a1", "ip route change default via 192.168.11.1 advmss 1100")


def mtu_of_1400(p):
    """A tunnel on the way that drops what is larger without a word: the direct path is taken at once and kept."""
    delayed(p)
    clamp_tcp(p)
    p.lab.wires["gwa"].tell("set both mtu 1400")
    p.seconds, p.most_moves = 8.0, 1


def mtu_shrinks(p):
    """The way changes to one through a tunnel, in the middle of the transfer."""
    delayed(p)
    clamp_tcp(p)
    p.actions = [(4, lambda: p.lab.wires["gwa"].tell("set both mtu 1400"))]
    p.seconds, p.most_moves = 8.0, 1


def many_addresses(p):
    """A host with addresses that nobody must be made to probe; its peer's packets are counted."""
    p.nats("port-restr", "port-restr")
    lab = p.lab
    lab.on("a1", "ip link add odd type bridge")
    lab.on("a1", "ip link set odd up")
    forbidden = ("169.254.169.254", "10.9.9.9", "240.0.0.9", "0.0.0.9")
    for address in forbidden + tuple(f"7.7.{i // 200}.{1 + i % 200}" for i in range(1000)):
        lab.on("a1", f"ip addr add {address}/32 dev odd", check=False)
    members = ", ".join(forbidden)
    lab.on("b1", "nft -f -", stdin=f"""table ip watch {{
 chain out {{ type filter hook output priority 0; policy accept;
  meta l4proto udp ip daddr {{ {members} }} counter comment "forbidden"
  meta l4proto udp ip daddr 7.7.0.0/16 counter comment "third"
 }}
}}
""")
    yield
    counts = [int(line.split("packets ")[1].split()[0]) for line in lab.on("b1", "nft list table ip watch").splitlines() if "packets" in line]
    p.note = f"{counts[0]} packets to forbidden addresses, {counts[1]} to third parties"
    if counts[0] or counts[1] > 120:
        raise natlab.Failure(p.note)


WIRED = {"delayed": ("srv", "gwa", "gwb"), "lossy": ("srv", "gwa", "gwb"), "mtu_hole": ("srv", "gwa", "gwb"),
         "mtu_of_1400": ("srv", "gwa", "gwb"), "mtu_shrinks": ("srv", "gwa", "gwb"),
         "lossy_direct_and_clean_relay": ("gwa",)}
PLACES = (same_lan, same_lan_isolated, same_lan_isolated_with_hairpin, home_behind_a_carrier, same_carrier_without_hairpin,
          same_carrier_with_hairpin, port_mapping_by_pcp, port_mapping_by_nat_pmp, port_mapping_by_upnp,
          silent_router, router_reboots, port_mapping_with_a_short_lease, router_maps_and_lets_nothing_in, port_mapping_comes_late, router_names_a_wrong_address, ipv6_on_one_side,
          ipv6_through_two_firewalls, ipv6_black_hole, second_uplink, default_route_changes, delayed, lossy,
          lossy_direct_and_clean_relay, mtu_hole, mtu_of_1400, mtu_shrinks, many_addresses)
WITH_ROUTER = {place.__name__ for place in PLACES if "port_mapping" in place.__name__ or "router" in place.__name__}


def visit(binary, place):
    lab = natlab.Lab(binary, WIRED.get(place.__name__, ()))
    try:
        return travel(lab, place)
    except natlab.Failure as failure:
        print(f"FAIL {place.__name__.replace('_', '-'):32} {failure}", flush=True)
        return False
    finally:
        lab.close()


def travel(lab, place):
    """Runs the place's transfer and prints its line; true: all was as it should be."""
    name = place.__name__
    p = Place(lab)
    steps = place(p)
    if steps is not None:
        next(steps)
    p.transfer = transfer = Transfer(lab, p.seconds, p.rate, p.actions, p.listener, p.sender)
    routes = [text for _, text in transfer.sender.lines if text.startswith("direct") and "rtt=" in text]
    problems = []
    if not transfer.whole:
        problems.append(f"NOT WHOLE, exit {transfer.status}")
    if p.ending is not None and transfer.ending != p.ending:
        problems.append(f"expected {p.ending}")
    if p.route is not None and not (routes and natlab.re.search(p.route, routes[-1])):
        problems.append(f"expected a route with {p.route}, got {routes[-1:] or 'none'}")
    if p.most_moves is not None and len(transfer.words) - 1 > p.most_moves:
        problems.append(f"{len(transfer.words) - 1} moves")
    try:
        if steps is not None:
            next(steps, None)
    except natlab.Failure as failure:
        problems.append(str(failure))
    longest, when = max(transfer.gaps)
    direct = transfer.seconds_to_direct()
    print(f"{'FAIL' if problems else 'ok  '} {name.replace('_', '-'):32} ends {transfer.ending:6} direct after "
          f"{'never   ' if direct is None else f'{direct * 1000:5.0f} ms'}; longest gap {longest * 1000:5.0f} ms at {when:4.1f} s; "
          f"{len(transfer.words) - 1} moves; {transfer.share}{'; ' + p.note if p.note else ''} {'; '.join(problems)}", flush=True)
    if problems or os.environ.get("LAB_VERBOSE"):
        transfer.tell()
        for home in p.routers:
            with open(os.path.join(home.home, "log"), encoding="utf-8") as log:
                print("".join(f"       {line}" for line in log.readlines()[-12:]))
    return not problems


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if reason := natlab.why_not():
        print(f"SKIPPED places: {reason}")
        return 0
    wanted = [name.replace("-", "_") for name in sys.argv[2:]]
    places = [place for place in PLACES if not wanted or place.__name__ in wanted]
    if router.find_daemon() is None:
        print("SKIPPED places with port mapping: no miniupnpd-nftables package")
        places = [place for place in places if place.__name__ not in WITH_ROUTER]
    failed = sum(not visit(sys.argv[1], place) for place in places)
    print(f"{len(places)} places, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(natlab.status_of(main))
