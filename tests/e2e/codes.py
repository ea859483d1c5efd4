#!/usr/bin/env python3
"""Codes of words, the real binaries on loopback. codes.py BINARY [words that select tests]."""
import functools
import http.server
import json
import os
import pty
import select
import sys
import threading
import time

from support import World, events, expect, free_port, make_file, need_terminal, run_tests, sha256

BINARY = sys.argv[1]
DERPER = os.environ.get("DERPER")
CODE = r"^derphole receive ([a-z]+-[a-z]+-[a-z]+-[a-z]+)$"


class Meeting:
    """A relay, and somebody who waits with a file and a code."""

    def __init__(self, *args, **kwargs):
        self.world = World(BINARY)
        _, self.server = self.world.relay()
        self.source, self.target = self.world.path("holiday.bin"), self.world.path("there")
        make_file(self.source, 3 << 20)
        os.mkdir(self.target)
        self.sender = self.world.start("send", "--derp-server", self.server, self.source, *args, **kwargs)

    def code(self, pattern=CODE):
        return self.sender.wait_line(pattern)[0][1]

    def receive(self, *args, **kwargs):
        return self.world.start("receive", "--derp-server", self.server, *args, cwd=self.target, **kwargs)

    def expect_arrived(self):
        expect(sha256(self.source) == sha256(os.path.join(self.target, "holiday.bin")), "the files differ")

    def expect_nothing(self):
        expect(os.listdir(self.target) == [], f"something arrived: {os.listdir(self.target)}")

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.world.close()


def wrong(code):
    """The right place, another secret."""
    words = code.split("-")
    return "-".join(words[:2] + (["zebra", "zoo"] if words[2:] != ["zebra", "zoo"] else ["apple", "arch"]))


def test_a_file_arrives_by_four_words():
    with Meeting() as meeting:
        code = meeting.code()
        receiver = meeting.receive(code)
        receiver.finish()
        meeting.sender.finish()
        meeting.expect_arrived()
        expect(meeting.sender.has_line(r"good for one use within 10 minutes"), meeting.sender.stderr())


def test_words_may_be_typed_as_people_do():
    with Meeting() as meeting:
        words = meeting.code().split("-")
        typed = "  " + words[0].upper() + " " + words[1][:4] + " - " + words[2].capitalize() + "-" + words[3]
        meeting.receive(typed).finish()
        meeting.sender.finish()
        meeting.expect_arrived()


def test_a_mistyped_word_costs_no_try():
    with Meeting() as meeting:
        code = meeting.code()
        receiver = meeting.receive("abandun" + code[code.index("-"):])
        receiver.finish(5, 5)
        expect(receiver.has_line("abandon"), f"no suggestion: {receiver.stderr()}")
        meeting.receive(code).finish()
        meeting.sender.finish()
        expect(not meeting.sender.has_line("wrong code"), meeting.sender.stderr())
        meeting.expect_arrived()


def test_three_wrong_tries_kill_the_code():
    with Meeting("--json") as meeting:
        meeting.sender.wait_line(r'"event":"code"')
        code = next(e["code"] for e in events(meeting.sender) if e["event"] == "code")
        for _ in range(3):
            receiver = meeting.receive(wrong(code))
            receiver.finish(40, 5)
        meeting.sender.finish(10, 5)
        tries = [e["number"] for e in events(meeting.sender) if e["event"] == "wrong-code"]
        expect(tries == [1, 2, 3], f"the sender saw {tries}")
        late = meeting.receive(code, "--wait", "4s")
        late.finish(30, None)
        expect(late.child.returncode in (4, 5), late.stderr())
        meeting.expect_nothing()


def test_one_wrong_try_leaves_the_code_alive():
    with Meeting() as meeting:
        code = meeting.code()
        meeting.receive(wrong(code)).finish(40, 5)
        meeting.sender.wait_line("wrong code")
        meeting.receive(code).finish(60)
        meeting.sender.finish()
        meeting.expect_arrived()


def test_a_used_code_is_nobodys():
    with Meeting() as meeting:
        code = meeting.code()
        meeting.receive(code).finish()
        meeting.sender.finish()
        late = meeting.receive(code, "--wait", "3s")
        late.finish(30, None)
        expect(late.child.returncode in (4, 5), late.stderr())


def test_more_words_and_a_qr_code():
    with Meeting("--words", "6", "--qr") as meeting:
        code = meeting.code(r"^derphole receive ((?:[a-z]+-){5}[a-z]+)$")
        meeting.sender.wait_line("█")
        meeting.receive(code).finish()
        meeting.sender.finish()
        meeting.expect_arrived()


def test_ctrl_c_before_anybody_came():
    with Meeting() as meeting:
        meeting.code()
        meeting.sender.signal(2)
        meeting.sender.finish(5, 130)


