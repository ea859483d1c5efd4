"""Two namespaces on one veth pair, for measuring between them. Root; names carry the process id; all is gone at exit, whatever the exit."""
import atexit
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

PATIENCE = 60  # seconds until a program is called hung
F_SETPIPE_SZ = 1031
ADDRESSES = {"a": "10.78.0.1", "b": "10.78.0.2"}


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def why_not():
    """Why there can be no namespaces here; empty when there can."""
    if os.geteuid() != 0:
        return "it needs root"
    if shutil.which("ip") is None:
        return "iproute2 is not installed"
    name = f"dhtry{os.getpid()}"
    tried = subprocess.run(f"ip netns add {name} && ip netns exec {name} ip link set lo up", shell=True, capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "network namespaces are not allowed here"


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class TwoHosts:
    def __init__(self):
        self.tag = f"dhb{os.getpid()}"
        self.children = []
        atexit.register(self.close)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: sys.exit(130))
        for side in "ab":
            self._ip("netns", "add", self.name(side))
            self._ip("-n", self.name(side), "link", "set", "lo", "up")
        self._ip("link", "add", "eth0", "netns", self.name("a"), "type", "veth", "peer", "name", "eth0", "netns", self.name("b"))
        for side, address in ADDRESSES.items():
            self._ip("-n", self.name(side), "addr", "add", f"{address}/24", "dev", "eth0")
            self._ip("-n", self.name(side), "link", "set", "eth0", "up")

    @staticmethod
    def _ip(*args):
        done = subprocess.run(["ip", *args], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"bench: ip {' '.join(args)}: {done.stderr.strip()}")

    def name(self, side):
        return f"{self.tag}{side}"

    def start(self, side, args, **kwargs):
        """A program on that side; `ip netns exec` becomes it, so its process id is the program's."""
        child = subprocess.Popen(["ip", "netns", "exec", self.name(side), *args], **kwargs)
        self.children.append(child)
        return child

    def stop(self, but):
        """Ends what a failed case left running."""
        for child in self.children:
            if child.returncode is None and child is not but.child:
                child.kill()
                child.wait()
        self.children = [but.child]

    def segment_in_kernel(self, on):
        """True: the veth no longer carries a UDP send of many segments whole; the kernel cuts it, as for most real NICs."""
        for side in "ab":
            done = subprocess.run(["ip", "netns", "exec", self.name(side), "ethtool", "-K", "eth0", "tx-udp-segmentation",
                                   "off" if on else "on"], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                sys.exit(f"bench: ethtool: {done.stderr.strip()}")

    def socket_drops(self, side):
        """Datagrams that found a full receive buffer, of all sockets of that side so far."""
        text = subprocess.run(["ip", "netns", "exec", self.name(side), "cat", "/proc/net/snmp"], capture_output=True, text=True, check=True).stdout
        names, values = [line.split()[1:] for line in text.splitlines() if line.startswith("Udp:")]
        return int(values[names.index("RcvbufErrors")])

    def close(self):
        atexit.unregister(self.close)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it behind
        for side in "ab":  # what our children have started as well: sshd's sessions, the programs of a shell
            subprocess.run(f"ip netns pids {self.name(side)} | xargs -r kill -9", shell=True, capture_output=True, check=False)
        for child in self.children:
            if child.returncode is None:
                child.kill()
                child.wait()
        for side in "ab":
            subprocess.run(["ip", "netns", "del", self.name(side)], capture_output=True, check=False)


class Wired(TwoHosts):
    """The two hosts with the lab's wire between them instead of a veth pair."""

    def __init__(self, build, link, loss="0%"):
        """`link`: Mbit/s and ms of round trip, with a queue of one product of both. `loss`: of what a gets."""
        super().__init__()
        rate, rtt = link
        self._ip("-n", self.name("a"), "link", "del", "eth0")
        self.wire = subprocess.Popen([os.path.join(build, "lab", "lab_wire"), "--a", f"{self.name('a')}:eth0", "--b", f"{self.name('b')}:eth0"],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answer("ready")
        for side, address in ADDRESSES.items():
            self._ip("-n", self.name(side), "addr", "add", f"{address}/24", "dev", "eth0")
            self._ip("-n", self.name(side), "link", "set", "eth0", "mtu", "1500", "txqueuelen", "1000", "up")
        for command in (f"delay {rtt / 2:g}ms", f"rate {rate:g}mbit", f"queue {rate * 125 * rtt:.0f}"):  # one product of both
            self.tell(f"both {command}")
        self.tell(f"ba loss {loss}")

    def tell(self, setting):
        self.wire.stdin.write(f"set {setting}\n")
        self.wire.stdin.flush()
        self.answer("ok")

    def answer(self, wanted):
        if (got := self.wire.stdout.readline().strip()) != wanted:
            sys.exit(f"bench: lab_wire said: {got}")

    def close(self):
        if getattr(self, "wire", None):
            self.wire.kill()
            self.wire.wait()
        super().close()


class Failed(Exception):
    """One sentence."""


class Watched:
    """A child whose CPU time and peak memory are taken at its end, with its standard error read meanwhile."""

    def __init__(self, hosts, side, args, **kwargs):
        self.child = hosts.start(side, args, stderr=subprocess.PIPE, **kwargs)
        self.lines, self.peak_mib, self.changed = [], 0.0, threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        threading.Thread(target=self._watch, daemon=True).start()

    def _read(self):
        for raw in self.child.stderr:
            with self.changed:
                self.lines.append(raw.decode(errors="replace").strip())
                self.changed.notify_all()

    def _watch(self):
        # ru_maxrss would count the Python it was forked from.
        while self.child.returncode is None:
            try:
                with open(f"/proc/{self.child.pid}/status", encoding="ascii") as file:
                    self.peak_mib = max([self.peak_mib] + [int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM")])
            except OSError:
                return
            time.sleep(0.05)

    def event(self, name, timeout=10):
        deadline = time.monotonic() + timeout
        with self.changed:
            while True:
                for line in self.lines:
                    if line.startswith("{") and (found := json.loads(line))["event"] == name:
                        return found
                if not self.changed.wait(max(0.0, min(0.1, deadline - time.monotonic()))) and time.monotonic() >= deadline:
                    raise Failed(f"no {name} event came: " + " | ".join(self.lines[-3:]))

    def finish(self, patience=PATIENCE, good=(0,)):
        """Waits; returns CPU seconds. Failed with its last words when it did not end well."""
        killer = threading.Timer(patience, self.child.kill)
        killer.daemon = True  # a signal may end us in the middle of this, and the exit waits for the other kind of thread
        killer.start()
        _, status, usage = os.wait4(self.child.pid, 0)
        killer.cancel()
        self.child.returncode = os.waitstatus_to_exitcode(status)
        self.reader.join(5)
        if self.child.returncode not in good:
            raise Failed(f"{os.path.basename(self.child.args[4])} ended with {self.child.returncode}: " + " | ".join(self.lines[-2:]))
        return usage.ru_utime + usage.ru_stime


def big_pipe():
    """A pipe of 1 MiB, as (read, write): with the usual 64 KiB one measures the switching between its ends."""
    ends = os.pipe()
    fcntl.fcntl(ends[1], F_SETPIPE_SZ, 1 << 20)
    return ends


class Bench:
    """What the benchmarks between two hosts share: a scratch directory, the hosts and our relay on a. All is gone at exit, whatever the exit."""

    def __init__(self, build, make_hosts=TwoHosts, has_places=False):
        """`has_places`: also directories for files, on the disk of the build and, where that is memory, in /dev/shm."""
        self.build = os.path.abspath(build)
        self.binary = os.path.join(self.build, "derphole")
        self.dir = tempfile.mkdtemp(prefix="derphole-bench-")
        self.places, self.hosts = {}, None
        atexit.register(self.close)
        if has_places:
            self.places["disk"] = tempfile.mkdtemp(prefix="bench-", dir=self.build)
            if os.path.ismount("/dev/shm"):
                self.places["tmpfs"] = tempfile.mkdtemp(prefix="derphole-bench-", dir="/dev/shm")
        self.hosts = make_hosts()
        self.relay = self.watch("a", [self.binary, "relay", "--json", "--listen", f"{ADDRESSES['a']}:8443", "--stun", "off"], stdout=subprocess.DEVNULL)
        self.server = self.relay.event("relay")["derp_server"]

    def close(self):
        atexit.unregister(self.close)
        if self.hosts:
            self.hosts.close()
        for path in (self.dir, *self.places.values()):
            shutil.rmtree(path, ignore_errors=True)

    def tool(self, name):
        return os.path.join(self.build, "bench", f"bench_{name}")

    def env(self, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith("DERPHOLE_") and k.lower() != "https_proxy"}
        return env | {"HOME": self.dir, "XDG_STATE_HOME": self.dir, "XDG_CACHE_HOME": self.dir} | more

    def watch(self, side, args, **kwargs):
        return Watched(self.hosts, side, args, **({"env": self.env()} | kwargs))


def wait_listening(namespace, address, port, patience=10):
    """Until somebody takes TCP connections there."""
    deadline = time.monotonic() + patience
    attempt = ["ip", "netns", "exec", namespace, "bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}"]
    while subprocess.run(attempt, capture_output=True, check=False).returncode != 0:
        if time.monotonic() > deadline:
            raise Failed(f"nobody listens at {address}:{port}")
        time.sleep(0.02)


def sshd(start, namespace, place, address, port):
    """An sshd with keys of its own in `place`, which listens when this returns. `start` runs a command in the namespace; what that returns
    is returned."""
    if not os.path.isdir("/run/sshd"):  # it wants it
        os.mkdir("/run/sshd")
        atexit.register(shutil.rmtree, "/run/sshd", ignore_errors=True)
    for name in ("host", "user"):
        if not os.path.exists(os.path.join(place, name)):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", os.path.join(place, name)], check=True)
    server = start([shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-p", str(port), "-h", os.path.join(place, "host"),
                    "-o", f"ListenAddress={address}", "-o", "UsePAM=no", "-o", "PidFile=none", "-o", f"AuthorizedKeysFile={place}/user.pub",
                    "-o", "StrictModes=no"])
    wait_listening(namespace, address, port)
    return server


def ssh_words(place, port):
    """A command to the sshd with its keys in `place`, but for `root@ADDRESS`."""
    return ["ssh", "-F", "none", "-p", str(port), "-i", os.path.join(place, "user"), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
            "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
