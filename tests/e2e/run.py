#!/usr/bin/env python3
"""End-to-end tests: the real binaries on loopback. run.py BINARY [words that select tests]."""
import json
import os
import socket
import subprocess
import sys
import threading
import time

from support import (Failure, SIGINT, SIGKILL, SIGTERM, World, events, expect, free_port, make_file, run_tests, sha256)

BINARY = sys.argv[1]
DERPER = os.environ.get("DERPER")
DERPPROBE = os.environ.get("DERPPROBE")


def transfer(world, server, size, *flags, timeout=60):
    """One session of `size` bytes; both ends exit 0 and the bytes are equal."""
    source, out = world.path("source"), "received"
    make_file(source, size)
    listener, token = world.listen(server, *flags, out=out)
    sender = world.pipe(token, source, *flags)
    sender.finish(timeout)
    listener.finish(timeout)
    expect(sha256(source) == sha256(world.path(out)), f"{size} bytes arrived changed")
    return listener, sender


def test_sizes_from_nothing_to_32_mib():
    with World(BINARY) as world:
        _, server = world.relay()
        for size in (0, 1, 1000, 65536, 1 << 20, 32 << 20):
            transfer(world, server, size)


def test_verbose_prints_the_state_words_in_order():
    with World(BINARY) as world:
        _, server = world.relay()
        listener, sender = transfer(world, server, 100_000, "--verbose")
        for process, words in ((listener, ["waiting-for-claim", "claimed", "connected-relay", "stream-complete"]),
                               (sender, ["claimed", "connected-relay", "stream-complete"])):
            got = [text for _, text in process.lines if text in words]
            expect(sorted(got) == sorted(words) and got[-1] == "stream-complete", f"state words were {got}")


def test_moves_to_a_direct_path_in_place():
    with World(BINARY, direct=True) as world:
        _, server = world.relay()
        listener, sender = transfer(world, server, 64 << 20, "--verbose")
        for process in (listener, sender):
            words = [text for _, text in process.lines if text in ("claimed", "probing-direct", "connected-relay",
                                                                   "connected-direct", "stream-complete")]
            expect(words[0] == "claimed" and words[-1] == "stream-complete", f"state words were {words}")
            expect("probing-direct" in words and "connected-direct" in words, f"state words were {words}")
            expect(process.has_line("direct [0-9]+%|direct 100%"), process.stderr())


def test_limit_rate_takes_its_due_time():
    """Relay first, then direct: 3 MiB at 1 MiB/s cannot take less than three seconds on any of them."""
    with World(BINARY, direct=True) as world:
        _, server = world.relay()
        for path in ([], ["--force-relay"]):
            source = world.path("source")
            make_file(source, 3 << 20)
            listener, token = world.listen(server, *path)
            started = time.monotonic()
            sender = world.pipe(token, source, "--limit-rate", "1M", *path)
            sender.finish(60)
            took = time.monotonic() - started
            listener.finish(60)
            expect(sha256(source) == sha256(world.path("received")), "what was sent slowly arrived changed")
            expect(took > 2.8, f"3 MiB at 1 MiB/s took only {took:.2f} s")
        for words in ("fast", "-5", "1q", "", "10", "nan", "1e300G"):
            process = world.start("pipe", "dh1x", "--limit-rate", words)
            process.finish(10, status=2)
            expect(process.has_line("limit-rate"), process.stderr())


def test_polite_transfers_and_says_nothing_more():
    with World(BINARY, direct=True) as world:
        _, server = world.relay()
        for path in ([], ["--force-relay"]):
            source = world.path("source")
            make_file(source, 4 << 20)
            listener, token = world.listen(server, *path)
            world.pipe(token, source, "--polite", *path).finish(60)
            listener.finish(60)
            expect(sha256(source) == sha256(world.path("received")), "what was sent politely arrived changed")


