#!/usr/bin/env python3
"""share and open with real TCP peers on loopback. tunnel.py BINARY [words that select tests]."""
import hashlib
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import websocket
from support import SIGCONT, SIGINT, SIGKILL, SIGSTOP, Failure, Missing, World, events, expect, free_port, run_tests

BINARY = sys.argv[1]


class Target:
    """A TCP server that does to each connection what `serve` says."""

    def __init__(self, serve):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.socket.getsockname()[1]
        self.serve = serve
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        try:
            self.serve(connection)
        except OSError:
            pass

    def close(self):
        self.socket.close()


def read_all(connection):
    data = b""
    while piece := connection.recv(1 << 16):
        data += piece
    return data


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def was_reset(connection):
    try:
        while connection.recv(1 << 16):
            pass
        return False
    except ConnectionResetError:
        return True


def digest_server(connection):
    """Reads to the FIN, answers with the SHA-256 and as many bytes as it read."""
    data = read_all(connection)
    connection.sendall(hashlib.sha256(data).digest() + data)
    connection.close()


def start_share(world, server, target, *flags):
    share = world.start("share", str(target), "--derp-server", server, *flags)
    if "--json" in flags:
        found, _ = share.wait_line(r'"event":"token".*"token":"(dh1[\w-]*)"')
    else:
        found, _ = share.wait_line(r"derphole open (dh1[\w-]{40,})")
    return share, found[1]


def start_open(world, token, *flags):
    opener = world.start("open", token, *flags, stdout=subprocess.PIPE)
    line = opener.child.stdout.readline().decode().strip()
    found = re.fullmatch(r"listening on (\S+)", line)
    expect(found, f"open printed {line!r}; it said:\n{opener.stderr()}")
    return opener, found[1]


def port_of(address):
    return int(address.rsplit(":", 1)[1])


def dial(address):
    connection = socket.create_connection(("127.0.0.1", port_of(address)), timeout=20)
    return connection


def dial_unless_reset(address):
    """None: it was turned away before connect() had returned."""
    try:
        return dial(address)
    except ConnectionResetError:
        return None


def ask(address, data):
    with dial(address) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = read_all(connection)
    expect(answer == hashlib.sha256(data).digest() + data, f"{len(data)} bytes came back changed ({len(answer)})")


def both(direct=False, serve=digest_server, output="--verbose"):
    """A world with a relay, a server, its share and one opener."""
    world = World(BINARY, direct=direct)
    relay, server = world.relay()
    target = Target(serve)
    share, token = start_share(world, server, f"127.0.0.1:{target.port}", output)
    opener, address = start_open(world, token, output)
    return world, relay, server, share, token, opener, address


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"x" * int(self.path.strip("/") or 0)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *unused):
        pass


def test_http_through_the_relay():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with World(BINARY) as world:
        _, relay = world.relay()
        share, token = start_share(world, relay, f":{server.server_port}")
        opener, address = start_open(world, token)
        expect(address.startswith("127.0.0.1:"), address)
        for size in (0, 10, 100_000, 5_000_000):
            with urllib.request.urlopen(f"http://{address}/{size}", timeout=30) as answer:
                expect(answer.read() == b"x" * size, f"a page of {size} bytes arrived changed")
        opener.signal(SIGINT)
        opener.finish(10, status=0)
        share.signal(SIGINT)
        share.finish(10, status=0)
    server.shutdown()


def test_websocket_echo():
    """Both ways at once over one connection that lives on, ended by WebSocket's close and then by each half for itself."""
    sizes = (0, 1, 125, 126, 65535, 65536, 300_000)
    with World(BINARY) as world:
        _, server = world.relay()
        target = Target(websocket.serve_echo)
        _, token = start_share(world, server, f"127.0.0.1:{target.port}")
        _, address = start_open(world, token)
        with dial(address) as connection:
            connection.settimeout(20)
            end = websocket.WebSocket(connection, True)
            expect(end.ask(address), "no WebSocket handshake")
            for number in range(50):  # each waits for the one before
                end.send(websocket.TEXT, f"line {number}".encode())
                expect(end.receive() == (websocket.TEXT, f"line {number}".encode(), True), f"line {number} came back changed")
            messages = [os.urandom(size) for size in sizes]
            writer = threading.Thread(target=lambda: [end.send(websocket.BINARY, message) for message in messages])
            writer.start()
            for message in messages:
                expect(end.receive() == (websocket.BINARY, message, True), f"{len(message)} bytes came back changed")
            writer.join()
            end.send(websocket.TEXT, b"in ", False)
            end.send(websocket.PING, b"there?")
            end.send(websocket.CONTINUATION, b"two pieces")
            got = [end.receive() for _ in range(3)]
            expect(got == [(websocket.TEXT, b"in ", False), (websocket.PONG, b"there?", True), (websocket.CONTINUATION, b"two pieces", True)], f"got {got}")
            end.send(websocket.CLOSE, struct.pack(">H", 1000))
            expect(end.receive() == (websocket.CLOSE, struct.pack(">H", 1000), True), "no answer to the close frame")
            expect(end.is_over(), "the server's FIN did not come")
            connection.sendall(b"the other half is still open")
            connection.shutdown(socket.SHUT_WR)
            expect(end.is_over(), "the connection ended otherwise than by its FIN")


