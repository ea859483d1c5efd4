"""Two homes behind NATs and an internet between them, in network namespaces of their own (root).

    srv 5.5.5.10, 5.5.5.11 --+                        +-- gwa 5.5.5.21 | 192.168.11.1 -- a1 192.168.11.2
                             +-- inet (a router) -----+
                                                      +-- gwb 5.5.5.22 | 192.168.12.1 -- b1 192.168.12.2

Names carry the process id; everything is gone at exit, whatever the exit. docs/lab.md names each NAT in RFC 4787's words.
"""
import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

# Behind our own directory: there is a transfer.py in both.
sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "e2e"))
from support import Failure  # noqa: E402

NAMES = ("inet", "srv", "gwa", "gwb", "a1", "b1")
RELAYS = ("5.5.5.10", "5.5.5.11")
GATEWAYS = {"a": ("gwa", "5.5.5.21", "192.168.11"), "b": ("gwb", "5.5.5.22", "192.168.12")}

FIREWALL = """table inet fw {
  chain input { type filter hook input priority filter; policy drop;
    ct state established,related accept
    iif lo accept
    iifname "lan0" accept
    icmp type echo-request accept
    meta l4proto icmpv6 accept
  }
  chain forward { type filter hook forward priority filter; policy drop;
    UDP
    ct state established,related accept
    iifname "lan0" accept
    INBOUND
  }
}
"""
NAT = """table ip nat {
  chain prerouting { type nat hook prerouting priority dstnat; policy accept;
    PRE
  }
  chain postrouting { type nat hook postrouting priority srcnat; policy accept;
    POST
    oifname "wan0" masquerade
  }
}
"""
# Learns mappings after source NAT, so that a later packet from anybody (full cone) or from a known address finds in.
CONE = """table ip nat {
  map fc { type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 60s; size 65535; }
  set ok { type ipv4_addr . inet_service; flags dynamic,timeout; timeout 60s; size 65535; }
  chain learn { type filter hook postrouting priority 150; policy accept;
    oifname "wan0" ip saddr PUB meta l4proto udp ct direction original update @fc { udp sport : ct original ip saddr . ct original proto-src }
    oifname "wan0" ip saddr PUB meta l4proto udp update @ok { ip daddr . udp sport }
  }
  chain prerouting { type nat hook prerouting priority dstnat; policy accept;
    iifname FROM ip daddr PUB meta l4proto udp KNOWN dnat ip to udp dport map @fc
  }
  chain postrouting { type nat hook postrouting priority srcnat; policy accept;
    oifname "lan0" ct status dnat ip saddr { 192.168.0.0/16, 100.64.0.0/10 } snat to PUB
    oifname "wan0" masquerade
  }
}
"""
COUNTING = ", ".join(f"{i} : {40000 + i}" for i in range(1000))  # numgen itself would count in the wrong byte order


def rules(kind, public, inside):
    """The nft ruleset of one gateway."""
    def firewall(inbound="ct status dnat accept", udp=""):
        return FIREWALL.replace("INBOUND", inbound).replace("UDP", udp)

    def nat(pre="", post=""):
        return NAT.replace("PRE", pre).replace("POST", post)

    def cone(known="", hairpin=False):
        arrives = '{ "wan0", "lan0" }' if hairpin else '"wan0"'
        return firewall() + CONE.replace("PUB", public).replace("KNOWN", known).replace("FROM", arrives)
    one_to_one = nat(f'iifname "wan0" meta l4proto {{ udp, icmp }} dnat to {inside}', f'oifname "wan0" snat to {public}')
    udp = 'oifname "wan0" meta l4proto udp masquerade'
    return {
        "1:1": lambda: firewall() + one_to_one,
        "1:1+fw": lambda: firewall("") + one_to_one,
        "full-cone": cone,
        "hairpin": lambda: cone(hairpin=True),
        "addr-restr": lambda: cone("ip saddr . udp dport @ok"),
        "port-restr": lambda: firewall() + nat(),
        "adm": lambda: firewall() + nat(post=f"{udp} to :jhash ip saddr . udp sport . ip daddr mod 20000 seed 0x11 offset 40000"),
        "sym-seq": lambda: firewall() + nat(post=f"{udp} to :numgen inc mod 1000 map {{ {COUNTING} }}"),
        "sym-rand": lambda: firewall() + nat(post=f"{udp} fully-random"),
        "blocked": lambda: firewall(udp="meta l4proto udp drop") + nat(),
        "naive": lambda: nat(),
    }[kind]()


def run(command, check=True, stdin=None):
    result = subprocess.run(command, shell=True, capture_output=True, text=True, input=stdin)
    if check and result.returncode != 0:
        raise Failure(f"{command}: {result.stderr.strip()[:2000]}")
    return result.stdout


def status_of(main):
    """For sys.exit(): main's status, or one line about the lab that did not do as it was told."""
    try:
        return main()
    except Failure as failure:
        return f"lab: {failure}"