def test_require_direct_sends_no_payload_over_the_relay():
    with World(BINARY, direct=True) as world:
        port = free_port()
        world.relay(port=port)
        front, seen = free_port(), world.path("seen")
        tap = world.start_other([sys.executable, os.path.join(os.path.dirname(__file__), "tap.py"), str(front), str(port), seen])
        tap.wait_line("ready")
        listener, sender = transfer(world, f"http://127.0.0.1:{front}", 8 << 20, "--require-direct", "--verbose")
        for process in (listener, sender):
            expect(not process.has_line("^connected-relay") and process.has_line("direct 100%"), process.stderr())
        crossed = os.path.getsize(seen)
        expect(crossed < 64 << 10, f"{crossed} bytes crossed the relay")


def test_require_and_forbid_at_once_is_a_usage_error():
    with World(BINARY, direct=True) as world:
        world.start("listen", "--require-direct", "--force-relay", "--relay", "self").finish(10, status=2)


def test_json_events():
    with World(BINARY) as world:
        _, server = world.relay()
        listener, sender = transfer(world, server, 200_000, "--json")
        for process in (listener, sender):
            names = [event["event"] for event in events(process)]
            done = events(process)[-1]
            expect(names[-1] == "done" and done["bytes"] == 200_000, f"events were {names}")
            expect(done["relay_share"] == 1 and done["direct_bytes"] == 0 and done["relay_bytes"] > 200_000, f"{done}")
            expect(done["packets_sent" if process is sender else "packets_received"] >= 7, f"{done}")  # of 32 KiB
            expect(all(text is None or text.startswith("{") for _, text in process.lines), "text between the JSON lines")


def test_print_token_only():
    with World(BINARY) as world:
        _, server = world.relay()
        source = world.path("source")
        make_file(source, 5000)
        listener = world.start("listen", "--print-token-only", "--derp-server", server, stdout=subprocess.PIPE)
        token = listener.child.stdout.readline().decode().strip()
        expect(token.startswith("dh1"), f"first line of stdout: {token!r}")
        world.pipe(token, source).finish()
        expect(listener.child.stdout.read() == open(source, "rb").read(), "payload behind the token differs")
        listener.finish()


def test_token_sources_and_process_list():
    with World(BINARY) as world:
        _, server = world.relay()
        source = world.path("source")
        make_file(source, 1000)
        listener, token = world.listen(server)
        with open(world.path("token"), "w", encoding="ascii") as file:
            file.write(token + "\n")
        with open(source, "rb") as stdin:
            world.start("pipe", "--token-file", world.path("token"), stdin=stdin).finish()
        listener.finish()

        listener, token = world.listen(server)
        payload = b"payload behind the token line"
        sender = world.start("pipe", "--token-stdin", stdin=subprocess.PIPE)
        sender.child.stdin.write(token.encode() + b"\n" + payload)
        sender.child.stdin.close()
        sender.finish()
        listener.finish()
        expect(open(world.path("received"), "rb").read() == payload, "--token-stdin ate or added payload")

        listener, token = world.listen(server)
        sender = world.start("pipe", token, "--verbose", stdin=subprocess.PIPE)
        sender.wait_line("^claimed$")
        shown = open(f"/proc/{sender.child.pid}/cmdline", "rb").read().decode() if os.access(
            f"/proc/{sender.child.pid}/cmdline", os.R_OK) else ""
        expect(token not in shown, "the token stands in the process list")
        sender.child.stdin.close()
        sender.finish()
        listener.finish()


def test_bad_tokens_say_why():
    with World(BINARY) as world:
        _, server = world.relay()
        _, token = world.listen(server)
        middle = len(token) // 2
        flipped = token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1:]
        for text, status, words in (("garbage", 5, "not a token"), (token[:-10], 5, "cut off"), (flipped, 5, "damaged"),
                                    ("dts1AAAA", 5, "derptun server"), ("dtc1AAAA", 5, "derptun client"),
                                    ("", 2, "no token|required|token")):
            process = world.start("pipe", text) if text else world.start("pipe")
            process.finish(5, status)
            lines = process.stderr().splitlines()
            expect(len(lines) == 1 and __import__("re").search(words, lines[0]), f"for {text[:20]!r} it said {lines}")


