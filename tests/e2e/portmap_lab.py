#!/usr/bin/env python3
"""Port mapping against the real miniupnpd: a LAN host, its router and a WAN host in namespaces of their own, removed at
exit. First argument: the built bench_port_map_tool. Needs root; downloads (never installs) the router's package once."""
import atexit
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lab"))
from router import find_daemon  # noqa: E402
from support import Failure, Process, expect, run_tests

TOOL = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else ""
DERPHOLE = os.path.join(os.path.dirname(TOOL), "..", "derphole")
PREFIX = f"dhpm{os.getpid()}"
PORT = 41641

RULES = """
table inet filter {
  chain miniupnpd { }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
  chain broken { type filter hook input priority -10; policy accept; }
  chain input { type filter hook input priority filter; policy drop;
    iif lo accept
    iifname "lan0" accept
    ct state established,related accept
    meta l4proto icmpv6 accept
  }
  chain forward { type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "lan0" accept
    jump miniupnpd
  }
  chain prerouting { type nat hook prerouting priority dstnat; policy accept;
    jump prerouting_miniupnpd
  }
  chain postrouting { type nat hook postrouting priority srcnat; policy accept;
    jump postrouting_miniupnpd
    meta nfproto ipv4 oifname "wan0" masquerade
  }
}
"""
NO_PCP = "udp dport 5351 @th,64,8 2 drop"
NO_NAT_PMP = "udp dport 5351 @th,64,8 0 drop"
NO_UPNP = "udp dport 1900 drop"
NO_MULTICAST = "ip daddr 239.255.255.250 drop"
NO_UNICAST = "ip daddr 192.168.11.1 udp dport 1900 drop"


def run(*args, text=None):
    return subprocess.run(args, check=True, capture_output=True, text=True, input=text).stdout