def test_moves_to_a_direct_path_in_place():
    world, _, _, share, _, opener, address = both(direct=True)
    with world:
        for process in (share, opener):
            process.wait_line("^connected-direct", 20)
        ask(address, os.urandom(20 << 20))


def test_200_connections_at_once():
    world, _, _, _, _, opener, address = both()
    with world:
        failures = []

        def one(i):
            try:
                ask(address, os.urandom(1 + (i * 7919) % 200_000))
            except (Failure, OSError) as error:
                failures.append(f"{i}: {error}")

        threads = [threading.Thread(target=one, args=(i,)) for i in range(200)]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        took = time.monotonic() - started
        expect(not failures, f"{len(failures)} of 200 failed, the first: {failures[:1]}")
        return f"200 in {took:.1f} s, {opener.peak_rss_mib():.0f} MiB"


def test_many_openers_with_one_token_and_one_too_many():
    with World(BINARY) as world:
        _, server = world.relay()
        target = Target(digest_server)
        share, token = start_share(world, server, f"127.0.0.1:{target.port}", "--json", "--max-clients", "4")
        openers = [start_open(world, token) for _ in range(4)]
        for _, address in openers:
            ask(address, os.urandom(50_000))
        world.start("open", token).finish(30, status=4)
        openers[0][0].signal(SIGINT)
        openers[0][0].finish(10, status=0)
        share.wait_line('"event":"client-gone"')
        _, address = start_open(world, token)
        ask(address, b"again")
        share.wait_line('"event":"client","client":"client5"')


def test_json_events_of_open():
    """The fields of docs/json-events.md, also of the silence while the share is stopped."""
    world, _, _, share, _, opener, _ = both(direct=True, output="--json")
    with world:
        opener.wait_line('"connected-direct"')
        share.signal(SIGSTOP)
        for name in ("silent", "direct-lost"):  # in either order
            opener.wait_line(f'"event":"{name}"', 60)
        share.signal(SIGCONT)
        opener.wait_line('"event":"back"')
        found = {}
        for event in events(opener):
            found.setdefault(event.get("state", event["event"]), event)
        expect(found["connected-relay"]["relay"] == "127.0.0.1", f"{found['connected-relay']}")
        direct = found["connected-direct"]
        expect(direct["path"] in ("lan", "direct") and direct["address"] and 0 < direct["rtt_ms"] < 10_000, f"{direct}")
        expect(found["direct-lost"]["message"], f"{found['direct-lost']}")
        expect(0 < found["silent"]["seconds"] <= found["back"]["seconds"], f"{found['silent']}, {found['back']}")


ENDS = ("fin", "rst")


