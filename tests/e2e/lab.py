#!/usr/bin/env python3
"""./dev lab: the real binaries in network namespaces of their own. Everything made here is removed at exit. Needs root."""
import atexit
import os
import subprocess
import sys
import threading
import time

from support import Failure, World, expect, make_file, run_tests, sha256

BINARY = sys.argv[1]
PREFIX = f"dh{os.getpid()}"


def ip(*args):
    subprocess.run(["ip", *args], check=True, capture_output=True)


class TwoHosts:
    """Two namespaces on one wire, with no route to anywhere else. `addresses`: of which kind the wire has any."""

    def __init__(self, addresses="v4"):
        self.names = [f"{PREFIX}-{side}" for side in "ab"]
        atexit.register(self.close)
        for name in self.names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", f"{PREFIX}a", "netns", self.names[0], "type", "veth", "peer", "name", f"{PREFIX}b", "netns",
           self.names[1])
        for side, name in zip("ab", self.names):
            number = 1 if side == "a" else 2
            ip("-n", name, "link", "set", f"{PREFIX}{side}", "up")
            if addresses == "v6":
                ip("-n", name, "addr", "add", f"fd77::{number}/64", "dev", f"{PREFIX}{side}", "nodad")
            elif addresses == "v4":
                ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", f"{PREFIX}{side}")

    def prefix(self, side):
        return ["ip", "netns", "exec", self.names["ab".index(side)]]

    def close(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


def test_two_offline_machines_need_no_flag():
    """No internet, no flag: listen hosts the relay itself, pipe on the other host needs only the token."""
    with TwoHosts() as hosts, World(BINARY) as world:
        source = world.path("source")
        make_file(source, 50 << 20)
        started = time.monotonic()
        with open(world.path("received"), "wb") as stdout:
            listener = world.start("listen", "--verbose", stdout=stdout, prefix=hosts.prefix("a"))
        found, _ = listener.wait_line(r"(dh1\w[\w-]{40,})", 10)
        seconds = time.monotonic() - started
        expect(listener.has_line("this process hosts one"), listener.stderr())
        expect(seconds < 4, f"the decision took {seconds:.1f} s")
        with open(source, "rb") as stdin:
            sender = world.start("pipe", found[1], stdin=stdin, prefix=hosts.prefix("b"))
        sender.finish(30)
        listener.finish(30)
        expect(sha256(source) == sha256(world.path("received")), "bytes changed")
        return f"token after {seconds:.1f} s"


def test_token_of_an_own_relay_carries_everything():
    """A relay on a third address, named to listen only."""
    with TwoHosts() as hosts, World(BINARY) as world:
        relay = world.start("relay", "--listen", "10.77.0.1:8443", "--stun", "off", prefix=hosts.prefix("a"))
        found, _ = relay.wait_line(r"--derp-server '(\S+)'")
        source = world.path("source")
        make_file(source, 20 << 20)
        with open(world.path("received"), "wb") as stdout:
            listener = world.start("listen", "--derp-server", found[1], stdout=stdout, prefix=hosts.prefix("a"))
        token, _ = listener.wait_line(r"(dh1\w[\w-]{40,})", 10)
        with open(source, "rb") as stdin:
            world.start("pipe", token[1], stdin=stdin, prefix=hosts.prefix("b")).finish(30)
        listener.finish(30)
        expect(sha256(source) == sha256(world.path("received")), "bytes changed")


def test_a_cut_wire_that_heals_loses_nothing():
    """The relay is on a; b's wire goes down for 5 s in the middle of a transfer."""
    with TwoHosts() as hosts, World(BINARY) as world:
        relay = world.start("relay", "--listen", "10.77.0.1:8443", "--stun", "off", prefix=hosts.prefix("a"))
        found, _ = relay.wait_line(r"--derp-server '(\S+)'")
        listener = None
        with open(world.path("received"), "wb") as stdout:
            listener = world.start("listen", "--derp-server", found[1], "--verbose", stdout=stdout, prefix=hosts.prefix("a"))
        token, _ = listener.wait_line(r"(dh1\w[\w-]{40,})", 10)
        sender = world.start("pipe", token[1], "--verbose", stdin=subprocess.PIPE, prefix=hosts.prefix("b"))
        sender.wait_line("^claimed$", 10)
        payload = os.urandom(4 << 20)
        sender.child.stdin.write(payload[:2 << 20])
        sender.child.stdin.flush()
        ip("-n", hosts.names[1], "link", "set", f"{PREFIX}b", "down")
        # More than the sender reads ahead: it takes the rest when the wire is back.
        rest = threading.Thread(target=lambda: (sender.child.stdin.write(payload[2 << 20:]), sender.child.stdin.close()), daemon=True)
        rest.start()
        time.sleep(5)
        ip("-n", hosts.names[1], "link", "set", f"{PREFIX}b", "up")
        healed = time.monotonic()
        sender.finish(60)
        listener.finish(60)
        with open(world.path("received"), "rb") as file:
            expect(file.read() == payload, "bytes were lost or repeated")
        return f"whole {time.monotonic() - healed:.1f} s after healing"


def test_two_offline_machines_meet_by_four_words():
    """No internet, no flag: the receiver finds the sender's own relay by the words alone."""
    with TwoHosts() as hosts, World(BINARY, direct=True) as world:
        source = world.path("holiday.bin")
        make_file(source, 20 << 20)
        target = world.path("there")
        os.mkdir(target)
        sender = world.start("send", "--verbose", source, prefix=hosts.prefix("a"))
        code, _ = sender.wait_line(r"^derphole receive ([a-z]+(?:-[a-z]+){3})$", 15)
        started = time.monotonic()
        world.start("receive", code[1], cwd=target, prefix=hosts.prefix("b")).finish(30)
        seconds = time.monotonic() - started
        sender.finish(30)
        expect(sha256(source) == sha256(os.path.join(target, "holiday.bin")), "bytes changed")
        return f"{seconds:.1f} s from the words to the file"


def meet_by_words(hosts, world):
    source, target = world.path("holiday.bin"), world.path("there")
    make_file(source, 5 << 20)
    os.mkdir(target)
    sender = world.start("send", "--verbose", source, prefix=hosts.prefix("a"))
    code, _ = sender.wait_line(r"^derphole receive ([a-z]+(?:-[a-z]+){3})$", 15)
    world.start("receive", code[1], cwd=target, prefix=hosts.prefix("b")).finish(30)
    sender.finish(30)
    expect(sha256(source) == sha256(os.path.join(target, "holiday.bin")), "bytes changed")


def test_two_offline_machines_meet_where_there_is_only_ipv6():
    with TwoHosts("v6") as hosts, World(BINARY, direct=True) as world:
        meet_by_words(hosts, world)


def test_two_offline_machines_meet_by_link_local_addresses():
    """Only fe80::, which mean nothing without an interface. The receiver has a second one, where the same prefix leads nowhere."""
    with TwoHosts("link-local") as hosts, World(BINARY, direct=True) as world:
        ip("-n", hosts.names[1], "link", "add", "aside", "type", "veth", "peer", "name", "end")
        for name in ("aside", "end"):
            ip("-n", hosts.names[1], "link", "set", name, "up")
        return meet_by_words(hosts, world)


def test_a_sender_with_ipv4_elsewhere_meets_one_with_ipv6_only():
    """The relay that the sender hosts serves both families: the two share only one."""
    with TwoHosts("v6") as hosts, World(BINARY, direct=True) as world:
        ip("-n", hosts.names[0], "link", "add", "else", "type", "veth", "peer", "name", "end")
        ip("-n", hosts.names[0], "link", "set", "end", "up")
        ip("-n", hosts.names[0], "addr", "add", "192.0.2.77/24", "dev", "else")
        ip("-n", hosts.names[0], "link", "set", "else", "up")
        meet_by_words(hosts, world)


if __name__ == "__main__":
    try:
        sys.exit(run_tests([value for name, value in list(globals().items()) if name.startswith("test_")]))
    except Failure as failure:
        sys.exit(str(failure))