class Lan:
    """a1 192.168.11.2 -- router 192.168.11.1 | 5.5.5.21 -- srv 5.5.5.10, IPv6 beside it."""

    def __init__(self, *broken, ipv6=False):
        self.host, self.router, self.server = (f"{PREFIX}-{name}" for name in ("a1", "gw", "srv"))
        self.dir = tempfile.mkdtemp(prefix="derphole-portmap-")
        self.daemon = None
        self.tools = []
        atexit.register(self.close)
        for name in (self.host, self.router, self.server):
            run("ip", "netns", "add", name)
            self.inside(name, "sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0")
            run("ip", "-n", name, "link", "set", "lo", "up")
        for left, name, right, other in ((self.host, "eth0", self.router, "lan0"), (self.server, "eth0", self.router, "wan0")):
            run("ip", "link", "add", name, "netns", left, "type", "veth", "peer", "name", other, "netns", right)
        for name, device, addresses in ((self.host, "eth0", ("192.168.11.2/24", "2001:db8:11::2/64")),
                                        (self.router, "lan0", ("192.168.11.1/24", "2001:db8:11::1/64")),
                                        (self.router, "wan0", ("5.5.5.21/24", "2001:db8:5::21/64")),
                                        (self.server, "eth0", ("5.5.5.10/24", "2001:db8:5::10/64"))):
            for address in addresses:
                run("ip", "-n", name, "addr", "add", address, "dev", device)
            run("ip", "-n", name, "link", "set", device, "up")
        self.inside(self.router, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        run("ip", "-n", self.host, "route", "add", "default", "via", "192.168.11.1")
        run("ip", "-n", self.host, "-6", "route", "add", "default", "via", "2001:db8:11::1")
        run("ip", "-n", self.server, "-6", "route", "add", "default", "via", "2001:db8:5::21")
        run("ip", "netns", "exec", self.router, "nft", "-f", "-", text=RULES)
        for rule in broken:
            self.inside(self.router, "nft", "add", "rule", "inet", "filter", "broken", *rule.split())
        self.leases = os.path.join(self.dir, "leases")
        self.config = os.path.join(self.dir, "conf")
        with open(self.config, "w", encoding="ascii") as file:
            file.write(f"ext_ifname=wan0\nlistening_ip=lan0\nhttp_port=5000\nenable_natpmp=yes\nenable_upnp=yes\n"
                       f"{'' if ipv6 else 'ipv6_disable=yes'}\nsecure_mode=yes\nmin_lifetime=5\nmax_lifetime=7200\n"
                       f"lease_file={self.leases}\nuuid=6c2ea3a8-0000-4000-8000-0242ac110002\n"
                       "allow 1024-65535 192.168.11.0/24 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n")
        self.start_daemon()

    @staticmethod
    def inside(namespace, *args):
        return run("ip", "netns", "exec", namespace, *args)

    def start_daemon(self):
        log = open(os.path.join(self.dir, "log"), "ab")
        self.daemon = subprocess.Popen(["ip", "netns", "exec", self.router, DAEMON, "-d", "-f", self.config, "-P",
                                        os.path.join(self.dir, "pid")], stdout=log, stderr=log)
        deadline = time.monotonic() + 5
        while ":5351" not in self.inside(self.router, "ss", "-uln") and time.monotonic() < deadline:
            expect(self.daemon.poll() is None, "miniupnpd ended: see its log in " + self.dir)
            time.sleep(0.05)

    def stop_daemon(self):
        self.daemon.terminate()
        self.daemon.wait(10)

    def lose_power(self):
        """What a reboot leaves of the router's mappings: neither rules nor leases."""
        self.stop_daemon()
        for chain in ("miniupnpd", "prerouting_miniupnpd", "postrouting_miniupnpd"):
            self.inside(self.router, "nft", "flush", "chain", "inet", "filter", chain)
        if os.path.exists(self.leases):
            os.remove(self.leases)

    def tool(self, *args):
        process = Process([TOOL, str(PORT), *args], stdin=subprocess.PIPE, prefix=["ip", "netns", "exec", self.host])
        self.tools.append(process)
        return process

    def mappings(self):
        """What the router's firewall forwards now, as text."""
        return self.inside(self.router, "nft", "list", "ruleset")

    def is_mapped(self):
        return re.search(rf"dnat.*192\.168\.11\.2:{PORT}", self.mappings()) is not None

    def delivers(self, external, family=socket.AF_INET):
        """Whether one datagram from the WAN reaches the mapped port of the host."""
        address, port = external.rsplit(":", 1)
        receiver = in_namespace(self.host, lambda: socket.socket(family, socket.SOCK_DGRAM))
        sender = in_namespace(self.server, lambda: socket.socket(family, socket.SOCK_DGRAM))
        with receiver, sender:
            receiver.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", PORT))
            receiver.settimeout(0.5)
            for _ in range(4):
                sender.sendto(b"knock", (address.strip("[]"), int(port)))
                try:
                    return receiver.recv(100) == b"knock"
                except TimeoutError:
                    continue
        return False

    def close(self):
        for process in self.tools:
            process.kill()
        if self.daemon and self.daemon.poll() is None:
            self.stop_daemon()
        for name in (self.host, self.router, self.server):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


def in_namespace(name, make):
    """Runs `make` in a thread inside the namespace; a socket stays where it was made."""
    result = []

    def work():
        with open(f"/run/netns/{name}", encoding="ascii") as file:
            os_setns(file.fileno())
        result.append(make())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return result[0]


def os_setns(fd):
    import ctypes
    expect(ctypes.CDLL(None, use_errno=True).setns(fd, 0x40000000) == 0, "setns failed")


def check_mapping(lan, protocol, seconds):
    """Maps, sees the rule and an inbound datagram, stops, sees both gone."""
    tool = lan.tool()
    found, when = tool.wait_line(r"^mapping (5\.5\.5\.21:\d+) by (\S+);(.*)$", 10)
    took = when - tool.started
    expect(found[2] == protocol, f"mapped by {found[2]}, not {protocol}")
    expect(took < seconds, f"mapping took {took:.1f} s")
    expect(lan.is_mapped(), f"the router has no such rule:\n{lan.mappings()}")
    expect(lan.delivers(found[1]), f"nothing came in by {found[1]}")
    stopping = time.monotonic()
    tool.child.stdin.close()
    _, stopped = tool.wait_line("^stopped$", 5)
    tool.finish(5)
    expect(not lan.is_mapped(), f"still mapped after the end:\n{lan.mappings()}")
    return f"{found[1]} in {took * 1000:.0f} ms, gone in {(stopped - stopping) * 1000:.0f} ms;{found[3]}"


def test_pcp_is_taken_where_everything_answers():
    with Lan() as lan:
        return check_mapping(lan, "PCP", 1)


def test_pcp_alone():
    with Lan(NO_NAT_PMP, NO_UPNP) as lan:
        return check_mapping(lan, "PCP", 1)


def test_nat_pmp_alone():
    with Lan(NO_PCP, NO_UPNP) as lan:
        return check_mapping(lan, "NAT-PMP", 1)


def test_upnp_alone():
    with Lan(NO_PCP, NO_NAT_PMP) as lan:
        return check_mapping(lan, "UPnP", 4)


def test_upnp_of_a_router_that_answers_only_multicast():
    with Lan(NO_PCP, NO_NAT_PMP, NO_UNICAST) as lan:
        return check_mapping(lan, "UPnP", 4)


def test_upnp_of_a_router_that_answers_only_unicast():
    with Lan(NO_PCP, NO_NAT_PMP, NO_MULTICAST) as lan:
        return check_mapping(lan, "UPnP", 4)


def test_a_silent_router_is_given_up():
    with Lan(NO_PCP, NO_NAT_PMP, NO_UPNP) as lan:
        tool = lan.tool()
        _, when = tool.wait_line(r"^mapping none by nobody; *", 10)
        expect(not lan.is_mapped(), "mapped after all")
        tool.child.stdin.close()
        tool.finish(5)
        return f"after {when - tool.started:.1f} s"


def test_a_restarted_router_is_asked_again():
    with Lan() as lan:
        tool = lan.tool()
        tool.wait_line(r"^mapping 5\.5\.5\.21:\d+ by PCP", 10)
        time.sleep(4)  # its epoch has to have something to lose
        lan.lose_power()
        expect(not lan.is_mapped(), "the router kept its mappings over a restart")
        seen = len(tool.lines)
        started = time.monotonic()
        lan.start_daemon()
        deadline = started + 75
        while not any(text and text.startswith("mapping 5.5.5.21") for _, text in tool.lines[seen:]):
            expect(time.monotonic() < deadline, f"not mapped again; it said:\n{tool.stderr()}")
            time.sleep(0.05)
        expect(lan.is_mapped(), "the router has no such rule")
        tool.child.stdin.close()
        tool.finish(5)
        return f"mapped again {time.monotonic() - started:.1f} s after the restart"


def test_pcp_opens_the_ipv6_firewall():
    with Lan(ipv6=True) as lan:
        tool = lan.tool("6")
        found, _ = tool.wait_line(r"^mapping (\[2001:db8:11::2\]:\d+) by PCP", 10)
        expect(lan.delivers(found[1], socket.AF_INET6), f"nothing came in by {found[1]}")
        tool.child.stdin.close()
        tool.wait_line("^stopped$", 5)
        tool.finish(5)
        expect(not lan.delivers(found[1], socket.AF_INET6), "the pinhole is still open")
        return found[1]


def test_netcheck_names_all_three_protocols():
    with Lan() as lan:
        checked = subprocess.run(["ip", "netns", "exec", lan.host, DERPHOLE, "netcheck", "--json", "--derp-server", "https://5.5.5.10:9"],
                                 capture_output=True, text=True, check=False, timeout=20)
        found = json.loads(checked.stdout)["port_mapping"]
        expect(found["pcp"] and found["nat_pmp"] and found["upnp"], checked.stdout)
        expect(found["external"].startswith("5.5.5.21:"), checked.stdout)
        expect("dnat" not in lan.mappings(), f"still mapped after the end:\n{lan.mappings()}")
        return found["external"]


if __name__ == "__main__":
    DAEMON = find_daemon()
    missing = [name for name in ("ip", "nft", "ss") if not shutil.which(name)]
    if os.geteuid() != 0 or missing or DAEMON is None:
        why = "no root" if os.geteuid() != 0 else f"no {' '.join(missing)}" if missing else "no miniupnpd-nftables package"
        print(f"SKIPPED port mapping against miniupnpd: {why}")
        sys.exit(0)
    try:
        sys.exit(run_tests([value for name, value in list(globals().items()) if name.startswith("test_")]))
    except Failure as failure:
        sys.exit(str(failure))