def why_not():
    """Why the lab cannot run here; empty when it can."""
    if os.geteuid() != 0:
        return "it needs root"
    missing = [tool for tool in ("ip", "nft", "conntrack") if shutil.which(tool) is None]
    return "these programs are missing: " + ", ".join(missing) if missing else ""


class Process:
    """A program in a namespace, its stderr lines with the time each came."""

    def __init__(self, lab, host, args, **kwargs):
        home = os.path.join(lab.dir, host)
        os.makedirs(home, exist_ok=True)
        env = {k: v for k, v in os.environ.items() if not k.startswith("DERPHOLE_")}
        env.update(HOME=home, XDG_STATE_HOME=home, XDG_CACHE_HOME=home)
        self.child = subprocess.Popen(["ip", "netns", "exec", lab.ns(host), *args], env=env, stderr=subprocess.PIPE, **kwargs)
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        lab.children.append(self.child)

    def _read(self):
        for raw in self.child.stderr:
            self.lines.append((time.monotonic(), raw.decode(errors="replace").strip()))

    def wait_for(self, pattern, timeout=10):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for _, text in list(self.lines):
                found = re.search(pattern, text)
                if found:
                    return found
            time.sleep(0.01)
        raise Failure(f"no line like {pattern} came; got:\n" + "\n".join(text for _, text in list(self.lines)))

    def first(self, pattern):
        return next((when for when, text in list(self.lines) if re.search(pattern, text)), None)