def test_used_token_exits_5():
    with World(BINARY) as world:
        _, server = world.relay()
        listener, token = world.listen(server)
        first = world.start("pipe", token, "--verbose", stdin=subprocess.PIPE)
        first.wait_line("^claimed$")
        second = world.start("pipe", token)
        second.finish(15, 5)
        expect(second.has_line("already used"), second.stderr())
        first.child.stdin.write(b"still mine")
        first.child.stdin.close()
        first.finish()
        listener.finish()
        expect(open(world.path("received"), "rb").read() == b"still mine", "the second claim disturbed the first")


def test_nobody_there_exits_4_in_time():
    with World(BINARY) as world:
        _, server = world.relay()
        listener, token = world.listen(server)
        listener.kill()
        started = time.monotonic()
        sender = world.start("pipe", token)
        sender.finish(20, 4)
        seconds = time.monotonic() - started
        expect(seconds < 16, f"it took {seconds:.1f} s")
        short = world.start("pipe", token, "--wait", "1s")
        short.finish(5, 4)
        return f"after {seconds:.1f} s"


def test_relay_gone_for_good_exits_4():
    with World(BINARY) as world:
        relay, server = world.relay()
        listener, token = world.listen(server)
        relay.kill()
        world.start("pipe", token, "--wait", "3s").finish(8, 4)
        listener.kill()


def test_usage_errors_exit_2():
    with World(BINARY) as world:
        for args in (["nonsense"], ["listen", "--nonsense"], ["listen", "-v", "-q"], ["pipe", "a", "b"],
                     ["listen", "--derp-server", "http://192.0.2.1:80"], ["relay", "--listen", "nowhere"],
                     ["relay", "--plain-http", "--listen", "0.0.0.0:0"], ["pipe", "x", "--wait", "soon"]):
            process = world.start(*args)
            got = process.finish(10, None)
            expect(got == (1 if "0.0.0.0:0" in args else 2), f"{args} ended with {got}: {process.stderr()}")
            expect(len(process.stderr().splitlines()) == 1, f"{args} said {process.stderr()!r}")


def test_help_and_version():
    with World(BINARY) as world:
        for args in (["help"], ["help", "pipe"], ["pipe", "--help"], ["version"], ["version", "--json"], ["--version"]):
            process = world.start(*args, stdout=subprocess.PIPE)
            out = process.child.stdout.read()
            process.finish(5)
            expect(out and not process.stderr(), f"{args}: help belongs on stdout")


def test_cipher_backends_are_chosen_and_speak_to_each_other():
    with World(BINARY) as world:
        def backend(env):
            process = world.start("version", "--verbose", stdout=subprocess.PIPE, env=env)
            out = process.child.stdout.read().decode()
            return process.finish(5, None), out, process.stderr()

        status, out, _ = backend({})
        expect(status == 0 and "aead=" in out, f"version --verbose ended with {status} and said {out!r}")
        have = {"openssl"} | ({"ipsec-mb"} if "aead=ipsec-mb" in out else set())
        for name in ("openssl", "ipsec-mb"):
            status, out, error = backend({"DERPHOLE_AEAD": name})
            if name in have:
                expect(status == 0 and f"aead={name}" in out, f"{name}: {status}, {out!r}, {error!r}")
            else:
                expect(status == 2 and len(error.splitlines()) == 1, f"{name} is not here: {status}, {error!r}")
        for args in (["version"], ["listen"], ["pipe", "x"]):
            process = world.start(*args, env={"DERPHOLE_AEAD": "rot13"})
            process.finish(5, 2)
            expect(len(process.stderr().splitlines()) == 1 and "rot13" in process.stderr(), process.stderr())
        _, server = world.relay()
        source = world.path("source")
        make_file(source, 5_000_000)
        for receiver in have:
            for sender in have:
                listener, token = world.listen(server, env={"DERPHOLE_AEAD": receiver})
                world.pipe(token, source, env={"DERPHOLE_AEAD": sender}).finish(30)
                listener.finish(30)
                expect(sha256(source) == sha256(world.path("received")), f"{sender} to {receiver}: bytes changed")
        return "" if len(have) > 1 else "(only openssl here)"