def test_half_close_and_reset_matrix():
    """Who ends first, how, how the other one ends, and with how much data before: 16 cases."""
    with World(BINARY) as world:
        _, server = world.relay()
        state = {}

        def serve(connection):
            mine, size = state["target"], state["size"]
            if state["first"] == "client":
                try:
                    state["target_saw"] = ("fin", len(read_all(connection)))
                except ConnectionResetError:
                    state["target_saw"] = ("rst", None)
                    state["done"].set()
                    return
            connection.sendall(b"t" * size)
            if mine == "fin":
                connection.shutdown(socket.SHUT_WR)
            else:
                time.sleep(0.3)  # what was sent shall arrive before
                reset(connection)
                state["done"].set()
                return
            if state["first"] == "target":
                try:
                    state["target_saw"] = ("fin", len(read_all(connection)))
                except ConnectionResetError:
                    state["target_saw"] = ("rst", None)
            state["done"].set()

        target = Target(serve)
        _, token = start_share(world, server, f"127.0.0.1:{target.port}")
        _, address = start_open(world, token)
        cases = 0
        for first in ("client", "target"):
            for client in ENDS:
                for other in ENDS:
                    for size in (0, 300_000):
                        cases += 1
                        name = f"{first} first, client {client}, target {other}, {size} bytes"
                        state.clear()
                        state.update(first=first, target=other, size=size, done=threading.Event())
                        connection = dial(address)
                        saw = None
                        if first == "target":
                            saw = "rst" if was_reset(connection) else "fin"
                            expect(saw == other, f"{name}: the client saw {saw}")
                        if saw != "rst":
                            connection.sendall(b"c" * size)
                            if client == "fin":
                                connection.shutdown(socket.SHUT_WR)
                            else:
                                time.sleep(0.3)
                                reset(connection)
                            if first == "client" and client == "fin":
                                saw = "rst" if was_reset(connection) else "fin"
                                expect(saw == other, f"{name}: the client saw {saw}")
                        expect(state["done"].wait(10), f"{name}: the target never ended")
                        target_saw = state.get("target_saw")
                        if first == "client" or other == "fin":
                            expect(target_saw and target_saw[0] == client, f"{name}: the target saw {target_saw}")
                            if client == "fin":
                                expect(target_saw[1] == size, f"{name}: the target got {target_saw[1]} bytes")
                        connection.close()
        return f"{cases} cases"


def test_a_target_that_refuses_is_told_at_once():
    with World(BINARY) as world:
        _, server = world.relay()
        share, token = start_share(world, server, f"127.0.0.1:{free_port()}")
        opener, address = start_open(world, token)
        connection = dial(address)
        started = time.monotonic()
        expect(was_reset(connection), "the connection ended with a FIN")
        expect(time.monotonic() - started < 2, "it took long")
        opener.wait_line("nobody listens at the shared address")
        share.wait_line("failed: Connection refused")


def test_a_token_of_another_kind():
    with World(BINARY) as world:
        _, server = world.relay()
        _, listen_token = world.listen(server)
        world.start("open", listen_token).finish(10, status=5)
        target = Target(digest_server)
        _, share_token = start_share(world, server, f"127.0.0.1:{target.port}")
        with open(os.devnull, "rb") as stdin:
            world.start("pipe", share_token, stdin=stdin).finish(10, status=5)
        world.start("open", share_token[:-4]).finish(10, status=5)


def test_nobody_shares():
    with World(BINARY) as world:
        _, server = world.relay()
        target = Target(digest_server)
        share, token = start_share(world, server, f"127.0.0.1:{target.port}")
        share.kill()
        world.start("open", token, "--wait", "3s").finish(15, status=4)


def test_the_end_of_the_share_ends_the_opener():
    world, _, _, share, _, opener, address = both()
    with world:
        connection = dial(address)
        share.signal(SIGINT)
        share.finish(10, status=0)
        opener.finish(10, status=4)
        expect(was_reset(connection), "an open connection ended with a FIN")


def test_a_goodbye_on_a_direct_path_is_one():
    # QUIC's own takes the short way and is there before the one that gives the reason.
    for who in ("share", "open"):
        world, _, _, share, _, opener, address = both(direct=True)
        with world:
            for process in (share, opener):
                process.wait_line("^connected-direct", 20)
            ask(address, b"x" * 1000)
            (share if who == "share" else opener).signal(SIGINT)
            if who == "share":
                share.finish(10, status=0)
                opener.finish(10, status=4)
                expect(opener.has_line("stopped sharing"), opener.stderr())
            else:
                opener.finish(10, status=0)
                share.wait_line("^client1 has left", 10)


def test_connections_that_come_with_the_end_of_the_share():
    # Stopped, the share finds the new streams and the signal in one turn.
    world, _, _, share, _, opener, address = both()
    with world:
        share.signal(SIGSTOP)
        connections = [dial(address) for _ in range(20)]
        time.sleep(0.2)  # for the streams to reach the relay
        share.signal(SIGINT)
        share.signal(SIGCONT)
        share.finish(10, status=0)
        opener.finish(10, status=4)
        expect(all(was_reset(connection) for connection in connections), "a connection ended with a FIN")