def test_the_prompt_completes_words():
    need_terminal()
    with Meeting() as meeting:
        code = meeting.code()
        parent, child = pty.openpty()
        receiver = meeting.receive(stdin=child, stdout=child)
        os.close(child)
        for word in code.split("-"):  # a word of three letters may be the beginning of others
            os.write(parent, word[:4].encode() + (b"\t" if len(word) > 3 else b"-"))
        os.write(parent, b"\r")
        deadline = time.monotonic() + 30
        while receiver.child.poll() is None and time.monotonic() < deadline:
            if select.select([parent], [], [], 0.1)[0]:
                try:
                    os.read(parent, 65536)
                except OSError:
                    break
        receiver.finish()
        meeting.sender.finish()
        meeting.expect_arrived()


def test_without_a_terminal_a_code_must_be_given():
    with Meeting() as meeting:
        meeting.code()
        receiver = meeting.receive()
        receiver.finish(5, 2)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *unused):
        pass


class Regions:
    """A DERP map with one region, 12, of one relay with TLS on loopback, and a directory to receive into."""

    def __init__(self, derper=False):
        self.world = World(BINARY)
        self.port = free_port()
        # Pinned: nobody signs certificates for loopback.
        node = {"Name": "12a", "RegionID": 12, "HostName": "127.0.0.1", "IPv4": "127.0.0.1", "IPv6": "none", "STUNPort": -1,
                "DERPPort": self.port, "CertName": f"sha256-raw:{self.start_derper() if derper else self.start_relay()}"}
        region = {"RegionID": 12, "RegionCode": "own", "RegionName": "Own", "Nodes": [node]}
        self.map = self.world.path("map.json")
        with open(self.map, "w", encoding="ascii") as file:
            json.dump({"Regions": {"12": region}}, file)
        self.source, self.target = self.world.path("holiday.bin"), self.world.path("there")
        make_file(self.source, 3 << 20)
        os.mkdir(self.target)

    def start_relay(self):
        relay = self.world.start("relay", "--listen", f"127.0.0.1:{self.port}", "--stun", "off")
        found, _ = relay.wait_line(r"--derp-server 'https://\S+pin=sha256-raw:([0-9a-f]{64})")
        return found[1]

    def start_derper(self):
        """It makes a certificate for an address by itself, and logs what a map needs."""
        relay = self.world.start_other([DERPER, "-a", f"127.0.0.1:{self.port}", "-c", self.world.path("derper.json"), "-http-port", "-1",
                                        "-stun=false", "-hostname", "127.0.0.1", "-certdir", self.world.dir, "-certmode", "manual"],
                                       cwd=self.world.dir)
        found, _ = relay.wait_line("sha256-raw:([0-9a-f]{64})")
        relay.wait_line("derper: serving on")
        return found[1]

    def send(self, derp_map):
        sender = self.world.start("send", "--derp-map", derp_map, self.source)
        found, _ = sender.wait_line(r"^derphole receive (12-[a-z]+-[a-z]+-[a-z]+-[a-z]+)$")
        return sender, found[1]

    def receive(self, code, derp_map):
        return self.world.start("receive", code, "--derp-map", derp_map, cwd=self.target)

    def expect_moved(self, of_sender, of_receiver):
        sender, code = self.send(of_sender)
        self.receive(code, of_receiver).finish()
        sender.finish()
        expect(sha256(self.source) == sha256(os.path.join(self.target, "holiday.bin")), "the files differ")

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.world.close()


def test_a_code_with_the_number_of_a_region():
    """The map once from a file, once from a server."""
    with Regions() as regions:
        serve = functools.partial(Quiet, directory=regions.world.dir)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            regions.expect_moved(regions.map, f"http://127.0.0.1:{server.server_port}/map.json")
            server.shutdown()


def test_a_code_with_the_number_of_a_region_of_derper():
    if not DERPER:
        return "SKIPPED: derper is not here (needs Go)"
    with Regions(derper=True) as regions:
        regions.expect_moved(regions.map, regions.map)
    return None


def test_a_region_that_is_not_in_the_map():
    with Regions() as regions:
        sender, code = regions.send(regions.map)
        receiver = regions.receive("77" + code.removeprefix("12"), regions.map)
        receiver.finish(10, 1)
        said = [text for _, text in receiver.lines if text]
        expect(len(said) == 1 and "no relay with that number" in said[0] and "77" in said[0], receiver.stderr())
        regions.receive(code, regions.map).finish()
        sender.finish()
        expect(not sender.has_line("wrong code"), sender.stderr())


if __name__ == "__main__":
    sys.exit(run_tests([f for name, f in list(globals().items()) if name.startswith("test_")]))