def both_ways(variable, pairs, size, wrong):
    """Direct transfers with an environment variable set for listener and sender; anything else than on or off is refused in one line."""
    flags = ("--require-direct", "--verbose")  # over a relay there is no datagram that the variable could change
    with World(BINARY, direct=True) as world:
        _, server = world.relay()
        source = world.path("source")
        make_file(source, size)
        for listening, sending in pairs:
            listener, token = world.listen(server, *flags, env={variable: listening})
            sender = world.pipe(token, source, *flags, env={variable: sending})
            sender.finish(60)
            listener.finish(60)
            expect(sha256(source) == sha256(world.path("received")), f"{sending} to {listening}: bytes changed")
            for process in (listener, sender):
                expect(process.has_line("^connected-direct$"), f"{sending} to {listening}: {process.stderr()}")
        process = world.start("pipe", token, env={variable: wrong})
        process.finish(5, 2)
        expect(len(process.stderr().splitlines()) == 1 and wrong in process.stderr() and "on or off" in process.stderr(), process.stderr())


def test_without_offload_every_datagram_travels_alone():
    both_ways("DERPHOLE_UDP_OFFLOAD", (("off", "off"), ("off", "on"), ("on", "off")), 20_000_000, "perhaps")


def test_congestion_control_says_what_it_believes():
    with World(BINARY, direct=True) as world:
        _, server = world.relay()
        source = world.path("source")
        make_file(source, 20_000_000)

        def sent(flags, env):
            listener, token = world.listen(server, "--require-direct")
            sender = world.pipe(token, source, "--require-direct", "--verbose", *flags, env=env)
            sender.finish(60)
            listener.finish(60)
            return sender

        slow = ("--json", "--limit-rate", "12M")  # so that it is asked in the middle
        events = [json.loads(line) for line in sent(slow, {}).stderr().splitlines()]
        seen = [event for event in events if event["event"] in ("congestion", "done")]
        expect([event["event"] for event in seen][-2:] == ["congestion", "done"], seen)
        for event in seen:
            expect(event["controller"] == "bbr" and event["controller_state"] and event["window_bytes"] > 0 and event["pacing_bytes_per_second"] > 0
                   and 0 <= event["loss_floor"] < 0.1 and "probes" in event["controller_counts"], event)
        sender = sent(("--cc", "cubic"), {})
        expect(sender.has_line("^congestion=cubic in "), sender.stderr())
        sender = sent((), {"DERPHOLE_BBR_WITHOUT": "E1,E7"})
        expect(sender.has_line("^congestion=bbr in "), sender.stderr())
        _, token = world.listen(server)
        process = world.start("pipe", token, env={"DERPHOLE_BBR_WITHOUT": "E0"})
        process.finish(5, 2)
        expect(len(process.stderr().splitlines()) == 1 and "E0" in process.stderr(), process.stderr())


def test_threads_that_seal_and_open_change_nothing():
    both_ways("DERPHOLE_UDP_THREADS", (("on", "on"), ("on", "off"), ("off", "on")), 100_000_000, "perhaps")


def test_lanes_with_and_without_threads():
    with World(BINARY, direct=True) as world:
        _, server = world.relay()
        source = world.path("source")
        make_file(source, 100_000_000)
        for threads in ("on", "off"):
            env = {"DERPHOLE_UDP_THREADS": threads}
            listener, token = world.listen(server, "--json", "--require-direct", env=env)
            sender = world.pipe(token, source, "--json", "--require-direct", "-P", "4", env=env)
            for side in (sender, listener):
                side.finish(60)
                done = json.loads(side.stderr().splitlines()[-1])
                expect(done["event"] == "done" and done["lanes"] == 4, f"{threads}: {done}")
            expect(sha256(source) == sha256(world.path("received")), f"{threads}: bytes changed")
        for wrong in ("0", "5", "many"):
            process = world.start("pipe", token, "--lanes", wrong)
            process.finish(5, 2)
            expect("--lanes" in process.stderr(), process.stderr())