def test_a_killed_side_is_not_the_end_of_the_data():
    # Who is killed says goodbye to nobody, but a FIN would say that this was all.
    for victim in ("opener", "share"):
        with World(BINARY) as world:
            _, server = world.relay()
            with socket.create_server(("127.0.0.1", 0)) as target:
                share, token = start_share(world, server, f"127.0.0.1:{target.getsockname()[1]}")
                opener, address = start_open(world, token)
                near = dial(address)
                near.sendall(b"half of it")
                target.settimeout(20)
                far, _ = target.accept()
                far.settimeout(20)
                expect(far.recv(100) == b"half of it", "something else came")
                (opener if victim == "opener" else share).signal(SIGKILL)
                expect(was_reset(near if victim == "opener" else far), f"{victim}: its connection ended with a FIN")
                far.close()


def test_an_opener_that_was_killed_can_come_again():
    world, _, _, _, token, opener, _ = both()
    with world:
        opener.signal(SIGKILL)
        _, address = start_open(world, token)
        ask(address, os.urandom(100_000))


def test_relay_killed_and_back():
    world, relay, server, _, _, _, address = both()
    with world:
        connection = dial(address)
        connection.sendall(b"before ")
        port = int(server.rsplit(":", 1)[1].split("/")[0])
        relay.kill()
        time.sleep(2)
        world.relay(port=port)
        connection.sendall(b"after")
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(30)
        answer = read_all(connection)
        expect(answer[32:] == b"before after", f"got {answer[32:]!r}")


def test_unix_sockets():
    with World(BINARY) as world:
        _, server = world.relay()
        inner, outer = world.path("inner"), world.path("outer")
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(inner)
        listening.listen()
        threading.Thread(target=lambda: digest_server(listening.accept()[0]), daemon=True).start()
        _, token = start_share(world, server, "unix:" + inner)
        opener, address = start_open(world, token, "unix:" + outer)
        expect(address == "unix:" + outer, address)
        expect(os.stat(outer).st_mode & 0o777 == 0o600, oct(os.stat(outer).st_mode))
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(outer)
            connection.sendall(b"hello")
            connection.shutdown(socket.SHUT_WR)
            expect(read_all(connection)[32:] == b"hello", "it came back changed")
        opener.signal(SIGINT)
        opener.finish(10, status=0)
        expect(not os.path.exists(outer), "the socket was left behind")


def test_metadata_addresses_are_refused():
    with World(BINARY) as world:
        for target in ("169.254.169.254:80", "[fe80::1]:80"):
            world.start("share", target, "--relay", "self").finish(10, status=2)


def test_wider_binds_earn_a_warning():
    with World(BINARY) as world:
        _, server = world.relay()
        target = Target(digest_server)
        _, token = start_share(world, server, f"127.0.0.1:{target.port}")
        opener, address = start_open(world, token, "0.0.0.0:0")
        opener.wait_line("Other machines can reach this address")
        ask("127.0.0.1:" + address.rsplit(":", 1)[1], b"x")


def need_descriptors():
    """The program is not dumpable, so its /proc/PID/fd belongs to root."""
    if os.geteuid() != 0:
        raise Missing("needs root: the program hides its descriptors")


def descriptors(*processes):
    need_descriptors()
    return [len(os.listdir(f"/proc/{process.child.pid}/fd")) for process in processes]


def expect_descriptors(wanted, *processes):
    """Closing takes a moment on either side."""
    deadline = time.monotonic() + 10
    while any(have > most for have, most in zip(descriptors(*processes), wanted)):
        expect(time.monotonic() < deadline, f"descriptors: {descriptors(*processes)}, at the start {wanted}")
        time.sleep(0.02)


def echo_server(connection):
    while piece := connection.recv(1 << 16):
        connection.sendall(piece)
    connection.close()


def answers(connection, timeout=20):
    """Whether what is sent now comes back."""
    try:
        connection.settimeout(timeout)
        connection.sendall(b"?")
        return connection.recv(1) == b"?"
    except OSError:
        return False


def limited(count):
    if shutil.which("prlimit") is None:
        raise Missing("prlimit (util-linux)")
    return ("prlimit", f"--nofile={count}:{count}")


def fill_and_recover(prefix_share, prefix_open, trouble):
    """More connections than one side has descriptors for: those beyond are reset, the others live, and later there is room again."""
    with World(BINARY) as world:
        _, server = world.relay()
        target = Target(echo_server)
        share = world.start("share", f"127.0.0.1:{target.port}", "--derp-server", server, prefix=prefix_share)
        found, _ = share.wait_line(r"derphole open (dh1[\w-]{40,})")
        opener = world.start("open", found[1], stdout=subprocess.PIPE, prefix=prefix_open)
        address = opener.child.stdout.readline().decode().split()[-1]
        before = descriptors(share, opener)
        connections = [connection for _ in range(60) if (connection := dial_unless_reset(address))]
        alive = [connection for connection in connections if answers(connection)]
        expect(5 < len(alive) < 60, f"{len(alive)} of 60 connections work")
        (share if prefix_share else opener).wait_line(trouble)
        expect(all(answers(connection) for connection in alive), "a connection that worked does not any more")
        for connection in connections:
            connection.close()
        expect_descriptors(before, share, opener)
        with dial(address) as again:
            expect(answers(again), "no connection works after the others have ended")
        return f"{len(alive)} of 60 had room"


