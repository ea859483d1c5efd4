#!/usr/bin/env python3
"""`derphole netcheck` behind one NAT after the other, made with nftables in network namespaces: it must call each by its
name. Everything made here is removed at exit. Needs root, iproute2 and nftables."""
import atexit
import json
import os
import shutil
import subprocess
import sys

from support import Failure, World, expect, run_tests

BINARY = os.path.abspath(sys.argv[1])
PREFIX = f"dhn{os.getpid()}"
OUTSIDE, INSIDE = "5.5.5.21", "192.168.11.2"


def ip(*args):
    subprocess.run(["ip", *args], check=True, capture_output=True)


class Lab:
    """srv (relay and STUN on two addresses) -- gw (the NAT under test) -- host (behind it)."""

    def __init__(self, rules, sysctls=()):
        self.srv, self.gw, self.host = (f"{PREFIX}-{name}" for name in ("srv", "gw", "host"))
        atexit.register(self.close)
        for name in (self.srv, self.gw, self.host):
            ip("netns", "add", name)
            for knob in ("ipv6/conf/all/accept_dad=0", "ipv6/conf/default/accept_dad=0", *sysctls):
                path, value = knob.split("=")
                self.run(name, "sh", "-c", f"echo {value} > /proc/sys/net/{path}")
            ip("-n", name, "link", "set", "lo", "up")
        self.wire(self.srv, "eth0", ("5.5.5.10/24", "5.5.5.11/24", "2001:db8:5::10/64", "2001:db8:5::11/64"),
                  self.gw, "wan0", (f"{OUTSIDE}/24", "2001:db8:5::21/64"))
        self.wire(self.gw, "lan0", ("192.168.11.1/24", "2001:db8:11::1/64"), self.host, "eth0",
                  (f"{INSIDE}/24", "2001:db8:11::2/64"))
        ip("-n", self.host, "route", "add", "default", "via", "192.168.11.1")
        ip("-n", self.host, "-6", "route", "add", "default", "via", "2001:db8:11::1")
        ip("-n", self.srv, "-6", "route", "add", "2001:db8:11::/64", "via", "2001:db8:5::21")
        for path in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            self.run(self.gw, "sh", "-c", f"echo 1 > /proc/sys/net/{path}")
        subprocess.run(["ip", "netns", "exec", self.gw, "nft", "-f", "-"], input=rules, text=True, check=True,
                       capture_output=True)

    @staticmethod
    def run(name, *command):
        subprocess.run(["ip", "netns", "exec", name, *command], check=True, capture_output=True)

    @staticmethod
    def wire(left, left_name, left_addresses, right, right_name, right_addresses):
        ip("link", "add", left_name, "netns", left, "type", "veth", "peer", "name", right_name, "netns", right)
        for name, device, addresses in ((left, left_name, left_addresses), (right, right_name, right_addresses)):
            for address in addresses:
                ip("-n", name, "addr", "add", address, "dev", device)
            ip("-n", name, "link", "set", device, "up")

    def relay(self, world, *args):
        process = world.start("relay", *args, prefix=["ip", "netns", "exec", self.srv])
        found, _ = process.wait_line(r"--derp-server '(\S+)'")
        return found[1]

    def ipv4_relay(self, world):
        return self.relay(world, "--listen", "5.5.5.10:8443", "--stun", "5.5.5.10:3478,5.5.5.11:3479")

    def close(self):
        for name in (self.srv, self.gw, self.host):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