def test_ctrl_c_on_either_side_ends_the_other():
    with World(BINARY) as world:
        _, server = world.relay()
        for who in ("listener", "sender"):
            listener, token = world.listen(server, "--verbose")
            sender = world.start("pipe", token, "--verbose", stdin=subprocess.PIPE)
            sender.child.stdin.write(b"x" * 100_000)
            sender.child.stdin.flush()
            sender.wait_line("^claimed$")
            listener.wait_line("^claimed$")
            cancelled, other = (listener, sender) if who == "listener" else (sender, listener)
            cancelled.signal(SIGINT)
            started = time.monotonic()
            other.finish(10, 3)
            seconds = time.monotonic() - started
            cancelled.finish(5, 130)
            expect(other.has_line("other side cancelled"), other.stderr())
            expect(seconds < 2, f"the other side took {seconds:.1f} s")


def test_reader_that_goes_away_is_reported_on_both_sides():
    with World(BINARY) as world:
        _, server = world.relay()
        listener = world.start("listen", "--derp-server", server, stdout=subprocess.PIPE)
        found, _ = listener.wait_line(r"(dh1\w[\w-]{40,})")
        source = world.path("source")
        make_file(source, 64 << 20)
        sender = world.pipe(found[1], source)
        listener.child.stdout.read(1000)
        listener.child.stdout.close()
        listener.finish(10, 7)
        sender.finish(10, 1)
        expect(sender.has_line("cannot write"), sender.stderr())


def test_disk_full_is_exit_7():
    with World(BINARY) as world:
        _, server = world.relay()
        with open("/dev/full", "wb") as full:
            listener = world.start("listen", "--derp-server", server, stdout=full)
        found, _ = listener.wait_line(r"(dh1\w[\w-]{40,})")
        source = world.path("source")
        make_file(source, 1 << 20)
        world.pipe(found[1], source).finish(10, 1)
        listener.finish(10, 7)
        expect(listener.has_line("No space left"), listener.stderr())


def test_slow_reader_slows_the_sender_within_64_mib():
    with World(BINARY) as world:
        _, server = world.relay()
        listener = world.start("listen", "--derp-server", server, stdout=subprocess.PIPE)
        found, _ = listener.wait_line(r"(dh1\w[\w-]{40,})")
        sender = world.start("pipe", found[1], stdin=subprocess.PIPE)
        total = 96 << 20
        written = 0

        def feed():
            nonlocal written
            block = os.urandom(1 << 20)
            while written < total:
                sender.child.stdin.write(block)
                written += len(block)
            sender.child.stdin.close()

        feeder = threading.Thread(target=feed, daemon=True)
        feeder.start()
        # Nobody reads: what has been taken must stop growing.
        last, stable_since = -1, time.monotonic()
        deadline = time.monotonic() + 30
        while time.monotonic() - stable_since < 2 and time.monotonic() < deadline:
            if written != last:
                last, stable_since = written, time.monotonic()
            time.sleep(0.05)
        expect(written < 48 << 20, f"{written >> 20} MiB went into a pipe that nobody reads")
        peak = max(listener.peak_rss_mib(), sender.peak_rss_mib())
        got = 0
        while block := listener.child.stdout.read(1 << 20):
            got += len(block)
        peak = max(peak, *(p.peak_rss_mib() for p in (listener, sender) if p.child.poll() is None), 0)
        feeder.join(30)
        sender.finish()
        listener.finish()
        expect(got == total, f"{got} bytes of {total}")
        expect(peak < 64, f"peak memory {peak:.0f} MiB")
        return f"peak memory {peak:.0f} MiB"


def test_relay_killed_and_started_again():
    with World(BINARY) as world:
        port = free_port()
        relay, server = world.relay(port=port)
        source = world.path("source")
        make_file(source, 256 << 20)
        listener, token = world.listen(server, "--verbose")
        sender = world.pipe(token, source, "--verbose")
        listener.wait_line("^claimed$")
        for _ in range(2):
            time.sleep(0.3)
            relay.signal(SIGKILL)
            relay.child.wait()
            relay, _ = world.relay(port=port)
        sender.finish(90)
        listener.finish(30)
        expect(sha256(source) == sha256(world.path("received")), "bytes were lost or repeated")


