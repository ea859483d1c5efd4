"""A home router's port mapping: the real miniupnpd (nftables flavour) in a gateway's namespace."""
import glob
import os
import shutil
import subprocess
import time

CACHE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".cache", "miniupnpd")

# What miniupnpd fills, in the same table names as its package's defaults.
TABLE = """table inet filter {
  chain miniupnpd { }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
  chain broken { type filter hook input priority -10; policy accept; }
  chain prerouting { type nat hook prerouting priority dstnat; policy accept;
    jump prerouting_miniupnpd
  }
  chain postrouting { type nat hook postrouting priority srcnat - 5; policy accept;
    jump postrouting_miniupnpd
  }
}
"""
# Protocols a router does not speak, as input rules.
WITHOUT = {"pcp": "udp dport 5351 @th,64,8 2 drop", "nat-pmp": "udp dport 5351 @th,64,8 0 drop", "upnp": "udp dport 1900 drop"}


def find_daemon():
    """The router's program, unpacked from its Debian package and never installed; None where that cannot be had."""
    program = os.path.join(CACHE, "root/usr/sbin/miniupnpd")
    if not os.path.exists(program):
        if not shutil.which("apt-get") or not shutil.which("dpkg"):
            return None
        os.makedirs(CACHE, exist_ok=True)
        subprocess.run(["apt-get", "download", "-qq", "miniupnpd-nftables"], cwd=CACHE, capture_output=True, check=False)
        for package in glob.glob(os.path.join(CACHE, "*.deb")):
            subprocess.run(["dpkg", "-x", package, os.path.join(CACHE, "root")], capture_output=True, check=False)
    works = os.path.exists(program) and "not found" not in subprocess.run(["ldd", program], capture_output=True, text=True,
                                                                         check=False).stdout
    return os.path.abspath(program) if works else None


class Router:
    """Port mapping at one side's gateway, on top of the NAT that set_nat() made."""

    def __init__(self, lab, side, gateway, public, lan, only=None, outside=None, lease=7200):
        self.lab, self.gateway, self.public = lab, gateway, public
        self.home = os.path.join(lab.dir, f"router-{side}")
        os.makedirs(self.home, exist_ok=True)
        lab.on(gateway, "nft -f -", stdin=TABLE)
        for protocol, rule in WITHOUT.items():
            if only is not None and protocol != only:
                lab.on(gateway, f"nft 'add rule inet filter broken {rule}'")
        self.config = os.path.join(self.home, "conf")
        with open(self.config, "w", encoding="ascii") as file:
            file.write(f"ext_ifname=wan0\nlistening_ip=lan0\nhttp_port=5000\nenable_natpmp=yes\nenable_upnp=yes\nipv6_disable=yes\n"
                       f"secure_mode=yes\nmin_lifetime=5\nmax_lifetime={lease}\nlease_file={self.home}/leases\n"
                       f"{f'ext_ip={outside}' if outside else ''}\n"
                       f"uuid=6c2ea3a8-0000-4000-8000-0242ac1100{'0a' if side == 'a' else '0b'}\n"
                       f"allow 1024-65535 {lan}.0/24 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n")
        self.start()

    def start(self):
        with open(os.path.join(self.home, "log"), "ab") as log:
            self.daemon = subprocess.Popen(["ip", "netns", "exec", self.lab.ns(self.gateway), find_daemon(), "-d", "-f", self.config, "-P",
                                            os.path.join(self.home, "pid")], stdout=log, stderr=log)
        self.lab.children.append(self.daemon)
        deadline = time.monotonic() + 5
        while ":5351" not in self.lab.on(self.gateway, "ss -uln") and time.monotonic() < deadline:
            time.sleep(0.05)

    def mappings(self):
        return self.lab.on(self.gateway, "nft list chain inet filter prerouting_miniupnpd").count("dnat")

    def stop(self):
        self.daemon.terminate()
        self.daemon.wait(10)

    def reboot(self):
        """Power off and on again: neither rules nor leases nor its epoch survive."""
        self.stop()
        for chain in ("miniupnpd", "prerouting_miniupnpd", "postrouting_miniupnpd"):
            self.lab.on(self.gateway, f"nft flush chain inet filter {chain}")
        leases = os.path.join(self.home, "leases")
        if os.path.exists(leases):
            os.remove(leases)
        self.lab.forget_flows("a" if self.gateway == "gwa" else "b")
        self.start()
