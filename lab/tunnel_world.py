"""A share and an opener in the lab, what they cost, and a TCP connection through them that notices every pause."""
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import threading
import time

import natlab
from support import Failure, expect

DESCRIPTORS = 16384
PATIENCE = 15  # seconds for anything that should take less than one


def raise_descriptor_limit():
    """For everything that is started from here on."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, max(DESCRIPTORS, hard)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Tunnel:
    """`derphole share` on a1, `derphole open` on b1. `rtt_ms`: of every way between the two homes."""

    def __init__(self, binary, nats=("port-restr", "port-restr"), rtt_ms=0, share_flags=()):
        self.lab = natlab.Lab(binary, ("gwb",) if rtt_ms else ())
        if rtt_ms:
            self.lab.wires["gwb"].tell(f"set both delay {rtt_ms / 2:g}ms")
        for side, kind in zip("ab", nats):
            self.lab.set_nat(side, kind)
        self.share_flags = share_flags
        self.share = self.open = None

    def program(self, name):
        return os.path.join(os.path.dirname(self.lab.binary), "bench", f"bench_{name}")

    def begin(self, target, direct=True):
        """Returns the address where the opener listens on b1."""
        servers = [word for url in self.lab.servers for word in ("--derp-server", url)]
        self.share = self.lab.start("a1", ["share", target, "--json", *servers, *self.share_flags], stdout=subprocess.DEVNULL)
        token = self.share.wait_for(r'"token":"(dh1[\w-]{40,})"')[1]
        self.open = self.lab.start("b1", ["open", token, "--json"], stdout=subprocess.DEVNULL)
        address = self.open.wait_for(r'"event":"listening","address":"([^"]*)"', PATIENCE)[1]
        if direct:
            self.wait_path("connected-direct")
        return address

    def paths(self):
        """The opener's path words so far, as (when, word)."""
        out = []
        for when, text in list(self.open.lines):
            if '"event":"state"' in text and (word := json.loads(text)["state"]).startswith("connected-"):
                out.append((when, word))
        return out

    def wait_path(self, word, timeout=PATIENCE):
        deadline = time.monotonic() + timeout
        while not (paths := self.paths()) or paths[-1][1] != word:
            expect(time.monotonic() < deadline, f"no {word} within {timeout} s; paths were {[name for _, name in self.paths()]}")
            time.sleep(0.02)

    def serve_echo(self, port):
        server = subprocess.Popen(["ip", "netns", "exec", self.lab.ns("a1"), self.program("tcp_load"), "serve", "127.0.0.1", str(port)],
                                  stdout=subprocess.PIPE)
        self.lab.children.append(server)
        server.stdout.readline()

    def on_b(self, args, timeout, **kwargs):
        """A program of the opener's side, to its end."""
        return subprocess.run(["ip", "netns", "exec", self.lab.ns("b1"), *args], capture_output=True, text=True, timeout=timeout, check=False, **kwargs)

    def processes(self):
        return {"share": self.share.child.pid, "open": self.open.child.pid}

    def descriptors(self):
        return {name: len(os.listdir(f"/proc/{pid}/fd")) for name, pid in self.processes().items()}

    def memory(self, field="VmHWM"):
        """MiB of each process: VmHWM is the most it ever had, VmRSS what it has."""
        out = {}
        for name, pid in self.processes().items():
            with open(f"/proc/{pid}/status", encoding="ascii") as file:
                out[name] = next(int(line.split()[1]) / 1024 for line in file if line.startswith(field))
        return out

    def cpu_seconds(self):
        out = {}
        for name, pid in self.processes().items():
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                out[name] = sum(int(value) for value in file.read().rsplit(")", 1)[1].split()[11:13]) / os.sysconf("SC_CLK_TCK")
        return out

    def signal(self, number):
        for pid in self.processes().values():
            os.kill(pid, number)

    def udp_port(self, host):
        """Of the program on that host: its IPv4 socket for direct paths."""
        pid = self.processes()[{"a1": "share", "b1": "open"}[host]]
        for line in self.lab.on(host, "ss -Hulnp4").splitlines():
            if f"pid={pid}," in line:
                return int(line.split()[3].rsplit(":", 1)[1])
        raise Failure(f"the program on {host} has no UDP socket")

    def close(self):
        if self.share and self.open:
            self.signal(signal.SIGCONT)  # a stopped one would not be waited for
        self.lab.close()


def connect_in(namespace, address, port):
    """A TCP connection made in another network namespace. Only the calling thread moves, and not back: call it in one of its own."""
    with open(f"/run/netns/{namespace}", "rb") as file:
        libc_setns(file.fileno())
    return socket.create_connection((address, port), timeout=PATIENCE)


def libc_setns(descriptor):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, 0x40000000) != 0:  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "setns")


class Ticker:
    """One open connection to the echo server: a number every 20 ms, each must come back in its turn. Knows when each came."""

    GAP = 0.02

    def __init__(self, tunnel, port):
        self.came = []
        self.trouble = None
        self.over = False
        made = threading.Event()
        self.connection = None

        def begin():
            try:
                self.connection = connect_in(tunnel.lab.ns("b1"), "127.0.0.1", port)
            except OSError as error:
                self.trouble = f"no connection: {error}"
            made.set()
        threading.Thread(target=begin, daemon=True).start()
        made.wait(PATIENCE + 5)
        expect(self.connection is not None, self.trouble or "no connection")
        self.connection.settimeout(None)
        self.threads = [threading.Thread(target=run, daemon=True) for run in (self._send, self._receive)]
        for thread in self.threads:
            thread.start()

    def _send(self):
        number = 0
        try:
            while not self.over:
                self.connection.sendall(struct.pack(">Q", number))
                number += 1
                time.sleep(self.GAP)
            self.connection.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.trouble = self.trouble or f"sending: {error}"

    def _receive(self):
        expected, data = 0, b""
        try:
            while piece := self.connection.recv(1 << 16):
                data += piece
                while len(data) >= 8:
                    (number,) = struct.unpack(">Q", data[:8])
                    data = data[8:]
                    if number != expected:
                        self.trouble = f"{number} came back in the place of {expected}"
                        return
                    expected += 1
                self.came.append(time.monotonic())
        except OSError as error:
            self.trouble = self.trouble or f"receiving: {error}"
        if not self.over:
            self.trouble = self.trouble or "the connection ended"

    def first_after(self, when):
        """Seconds from `when` to the first number that came after it; None: none has."""
        return next((at - when for at in list(self.came) if at > when), None)

    def finish(self):
        self.over = True
        for thread in self.threads:
            thread.join(PATIENCE)
        expect(not any(thread.is_alive() for thread in self.threads), "the connection did not end")
        expect(self.trouble is None, self.trouble)
        self.connection.close()