def test_second_relay_takes_over():
    with World(BINARY) as world:
        first, server1 = world.relay()
        _, server2 = world.relay()
        listener, token = world.listen([server1, server2], "--verbose")
        sender = world.start("pipe", token, "--verbose", stdin=subprocess.PIPE)
        sender.child.stdin.write(b"before")
        sender.child.stdin.flush()
        listener.wait_line("^claimed$")
        first.signal(SIGKILL)
        killed = time.monotonic()
        _, when = sender.wait_line(r"^relay=1 ", 10)
        sender.child.stdin.write(b" and after")
        sender.child.stdin.close()
        sender.finish(20)
        listener.finish(20)
        expect(open(world.path("received"), "rb").read() == b"before and after", "bytes were lost or repeated")
        expect(when - killed < 3, f"fail-over took {when - killed:.1f} s")
        return f"fail-over after {when - killed:.2f} s"


def test_own_relay_without_any_flag():
    """An offline machine: no map, nothing to reach; both commands work without a flag."""
    with World(BINARY) as world:
        nowhere = {"DERPHOLE_DERP_MAP": f"http://127.0.0.1:{free_port()}/map.json"}
        source = world.path("source")
        make_file(source, 3 << 20)
        started = time.monotonic()
        with open(world.path("received"), "wb") as stdout:
            listener = world.start("listen", "--relay", "self", stdout=stdout, env=nowhere)
        found, _ = listener.wait_line(r"(dh1\w[\w-]{40,})")
        seconds = time.monotonic() - started
        world.pipe(found[1], source).finish()
        listener.finish()
        expect(sha256(source) == sha256(world.path("received")), "bytes changed")
        return f"token after {seconds:.1f} s"


def test_tls_relay_with_pin():
    with World(BINARY) as world:
        port = free_port()
        relay = world.start("relay", "--listen", f"127.0.0.1:{port}", "--stun", "off")
        found, _ = relay.wait_line(r"--derp-server '(\S+)'")
        expect("pin=sha256-raw:" in found[1], found[1])
        transfer(world, found[1], 5 << 20)
        relay.signal(SIGTERM)
        relay.finish(10)
        again = world.start("relay", "--listen", f"127.0.0.1:{port}", "--stun", "off")
        second, _ = again.wait_line(r"--derp-server '(\S+)'")
        expect(second[1] == found[1], "the --derp-server value changed over a restart")


def marker_crosses(world, server_of_tap, relay_port):
    """Pipes a marker 1,000 times through a tap before the relay and searches what the relay was given."""
    marker = b"derphole-plaintext-marker-0123456789"
    front, seen, source = free_port(), world.path("seen"), world.path("source")
    tap = world.start_other([sys.executable, os.path.join(os.path.dirname(__file__), "tap.py"), str(front),
                             str(relay_port), seen])
    tap.wait_line("ready")
    make_file(source, 1000 * len(marker), marker)
    listener, token = world.listen(server_of_tap(front))
    world.pipe(token, source).finish()
    listener.finish()
    expect(sha256(source) == sha256(world.path("received")), "bytes changed")
    data = open(seen, "rb").read()
    expect(len(data) > 1000 * len(marker), f"the tap saw only {len(data)} bytes")
    for part in (marker, marker[:12], marker[8:24], marker.hex().encode()):
        expect(part not in data, "plaintext crossed the relay")
    expect(b"dh1" not in data and token.encode() not in data, "the token crossed the relay")


def test_relay_sees_no_plaintext():
    with World(BINARY) as world:
        port = free_port()
        world.relay(port=port)
        marker_crosses(world, lambda front: f"http://127.0.0.1:{front}", port)


def test_a_named_relay_that_is_not_there():
    """No other relay takes its place: the one who named it would look for the trouble on the wrong machine."""
    with World(BINARY) as world:
        listener = world.start("listen", "--derp-server", f"http://127.0.0.1:{free_port()}")
        listener.finish(10, status=1)
        expect("--relay self" in listener.stderr() and "dh1" not in listener.stderr(), listener.stderr())