def netcheck(world, where, *args, status=0, as_json=True):
    """Runs it in a namespace; its report, or its text."""
    command = ["ip", "netns", "exec", where, BINARY, "netcheck", *args, *(["--json"] if as_json else [])]
    env = {k: v for k, v in os.environ.items() if not k.startswith("DERPHOLE_") and k.lower() != "https_proxy"}
    done = subprocess.run(command, env={**env, **world.env}, capture_output=True, text=True, timeout=20, check=False)
    expect(done.returncode == status, f"netcheck ended with {done.returncode}, not {status}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout) if as_json else done.stdout


def firewall(before="", lan='iifname "lan0" accept', after="ct status dnat accept"):
    """A stateful gateway: what is not asked for stays out."""
    return f"""
table inet fw {{
  chain input {{ type filter hook input priority filter; policy drop;
    ct state established,related accept
    iif lo accept
    iifname "lan0" accept
    meta l4proto {{ icmp, icmpv6 }} accept
  }}
  chain forward {{ type filter hook forward priority filter; policy drop;
    {before}
    ct state established,related accept
    meta l4proto icmpv6 accept
    {lan}
    {after}
  }}
}}
"""


def nat(post="", pre=""):
    return f"""
table ip nat {{
  chain prerouting {{ type nat hook prerouting priority dstnat; policy accept;
    {pre}
  }}
  chain postrouting {{ type nat hook postrouting priority srcnat; policy accept;
    {post}
  }}
}}
"""


def cone(restriction="", hairpin=False):
    """Endpoint-independent filtering, learnt from what goes out; with a restriction, address-dependent."""
    wan = "" if hairpin else 'iifname "wan0"'
    loop = f'ip saddr 192.168.11.0/24 oifname "lan0" ct status dnat snat to {OUTSIDE}' if hairpin else ""
    return f"""
table ip nat {{
  map fc {{ type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 60s; size 65535; }}
  set ok {{ type ipv4_addr . inet_service; flags dynamic,timeout; timeout 60s; size 65535; }}
  chain learn {{ type filter hook postrouting priority 150; policy accept;
    oifname "wan0" ip saddr {OUTSIDE} meta l4proto udp ct direction original update @fc {{ udp sport : ct original ip saddr . ct original proto-src }}
    oifname "wan0" ip saddr {OUTSIDE} meta l4proto udp update @ok {{ ip daddr . udp sport }}
  }}
  chain prerouting {{ type nat hook prerouting priority dstnat; policy accept;
    {wan} ip daddr {OUTSIDE} meta l4proto udp {restriction} dnat ip to udp dport map @fc
  }}
  chain postrouting {{ type nat hook postrouting priority srcnat; policy accept;
    {loop}
    oifname "wan0" masquerade
  }}
}}
"""


# A router that speaks NAT-PMP (RFC 6886): says yes, with the outer address given, and prints each mapping request.
NAT_PMP_ROUTER = """
import socket, struct, sys
outer = socket.inet_aton(sys.argv[1])
router = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
router.bind(("192.168.11.1", 5351))
print("ready", file=sys.stderr, flush=True)
while True:
    request, client = router.recvfrom(1500)
    if request[:2] == bytes(2):
        router.sendto(struct.pack("!BBHI", 0, 128, 0, 9) + outer, client)
    elif request[:2] == bytes((0, 1)) and len(request) == 12:
        inside, outside, lifetime = struct.unpack("!HHI", request[4:])
        print("map", inside, lifetime, file=sys.stderr, flush=True)
        router.sendto(struct.pack("!BBHIHHI", 0, 129, 0, 9, inside, inside if lifetime else 0, lifetime), client)
"""

MASQUERADE = 'oifname "wan0" masquerade'
TCP_TOO = f"\n    {MASQUERADE}"  # rules about UDP ports leave TCP to this one
COUNTED = ", ".join(f"{i} : {40000 + i}" for i in range(1000))
STABLE, SYMMETRIC = "endpoint-independent", "address-and-port-dependent"
OPEN, STRICT = "endpoint-independent", "address-and-port-dependent"

# name: (rules of the gateway, what netcheck must say of IPv4)
NATS = {
    "port_restricted": (
        firewall() + nat(MASQUERADE),
        dict(nat="port-restricted", mapping=STABLE, filtering=STRICT, ports="preserved", hairpin=False, verdict="easy")),
    "one_to_one": (
        firewall() + nat(f'oifname "wan0" snat to {OUTSIDE}',
                         f'iifname "wan0" meta l4proto {{ udp, icmp }} dnat to {INSIDE}'),
        dict(nat="full cone", mapping=STABLE, filtering=OPEN, ports="preserved", hairpin=False, verdict="open", proven=True)),
    "one_to_one_with_firewall": (
        firewall(after="") + nat(f'oifname "wan0" snat to {OUTSIDE}',
                                 f'iifname "wan0" meta l4proto {{ udp, icmp }} dnat to {INSIDE}'),
        dict(nat="port-restricted", mapping=STABLE, filtering=STRICT, ports="preserved", verdict="easy")),
    "full_cone": (
        firewall() + cone(),
        dict(nat="full cone", mapping=STABLE, filtering=OPEN, hairpin=False, verdict="open", proven=True)),
    "full_cone_with_hairpin": (
        firewall() + cone(hairpin=True),
        dict(nat="full cone", mapping=STABLE, filtering=OPEN, hairpin=True, verdict="open", proven=True)),
    "address_restricted": (
        firewall() + cone("ip saddr . udp dport @ok"),
        dict(nat="address-restricted", mapping=STABLE, filtering="address-dependent", verdict="open", proven=False)),
    "symmetric_random": (
        firewall() + nat('oifname "wan0" meta l4proto udp masquerade fully-random' + TCP_TOO),
        dict(nat="symmetric, random ports", mapping=SYMMETRIC, filtering=STRICT, ports="random", verdict="hard")),
    "symmetric_in_a_range": (
        firewall() + nat('oifname "wan0" meta l4proto udp masquerade to :40000-60000 fully-random' + TCP_TOO),
        dict(nat="symmetric, random ports", mapping=SYMMETRIC, filtering=STRICT, ports="random", verdict="hard")),
    "symmetric_sequential": (
        firewall() + nat('oifname "wan0" meta l4proto udp masquerade to :numgen inc mod 1000 map { ' + COUNTED + " }" + TCP_TOO),
        dict(nat="symmetric, sequential ports", mapping=SYMMETRIC, filtering=STRICT, ports="sequential", stride=1,
             verdict="hard")),
    "address_dependent": (
        firewall() + nat('oifname "wan0" meta l4proto udp masquerade to :jhash ip saddr . udp sport . ip daddr mod 20000 '
                         "seed 0x11 offset 40000" + TCP_TOO),
        dict(mapping="address-dependent", filtering=STRICT, verdict="hard")),
    "stable_but_changed_port": (
        firewall() + nat('oifname "wan0" meta l4proto udp masquerade to :jhash ip saddr . udp sport mod 20000 '
                         "seed 0x11 offset 40000" + TCP_TOO),
        dict(nat="port-restricted", mapping=STABLE, filtering=STRICT, ports="stable", hairpin=False, verdict="easy")),
    "provider_port_block": (
        firewall() + nat('oifname "wan0" meta l4proto udp masquerade to :20000-21023' + TCP_TOO),
        dict(nat="port-restricted", mapping=STABLE, filtering=STRICT, verdict="easy")),
    "udp_blocked": (
        firewall("meta l4proto udp drop") + nat(MASQUERADE),
        dict(state="silent", nat="unknown", verdict="relay-only")),
    "udp_rejected": (
        firewall("ip protocol udp reject with icmp type admin-prohibited") + nat(MASQUERADE),
        dict(state="silent", nat="unknown", verdict="relay-only")),
    "stun_port_only": (
        firewall(lan='iifname "lan0" meta l4proto tcp accept; iifname "lan0" udp dport { 53, 3478 } accept') + nat(MASQUERADE),
        dict(state="works", other_ports=False, verdict="suspicious", proven=False)),
    "udp_out_and_no_tcp": (
        firewall("meta l4proto tcp drop") + nat(MASQUERADE),
        dict(state="works", nat="port-restricted", verdict="relay-unreachable")),
}


def check_nat(name):
    rules, expected = NATS[name]
    with Lab(rules) as lab, World(BINARY) as world:
        report = netcheck(world, lab.host, "--derp-server", lab.ipv4_relay(world))
        found = {**report["ipv4"], "verdict": report["verdict"], "proven": report["proven"]}
        for key, value in expected.items():
            expect(found[key] == value, f"{key} is {found[key]!r}, not {value!r}: {json.dumps(report)}")
        expect(report["seconds"] <= 3.2, f"it took {report['seconds']} s")
        return f"{found['nat']}, {report['verdict']}, {report['seconds']:.2f} s"


def make_test(name):
    def test():
        return check_nat(name)
    test.__name__ = "test_" + name
    return test


def test_public_host():
    """No NAT at all: first without, then with a firewall on the host itself."""
    notes = []
    for rules, name in (("", "none, no firewall"), (firewall(), "none, but a firewall")):
        with Lab(rules) as lab, World(BINARY) as world:
            report = netcheck(world, lab.gw, "--derp-server", lab.ipv4_relay(world))
            expect(report["ipv4"]["nat"] == name, f"{name} is called {report['ipv4']['nat']}")
            expect(report["ipv4"]["translated"] is False, "a public address is called a NAT")
            notes.append(report["verdict"])
    expect(notes == ["open", "easy"], f"verdicts {notes}")


def test_ipv6_with_a_firewall():
    """Both families at once: IPv6 needs no NAT, and its firewall is told apart."""
    with Lab(firewall() + nat(MASQUERADE)) as lab, World(BINARY) as world:
        six = lab.relay(world, "--listen", "[2001:db8:5::10]:8444", "--stun", "[2001:db8:5::10]:3478,[2001:db8:5::11]:3479")
        report = netcheck(world, lab.host, "--derp-server", lab.ipv4_relay(world), "--derp-server", six)
        expect(report["ipv6"]["nat"] == "none, but a firewall", json.dumps(report))
        expect(report["ipv4"]["nat"] == "port-restricted", json.dumps(report))
        expect(report["peers"]["ipv6"] == "direct", json.dumps(report["peers"]))


def check_router(outer):
    """Port-restricted, with a router that maps ports at `outer`."""
    with Lab(firewall() + nat(MASQUERADE)) as lab, World(BINARY) as world:
        router = world.start_other(["ip", "netns", "exec", lab.gw, sys.executable, "-c", NAT_PMP_ROUTER, outer])
        router.wait_line("ready")
        report = netcheck(world, lab.host, "--derp-server", lab.ipv4_relay(world))
        port = report["ipv4"]["local_port"]
        expect(report["port_mapping"] == {"pcp": False, "nat_pmp": True, "upnp": False, "external": f"{outer}:{port}"},
               json.dumps(report))
        router.wait_line(f"map {port} [1-9]", 1)
        router.wait_line(f"map {port} 0", 1)  # deleted again
        return report


def test_a_router_that_maps_ports():
    report = check_router(OUTSIDE)
    expect((report["verdict"], report["proven"], report["double_nat"]) == ("open", False, False), json.dumps(report))


def test_two_nats_in_a_row():
    report = check_router("100.64.0.2")
    expect((report["verdict"], report["double_nat"]) == ("easy", True), json.dumps(report))
    expect(any("Two NATs" in text for text in report["advice"]), json.dumps(report["advice"]))


def test_nothing_answers():
    with Lab(firewall('iifname "lan0" drop')) as lab, World(BINARY) as world:
        server = lab.ipv4_relay(world)
        report = netcheck(world, lab.host, "--derp-server", server, status=8)
        expect(report["verdict"] == "no-network", json.dumps(report))
        text = netcheck(world, lab.host, "--derp-server", server, status=8, as_json=False)
        expect(text.startswith("No network"), text)
        return f"{report['seconds']:.2f} s"


def test_one_lost_packet_in_five():
    """Loss does not turn a good network into a bad one. What answers to every try were lost of stays unknown: which
    packet is the fifth depends on the moment."""
    lossy = 'chain lossy { type filter hook forward priority -10; policy accept; meta l4proto udp numgen inc mod 5 == 0 drop; }'
    rules = firewall() + nat(MASQUERADE) + f"table inet lossy {{\n{lossy}\n}}\n"
    with Lab(rules) as lab, World(BINARY) as world:
        report = netcheck(world, lab.host, "--derp-server", lab.ipv4_relay(world))
        expect(report["ipv4"]["nat"] in ("port-restricted", "easy (same mapping for all), filter unknown"), json.dumps(report))
        expect((report["verdict"], report["ipv4"]["mapping"]) == ("easy", STABLE), json.dumps(report))


def test_what_a_person_sees():
    with Lab(firewall() + nat(MASQUERADE)) as lab, World(BINARY) as world:
        text = netcheck(world, lab.host, "--derp-server", lab.ipv4_relay(world), as_json=False)
        for words in ("Direct connections should work with most peers", "NAT            port-restricted",
                      f"seen as      {OUTSIDE}:", "5.5.5.10:8443"):
            expect(words in text, f"{words!r} is missing:\n{text}")
        expect(all(len(line) <= 160 for line in text.splitlines()), "a line is too long:\n" + text)
        if os.environ.get("DERPHOLE_SHOW"):
            print(text)


if __name__ == "__main__":
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("nft"):
        print("SKIPPED netcheck behind NATs: needs root, iproute2 and nftables")
        sys.exit(0)
    try:
        sys.exit(run_tests([*(make_test(name) for name in NATS),
                            *(value for name, value in list(globals().items()) if name.startswith("test_"))]))
    except Failure as failure:
        sys.exit(str(failure))