def test_a_share_out_of_descriptors_goes_on():
    return fill_and_recover(limited(40), (), "A connection to the shared address failed: Too many open files")


def test_an_opener_out_of_descriptors_goes_on():
    return fill_and_recover((), limited(40), "could not be accepted: Too many open files")


def test_connections_live_while_both_processes_are_stopped():
    world, _, _, share, _, opener, address = both(direct=True, serve=echo_server)
    with world:
        with dial(address) as connection:
            expect(answers(connection), "not even before")
            for number in (SIGSTOP, SIGCONT):
                for process in (share, opener):
                    process.signal(number)
                if number == SIGSTOP:
                    connection.sendall(b"!")
                    time.sleep(2)
            connection.settimeout(5)
            try:
                expect(connection.recv(1) == b"!", "what was sent meanwhile came back changed")
            except OSError as error:
                raise Failure(f"{error}; share:\n{share.stderr()}\nopen:\n{opener.stderr()}") from None
            expect(answers(connection, 5), "nothing goes through afterwards")


def test_a_reader_that_does_not_read_holds_up_nobody():
    with World(BINARY) as world:
        _, server = world.relay()
        go_on = threading.Event()

        def serve(connection):
            if connection.recv(1) == b"s":
                go_on.wait(30)
                return
            connection.sendall(b"?")
            echo_server(connection)

        target = Target(serve)
        share, token = start_share(world, server, f"127.0.0.1:{target.port}")
        opener, address = start_open(world, token)
        stuck = dial(address)
        stuck.settimeout(1)
        pushed = 0
        try:
            stuck.sendall(b"s")
            while pushed < 64 << 20:
                pushed += stuck.send(b"x" * (1 << 18))
        except TimeoutError:
            pass
        expect(pushed < 64 << 20, "64 MiB went to a reader that does not read")
        with dial(address) as other:
            expect(answers(other), "another connection does not work beside it")
        most = max(share.peak_rss_mib(), opener.peak_rss_mib())
        expect(most < 64, f"{most:.0f} MiB of memory")
        go_on.set()
        stuck.close()
        return f"{pushed / (1 << 20):.1f} MiB taken by it and the system's buffers, {most:.0f} MiB of memory"


def udp_ports(process):
    """IPv4 UDP sockets of a process, from /proc."""
    need_descriptors()
    folder = f"/proc/{process.child.pid}/fd"
    inodes = set()
    for name in os.listdir(folder):
        try:
            inodes.add(os.readlink(f"{folder}/{name}"))
        except OSError:
            continue
    with open("/proc/net/udp", encoding="ascii") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return [int(row[1].split(":")[1], 16) for row in rows if f"socket:[{row[9]}]" in inodes]


def test_strangers_hear_nothing_and_cost_nothing():
    world, _, _, share, _, opener, address = both(direct=True)
    with world, socket.socket(type=socket.SOCK_DGRAM) as stranger:
        opener.wait_line("^connected-direct")
        ask(address, os.urandom(100_000))
        ports = udp_ports(share) + udp_ports(opener)
        expect(len(ports) >= 2, f"UDP ports: {ports}")
        before = [process.peak_rss_mib() for process in (share, opener)]
        noise = os.urandom(1175)
        for number in range(4000):
            head = {0: b"\xc3\0\0\0\1\x10" + os.urandom(16), 1: b"\x43" + os.urandom(12), 2: os.urandom(8)}[number % 3]
            stranger.sendto(head + noise, ("127.0.0.1", ports[number % len(ports)]))
        ask(address, os.urandom(1_000_000))
        stranger.settimeout(0.3)
        try:
            answer = stranger.recv(2048)
            raise Failure(f"a stranger was answered with {len(answer)} bytes")
        except TimeoutError:
            pass
        grown = [process.peak_rss_mib() - size for process, size in zip((share, opener), before)]
        expect(max(grown) < 16, f"memory grew by {grown} MiB")


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in sorted(globals().items()) if name.startswith("test_")]))