class Wire:
    """lab_wire: a link with delay, loss, rate and MTU, in the place of a veth pair."""

    def __init__(self, lab, left, right):
        program = os.path.join(os.path.dirname(lab.binary), "lab", "lab_wire")
        self.child = subprocess.Popen([program, "--a", left, "--b", right], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        lab.children.append(self.child)
        if (answer := self.child.stdout.readline().strip()) != "ready":
            raise Failure(f"lab_wire said: {answer}")

    def tell(self, command):
        self.child.stdin.write(command + "\n")
        self.child.stdin.flush()
        if (answer := self.child.stdout.readline().strip()).startswith("error"):
            raise Failure(f"lab_wire said to {command}: {answer}")
        return answer


class Lab:
    """`wires`: links to the internet (srv, gwa, gwb) that are a Wire instead of a veth pair."""

    def __init__(self, binary, wires=()):
        self.binary = os.path.abspath(binary)
        self.names = []
        self.wires = dict.fromkeys(wires)
        self.prefix = f"dhl{os.getpid()}"
        self.dir = tempfile.mkdtemp(prefix="derphole-lab-")
        self.children = []
        self.relays = []
        atexit.register(self.close)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: sys.exit(130))
        self.build()
        self.servers = [self.start_relay(address) for address in RELAYS]

    def ns(self, name):
        return f"{self.prefix}-{name}"

    def on(self, name, command, check=True, stdin=None):
        return run(f"ip netns exec {self.ns(name)} {command}", check, stdin)

    def build(self):
        for name in NAMES:
            self.add_host(name)
        self.link("srv", "eth0", RELAYS)
        for gateway, public, lan in GATEWAYS.values():
            self.link(gateway, "wan0", (public,))
            self.add_lan(gateway, lan)
            self.plug(gateway, {"gwa": "a1", "gwb": "b1"}[gateway], lan, 2)

    def add_host(self, name):
        run(f"ip netns add {self.ns(name)}")
        self.names.append(name)
        self.on(name, "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.disable_ipv6=1")
        self.on(name, "ip link set lo up")

    def add_lan(self, gateway, lan):
        self.on(gateway, "ip link add lan0 type bridge")
        self.on(gateway, "sysctl -qw net.bridge.bridge-nf-call-iptables=0", check=False)  # a switch is no router
        self.on(gateway, f"ip addr add {lan}.1/24 dev lan0")
        self.on(gateway, "ip link set lan0 up")

    def plug(self, gateway, host, lan, number, device="eth0", metric=0):
        """A cable from the host to a port of the gateway's switch."""
        port = f"{host}-{device}"
        run(f"ip link add {port} netns {self.ns(gateway)} type veth peer name {device} netns {self.ns(host)}")
        self.on(gateway, f"ip link set {port} master lan0 up")
        self.on(host, f"ip addr add {lan}.{number}/24 dev {device}")
        self.on(host, f"ip link set {device} up")
        self.on(host, f"ip route add default via {lan}.1 dev {device} metric {metric}")

    def link(self, name, device, addresses):
        """A routed link to the internet: whatever crosses it loses a hop, as outside."""
        if name in self.wires:
            self.wires[name] = Wire(self, f"{self.ns(name)}:{device}", f"{self.ns('inet')}:p-{name}")
        else:
            run(f"ip link add {device} netns {self.ns(name)} type veth peer name p-{name} netns {self.ns('inet')}")
        self.on("inet", f"ip addr add 5.5.5.1/32 dev p-{name}")
        self.on("inet", f"ip link set p-{name} up")
        for address in addresses:
            self.on(name, f"ip addr add {address}/32 dev {device}")
        self.on(name, f"ip link set {device} up")
        self.on(name, f"ip route add 5.5.5.1/32 dev {device}")
        self.on(name, f"ip route add default via 5.5.5.1 dev {device} src {addresses[0]}")
        for address in addresses:
            self.on("inet", f"ip route add {address}/32 dev p-{name}")

    def start_relay(self, address):
        relay = Process(self, "srv", [self.binary, "relay", "--listen", f"{address}:443", "--stun", f"{address}:3478"],
                        stdout=subprocess.DEVNULL)
        self.relays.append(relay)
        return relay.wait_for(r"--derp-server '(\S+)'")[1]

    def set_nat(self, side, kind):
        gateway, public, lan = GATEWAYS[side]
        self.on(gateway, "nft flush ruleset")
        self.on(gateway, "conntrack -F", check=False)
        self.on(gateway, "nft -f -", stdin=rules(kind, public, f"{lan}.2"))

    def start(self, host, args, **kwargs):
        return Process(self, host, [self.binary, *args], **kwargs)

    def listen(self, host="a1", **kwargs):
        """`derphole listen`; returns (process, token)."""
        servers = [word for url in self.servers for word in ("--derp-server", url)]
        listener = self.start(host, ["listen", "--verbose", *servers], **kwargs)
        return listener, listener.wait_for(r"dh1[\w-]{40,}")[0]

    # What happens in the middle of a transfer.
    def cut_udp(self, side):
        self.on(GATEWAYS[side][0], "nft -f -", stdin="table inet blk {\n chain f { type filter hook forward priority -10; "
                "policy accept; meta l4proto udp drop\n }\n}\n")

    def cut_one_way(self, side):
        self.on(GATEWAYS[side][0], "nft -f -", stdin="table inet blk {\n chain f { type filter hook forward priority -10; "
                "policy accept; iifname \"wan0\" meta l4proto udp drop\n }\n}\n")

    def cut_all(self, side):
        self.on(GATEWAYS[side][0], "nft -f -", stdin="table inet blk {\n chain f { type filter hook forward priority -10; "
                "policy drop;\n }\n}\n")

    def cut_tcp(self, side):
        self.on(GATEWAYS[side][0], "nft -f -", stdin="table inet blk {\n chain f { type filter hook forward priority -10; "
                "policy accept; meta l4proto tcp drop\n }\n}\n")

    def heal(self, side):
        self.on(GATEWAYS[side][0], "nft delete table inet blk")

    def forget_soon(self, side):
        """NAT mappings of UDP live 3 s until there is an answer, 6 s then."""
        self.on(GATEWAYS[side][0], "sysctl -qw net.netfilter.nf_conntrack_udp_timeout=3 net.netfilter.nf_conntrack_udp_timeout_stream=6")

    def forget_flows(self, side):
        self.on(GATEWAYS[side][0], "conntrack -F", check=False)

    def rebind(self, side, ports):
        """The NAT forgets everything and gives UDP flows ports of another range."""
        gateway = GATEWAYS[side][0]
        self.on(gateway, "nft flush chain ip nat postrouting")
        self.on(gateway, f"nft 'add rule ip nat postrouting oifname wan0 meta l4proto udp masquerade to :{ports}'")
        self.on(gateway, "nft 'add rule ip nat postrouting oifname wan0 masquerade'")
        self.forget_flows(side)

    def change_public_address(self, side, address):
        gateway, old, _ = GATEWAYS[side]
        self.on("inet", f"ip route replace {address}/32 dev p-{gateway}")
        self.on(gateway, f"ip addr add {address}/32 dev wan0")
        self.on(gateway, f"ip addr del {old}/32 dev wan0", check=False)
        self.on(gateway, f"ip route replace default via 5.5.5.1 dev wan0 src {address}")
        self.on("inet", f"ip route del {old}/32", check=False)

    def restore_public_address(self, side, address):
        gateway, old, _ = GATEWAYS[side]
        self.on("inet", f"ip route replace {old}/32 dev p-{gateway}")
        self.on(gateway, f"ip addr add {old}/32 dev wan0", check=False)
        self.on(gateway, f"ip addr del {address}/32 dev wan0", check=False)
        self.on(gateway, f"ip route replace default via 5.5.5.1 dev wan0 src {old}")
        self.on("inet", f"ip route del {address}/32", check=False)

    def kill_relay(self, number):
        self.relays[number].child.kill()  # `ip netns exec` becomes the relay: nobody else's is hit

    def close(self):
        atexit.unregister(self.close)
        for child in self.children:
            if child.poll() is None:
                child.kill()
        for name in self.names:
            run(f"ip netns pids {self.ns(name)} | xargs -r kill -9", check=False)
            run(f"ip netns del {self.ns(name)}", check=False)
        shutil.rmtree(self.dir, ignore_errors=True)