def start_derper(world, *stun):
    """Tailscale's relay without TLS on a loopback port of ours; -dev would take port 3340 whatever -a says."""
    port = free_port()
    process = world.start_other([DERPER, "-a", f"127.0.0.1:{port}", "-c", world.path("derper.json"), "-http-port",
                                 "-1", *(stun or ["-stun=false"]), "-hostname", "127.0.0.1", "-certdir", world.dir], cwd=world.dir)
    process.wait_line("derper: serving on")
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return f"http://127.0.0.1:{port}", port
        time.sleep(0.02)
    raise Failure(f"derper does not listen; it said:\n{process.stderr()}")


def test_through_derper():
    if not DERPER:
        return "SKIPPED: derper is not here (needs Go)"
    with World(BINARY) as world:
        server, _ = start_derper(world)
        transfer(world, server, 0)
        transfer(world, server, 64 << 20)
    return None


def test_stun_of_derper_tells_our_address():
    if not DERPER:
        return "SKIPPED: derper is not here (needs Go)"
    with World(BINARY) as world:
        stun = free_port()
        server, _ = start_derper(world, "-stun=true", "-stun-port", str(stun))
        found = netcheck(world, "--derp-server", f"{server}?stun={stun}")["ipv4"]
        expect(found["state"] == "works" and found["servers_answered"] == 1 and
               found["mapped"] == [f"127.0.0.1:{found['local_port']}"], json.dumps(found))
    return None


def test_derper_sees_no_plaintext():
    if not DERPER:
        return "SKIPPED: derper is not here (needs Go)"
    with World(BINARY) as world:
        _, port = start_derper(world)
        marker_crosses(world, lambda front: f"http://127.0.0.1:{front}", port)
    return None


def test_derpprobe_finds_our_relay_healthy():
    if not DERPPROBE:
        return "SKIPPED: derpprobe is not here (needs Go)"
    import derpprobe
    return derpprobe.check(World, BINARY, DERPPROBE)


def netcheck(world, *args, status=0):
    """Runs it to its end; its JSON report."""
    with open(world.path("report"), "wb") as stdout:
        world.start("netcheck", "--json", *args, stdout=stdout).finish(20, status)
    with open(world.path("report"), encoding="utf-8") as file:
        return json.load(file)


def test_netcheck_of_loopback():
    """No NAT and no filter there, and a server with two addresses can prove it."""
    with World(BINARY) as world:
        port, one, two = free_port(), free_port(), free_port()
        relay = world.start("relay", "--plain-http", "--listen", f"127.0.0.1:{port}", "--stun",
                            f"127.0.0.1:{one},127.0.0.2:{two}")
        server, _ = relay.wait_line(r"--derp-server '(\S+)'")
        report = netcheck(world, "--derp-server", server[1])
        found = report["ipv4"]
        expect((found["state"], found["nat"], found["mapping"], found["filtering"]) ==
               ("works", "none, no firewall", "endpoint-independent", "endpoint-independent"), json.dumps(report))
        expect(report["verdict"] == "open" and report["proven"], json.dumps(report))
        expect(report["relays"][0]["connect_ms"] is not None, json.dumps(report))

        # The same relay out of a map.
        nodes = [{"Name": "1a", "RegionID": 1, "HostName": "localhost", "IPv4": "127.0.0.1", "IPv6": "none", "STUNPort": one,
                  "DERPPort": port}]
        with open(world.path("map.json"), "w", encoding="utf-8") as file:
            json.dump({"Regions": {"1": {"RegionID": 1, "RegionCode": "here", "Nodes": nodes}}}, file)
        report = netcheck(world, "--derp-map", world.path("map.json"))
        expect(report["ipv4"]["nat"] == "none, no firewall" and report["relays"][0]["name"] == "here", json.dumps(report))
        return f"{report['seconds']:.2f} s"


def test_netcheck_without_any_answer():
    with World(BINARY) as world:
        report = netcheck(world, "--derp-server", f"http://127.0.0.1:{free_port()}?stun={free_port()}", status=8)
        expect(report["verdict"] == "no-network" and report["relays"][0]["connect_error"], json.dumps(report))
        world.start("netcheck", "--derp-server", "gopher://nowhere").finish(10, 2)
        world.start("netcheck", "--derp-map", world.path("missing.json")).finish(10, 1)


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in list(globals().items()) if name.startswith("test_")]))
