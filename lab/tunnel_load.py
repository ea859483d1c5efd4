#!/usr/bin/env python3
"""share and open under load, under faults, beside strangers and with real programs: tunnel_load.py BINARY [--freeze SECONDS] [words that select]

Two homes behind NATs in namespaces (natlab.py). A line for each scenario: ok, FAIL with what happened, or skip with what is not installed.
`--freeze`: how long both processes are stopped in `frozen` (10).
"""
import argparse
import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import natlab
from support import Missing, expect, run_tests
from tunnel_world import PATIENCE, Ticker, Tunnel, raise_descriptor_limit

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench"))
from two_hosts import ssh_words, sshd  # noqa: E402

RTT_MS = 40
MEMORY_LIMIT = 256  # MiB of each process
AFTER_FAULT = 5     # seconds until bytes flow again
LOSSY_SHARE = 0.8   # of the link, with 1 % lost
WIRE_CARRIES = 0.9  # of the link, with nothing lost: less shows what the machine has left, not what loss does
FROM_OPENER = "ab"  # the wire's first end is the opener's gateway
ECHO, WEB, SSH, IPERF, POSTGRES = 7001, 7002, 7003, 7004, 7005
SCREENSHOT = os.path.join(tempfile.gettempdir(), "derphole-tunnel-page.png")


def need(*programs):
    missing = [program for program in programs if shutil.which(program) is None and not os.path.exists(f"/usr/sbin/{program}")]
    if missing:
        raise Missing("not installed: " + ", ".join(missing))


def port_of(address):
    return int(address.rsplit(":", 1)[1])


def load(options):
    """1,000 standing connections and 200 new ones a second for a minute, mixed sizes, 40 ms."""
    tunnel = Tunnel(options.binary, rtt_ms=RTT_MS)
    try:
        tunnel.serve_echo(ECHO)
        address = tunnel.begin(f"127.0.0.1:{ECHO}")
        port = port_of(address)
        warm = [tunnel.program("tcp_load"), "ask", "127.0.0.1", str(port), "1", "0.5", "64"]
        expect(tunnel.on_b(warm, 20).returncode == 0, "not even one connection works")
        time.sleep(0.5)
        before = tunnel.descriptors()
        done = tunnel.on_b([tunnel.program("tcp_load"), "load", "127.0.0.1", str(port), str(options.standing), str(options.rate), str(options.seconds), "1"],
                           options.seconds + 60)
        expect(done.stdout, f"the load ended without a word: {done.stderr}")
        result = json.loads(done.stdout)
        peak, cpu = tunnel.memory(), tunnel.cpu_seconds()
        deadline = time.monotonic() + PATIENCE
        while any((after := tunnel.descriptors())[name] > before[name] for name in before) and time.monotonic() < deadline:
            time.sleep(0.1)
        text = (f"{result['whole']} of {result['begun']} whole and {result['standing']} standing, {result['bytes'] / 1e6:.0f} MB each way; first byte p50 "
                f"{result['p50_connect_ms']:.0f} ms, p99 {result['p99_connect_ms']:.0f} ms; peak MiB share {peak['share']:.0f}, open {peak['open']:.0f}; "
                f"descriptors {before} -> {after}; CPU s share {cpu['share']:.1f}, open {cpu['open']:.1f}, load of the machine {os.getloadavg()[0]:.1f}")
        expect(done.returncode == 0, f"not all was whole: {result}; {text}")
        expect(max(peak.values()) <= MEMORY_LIMIT, f"too much memory; {text}")
        expect(all(after[name] <= before[name] for name in before), f"descriptors were left over; {text}")
        limit = 2 * RTT_MS + 100
        return text + ("" if result["p99_connect_ms"] <= limit else f" (MORE than the {limit} ms that a quiet machine takes)")
    finally:
        tunnel.close()


def pgbench(options):
    """PostgreSQL with 20 clients for a minute while the path goes relay, direct, relay, direct."""
    need("pgbench", "runuser")
    programs = sorted(f"/usr/lib/postgresql/{version}/bin" for version in os.listdir("/usr/lib/postgresql")) if os.path.isdir("/usr/lib/postgresql") else []
    if not programs:
        raise Missing("not installed: postgresql")
    tunnel = Tunnel(options.binary)
    place = tempfile.mkdtemp(prefix="derphole-pg-")
    server = None
    try:
        shutil.chown(place, "postgres")
        data, sockets = os.path.join(place, "data"), place
        as_postgres = ["runuser", "-u", "postgres", "--"]
        subprocess.run([*as_postgres, f"{programs[-1]}/initdb", "-D", data, "-A", "trust", "--no-sync"], check=True, capture_output=True, cwd=place)
        server = subprocess.Popen(["ip", "netns", "exec", tunnel.lab.ns("a1"), *as_postgres, f"{programs[-1]}/postgres", "-D", data, "-p", str(POSTGRES), "-k", sockets,
                                   "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=100"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=place)
        tunnel.lab.cut_udp("a")
        port = port_of(tunnel.begin(f"127.0.0.1:{POSTGRES}", direct=False))
        arguments = ["-h", "127.0.0.1", "-p", str(port), "-U", "postgres"]
        deadline = time.monotonic() + PATIENCE
        while tunnel.on_b(["pgbench", *arguments, "-i", "-q", "-s", "5", "postgres"], 60).returncode != 0:
            expect(time.monotonic() < deadline, "PostgreSQL cannot be reached through the tunnel")
            time.sleep(0.2)
        quarter = options.seconds / 4
        actions = [threading.Timer(quarter * n, act, ("a",)) for n, act in ((1, tunnel.lab.heal), (2, tunnel.lab.cut_udp), (3, tunnel.lab.heal))]
        for action in actions:
            action.daemon = True
            action.start()
        done = tunnel.on_b(["pgbench", *arguments, "-n", "-c", "20", "-j", "2", "-T", str(int(options.seconds)), "postgres"], options.seconds + 60)
        words = [word.removeprefix("connected-") for _, word in tunnel.paths()]
        failed = re.search(r"number of failed transactions: (\d+)", done.stdout)
        processed = re.search(r"number of transactions actually processed: (\d+)", done.stdout)
        expect(done.returncode == 0 and failed and processed, f"pgbench ended with {done.returncode}: {done.stderr[-300:]}")
        text = f"{processed[1]} transactions, {failed[1]} failed, path {' -> '.join(words)}"
        expect(failed[1] == "0" and "aborted" not in done.stderr, text)
        expect(words == ["relay", "direct", "relay", "direct"], text)
        return text
    finally:
        if server:
            tunnel.lab.on("a1", f"pkill -QUIT --pidfile {place}/data/postmaster.pid", check=False)
            server.kill()
            server.wait()
        tunnel.close()
        shutil.rmtree(place, ignore_errors=True)


class Pages(http.server.BaseHTTPRequestHandler):
    """A page, its 100 assets, and anything else as 1 KiB."""
    protocol_version = "HTTP/1.1"
    assets = 100
    served = None

    def do_GET(self):
        if self.path == "/":
            body, kind = self.page().encode(), "text/html"
        elif self.path.startswith("/asset"):
            number = int(self.path.split("-")[1].split(".")[0])
            body, kind = (f'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><rect width="40" height="40" fill="hsl({number * 3},70%,60%)"/>'
                          f"<!--{'x' * (number * 200)}--></svg>").encode(), "image/svg+xml"
            self.server.served.add(number)
        else:
            body, kind = b"y" * 1024, "text/plain"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def page(self):
        images = "".join(f'<img src="/asset-{i}.svg" onload="n++;show()" onerror="bad++;show()">' for i in range(self.assets))
        return ("<!doctype html><title>tunnel</title><script>var n=0,bad=0;function show(){document.getElementById('count').textContent="
                "n+' loaded, '+bad+' failed'}</script><p id=count>none</p>" + images)

    def log_message(self, *args):
        pass


def web_server(tunnel):
    """In a process of its own in a1, which says what assets it served when asked for /served."""
    code = ("import sys,threading,json,http.server; sys.path.insert(0, sys.argv[1]); import tunnel_load as t\n"
            "class H(t.Pages):\n"
            "    def do_GET(self):\n"
            "        if self.path == '/served':\n"
            "            body = json.dumps(sorted(self.server.served)).encode()\n"
            "            self.send_response(200); self.send_header('Content-Length', str(len(body))); self.end_headers(); self.wfile.write(body)\n"
            "        else: super().do_GET()\n"
            "class S(http.server.ThreadingHTTPServer): request_queue_size = 256\n"
            f"s = S(('127.0.0.1', {WEB}), H); s.served = set(); print('ready', flush=True); s.serve_forever()\n")
    server = subprocess.Popen(["ip", "netns", "exec", tunnel.lab.ns("a1"), sys.executable, "-c", code, os.path.dirname(os.path.abspath(__file__))],
                              stdout=subprocess.PIPE)
    tunnel.lab.children.append(server)
    expect(server.stdout.readline(), "the web server did not start")


def web(options):
    """wrk, or h2load: 50 connections of HTTP/1.1 for 10 s."""
    tool = next((name for name in ("wrk", "h2load") if shutil.which(name)), None)
    if tool is None:
        raise Missing("not installed: wrk, h2load")
    tunnel = Tunnel(options.binary, rtt_ms=RTT_MS)
    try:
        web_server(tunnel)
        url = f"http://127.0.0.1:{port_of(tunnel.begin(f'127.0.0.1:{WEB}'))}/x"
        if tool == "wrk":
            done = tunnel.on_b(["wrk", "-t1", "-c50", "-d10s", "--latency", url], 60)
            expect(done.returncode == 0 and "Requests/sec" in done.stdout, f"wrk: {done.stdout} {done.stderr}")
            expect("Socket errors" not in done.stdout and "Non-2xx" not in done.stdout, f"wrk: {done.stdout}")
            rate, p99 = re.search(r"Requests/sec:\s*([\d.]+)", done.stdout)[1], re.search(r"99%\s+(\S+)", done.stdout)[1]
            return f"wrk: {rate} requests/s, p99 {p99}, no error"
        done = tunnel.on_b(["h2load", "--h1", "-c50", "-n5000", url], 60)
        expect("5000 succeeded, 0 failed" in done.stdout, f"h2load: {done.stdout} {done.stderr}")
        return "h2load: 5000 of 5000"
    finally:
        tunnel.close()


def ssh(options):
    """32 MiB into `sha256sum` on the other side."""
    need("ssh", "sshd", "ssh-keygen")
    tunnel = Tunnel(options.binary, rtt_ms=RTT_MS)
    try:
        sshd(lambda args: natlab.Process(tunnel.lab, "a1", args), tunnel.lab.ns("a1"), tunnel.lab.dir, "127.0.0.1", SSH)
        port = port_of(tunnel.begin(f"127.0.0.1:{SSH}"))
        data = os.urandom(32 << 20)
        started = time.monotonic()
        done = subprocess.run(["ip", "netns", "exec", tunnel.lab.ns("b1"), *ssh_words(tunnel.lab.dir, port), "root@127.0.0.1", "sha256sum"],
                              input=data, capture_output=True, timeout=90, check=False)
        expect(done.stdout.split()[:1] == [hashlib.sha256(data).hexdigest().encode()], f"ssh: {done.stdout!r} {done.stderr!r}")
        return f"32 MiB in {time.monotonic() - started:.1f} s, hash equal"
    finally:
        tunnel.close()


def iperf3(options):
    """8 streams there, 8 back."""
    need("iperf3")
    tunnel = Tunnel(options.binary, rtt_ms=RTT_MS)
    try:
        server = subprocess.Popen(["ip", "netns", "exec", tunnel.lab.ns("a1"), "iperf3", "-s", "-B", "127.0.0.1", "-p", str(IPERF)], stdout=subprocess.DEVNULL)
        tunnel.lab.children.append(server)
        port = port_of(tunnel.begin(f"127.0.0.1:{IPERF}"))
        rates = []
        for back in ([], ["-R"]):
            done = tunnel.on_b(["iperf3", "-c", "127.0.0.1", "-p", str(port), "-P", "8", "-t", "5", "-J", *back], 60)
            answer = json.loads(done.stdout)
            expect("error" not in answer, f"iperf3: {answer.get('error')}")
            rates.append(answer["end"]["sum_received"]["bits_per_second"] / 1e6)
        return f"{rates[0]:.0f} Mbit/s there, {rates[1]:.0f} back"
    finally:
        tunnel.close()


def one_stream(options, rate, loss):
    """Share of a link of `rate` Mbit/s, 40 ms and a queue of one product that one stream fills, through the lab's wire."""
    payload = 1428 / 1500  # of a packet: what is the stream's
    tunnel = Tunnel(options.binary, rtt_ms=RTT_MS)
    try:
        server = subprocess.Popen(["ip", "netns", "exec", tunnel.lab.ns("a1"), "iperf3", "-s", "-p", str(IPERF)], stdout=subprocess.DEVNULL)
        tunnel.lab.children.append(server)
        port = port_of(tunnel.begin(f"127.0.0.1:{IPERF}"))
        wire = tunnel.lab.wires["gwb"]
        wire.tell(f"set both queue {rate * RTT_MS * 125}")
        wire.tell(f"set both rate {rate}mbit")
        wire.tell(f"set {FROM_OPENER} loss {loss:g}")
        done = tunnel.on_b(["iperf3", "-c", "127.0.0.1", "-p", str(port), "-t", "8", "-O", "3", "-J"], 60)
        result = json.loads(done.stdout)
        expect("error" not in result, f"iperf3: {result.get('error')}")
        expect(tunnel.paths()[-1][1] == "connected-direct", "the tunnel left its direct path")
        return result["end"]["sum_received"]["bits_per_second"] / (rate * 1e6 * payload)
    finally:
        tunnel.close()


def lossy(options):
    """One stream with 1 % lost, beside the same without loss: where the wire does not carry its rate on this machine nothing is proven."""
    need("iperf3")
    told, judged = [], 0
    for rate in (1000, 250):
        clean, share = one_stream(options, rate, 0), one_stream(options, rate, 0.01)
        told.append(f"{share:.2f} of {rate} Mbit/s with 1 % lost, {clean:.2f} with nothing lost")
        if clean >= WIRE_CARRIES:
            judged += 1
            expect(share >= LOSSY_SHARE, "; ".join(told))
    if not judged:
        raise Missing(f"this machine is too slow for the wire: {'; '.join(told)}")
    return "; ".join(told)


def through_fault(options, begin, end, length, afterwards=lambda tunnel: None):
    """Open connections through a fault: `begin(tunnel)`, `length` seconds, `end(tunnel)`. All must live, bytes flow soon after, and after
    `afterwards(tunnel)` the tunnel is direct again."""
    tunnel = Tunnel(options.binary)
    try:
        tunnel.serve_echo(ECHO)
        port = port_of(tunnel.begin(f"127.0.0.1:{ECHO}"))
        tickers = [Ticker(tunnel, port) for _ in range(5)]
        time.sleep(1)
        begin(tunnel)
        time.sleep(length)
        end(tunnel)
        healed = time.monotonic()
        while time.monotonic() - healed < AFTER_FAULT and any(ticker.first_after(healed) is None for ticker in tickers):
            time.sleep(0.02)
        waits = [ticker.first_after(healed) for ticker in tickers]
        expect(None not in waits, f"nothing flows {AFTER_FAULT} s after the fault; {[ticker.trouble for ticker in tickers]}")
        afterwards(tunnel)
        tunnel.wait_path("connected-direct", 20)
        time.sleep(0.5)
        for ticker in tickers:
            ticker.finish()
        gaps = [max((b - a for a, b in zip(ticker.came, ticker.came[1:])), default=0) for ticker in tickers]
        words = [word.removeprefix("connected-") for _, word in tunnel.paths()]
        return f"bytes {max(waits):.2f} s after its end, longest gap {max(gaps):.2f} s, path {' -> '.join(words)}"
    finally:
        tunnel.close()


def udp_cut(options):
    """UDP gone for 10 s."""
    return through_fault(options, lambda tunnel: tunnel.lab.cut_udp("a"), lambda tunnel: tunnel.lab.heal("a"), 10)


def everything_cut(options):
    """Nothing at all passes for 10 s."""
    return through_fault(options, lambda tunnel: tunnel.lab.cut_all("b"), lambda tunnel: tunnel.lab.heal("b"), 10)


def rebinding(options):
    """The opener's NAT gives its flows other ports, then the share's."""
    return through_fault(options, lambda tunnel: tunnel.lab.rebind("b", "50000-50100"), lambda tunnel: tunnel.lab.rebind("a", "51000-51100"), 3)


def relay_killed(options):
    """On the relay, which is killed and comes back after 3 s; UDP is back when bytes flow over it again."""
    def begin(tunnel):
        tunnel.lab.cut_udp("a")
        tunnel.wait_path("connected-relay")
        time.sleep(0.5)
        for number in range(len(natlab.RELAYS)):
            tunnel.lab.kill_relay(number)

    def end(tunnel):
        for address in natlab.RELAYS:
            tunnel.lab.start_relay(address)

    def afterwards(tunnel):
        expect(tunnel.paths()[-1][1] == "connected-relay", "the tunnel is not on the relay")
        tunnel.lab.heal("a")
    return through_fault(options, begin, end, 3, afterwards)


def relay_killed_while_direct(options):
    """Both relays are killed under a direct path, and come back."""
    def begin(tunnel):
        for number in range(len(natlab.RELAYS)):
            tunnel.lab.kill_relay(number)

    def end(tunnel):
        for address in natlab.RELAYS:
            tunnel.lab.start_relay(address)
    return through_fault(options, begin, end, 3)


def frozen(options):
    """Both processes stopped."""
    note = through_fault(options, lambda tunnel: tunnel.signal(signal.SIGSTOP), lambda tunnel: tunnel.signal(signal.SIGCONT), options.freeze)
    return f"for {options.freeze:.0f} s; {note}"


def strangers(options):
    """Packets of strangers at both UDP ports while an honest transfer goes on."""
    tunnel = Tunnel(options.binary, nats=("1:1", "1:1"))
    try:
        tunnel.serve_echo(ECHO)
        port = port_of(tunnel.begin(f"127.0.0.1:{ECHO}"))
        load_args = [tunnel.program("tcp_load"), "load", "127.0.0.1", str(port), "10", "20"]
        expect(tunnel.on_b([*load_args, "2", "1"], 40).returncode == 0, "the honest transfer alone fails")
        before = tunnel.memory("VmRSS")
        honest = subprocess.Popen(["ip", "netns", "exec", tunnel.lab.ns("b1"), *load_args, str(options.strangers + 3), "2"], stdout=subprocess.PIPE, text=True)
        tunnel.lab.children.append(honest)
        attackers = []
        for gateway, public, host in ((*natlab.GATEWAYS["a"][:2], "a1"), (*natlab.GATEWAYS["b"][:2], "b1")):
            args = [tunnel.program("quic_stranger"), public, str(tunnel.udp_port(host)), str(options.flood / 2), str(options.strangers)]
            attackers.append(subprocess.Popen(["ip", "netns", "exec", tunnel.lab.ns("srv"), *args], stdout=subprocess.PIPE, text=True))
            tunnel.lab.children.append(attackers[-1])
        results = [json.loads(attacker.communicate(timeout=options.strangers + 30)[0]) for attacker in attackers]
        answer = json.loads(honest.communicate(timeout=options.strangers + 60)[0])
        after = tunnel.memory("VmRSS")
        grown = {name: after[name] - before[name] for name in after}
        text = (f"{sum(result['sent'] for result in results)} packets in {options.strangers:.0f} s, {sum(result['replies'] for result in results)} replies; "
                f"{answer['whole']} of {answer['begun']} honest connections whole, p99 {answer['p99_connect_ms']:.0f} ms; "
                f"memory share {grown['share']:+.1f} MiB, open {grown['open']:+.1f} MiB")
        expect(all(result["replies"] == 0 for result in results), text)
        expect(honest.returncode == 0, f"{answer}; {text}")
        expect(max(grown.values()) < 16, text)
        return text
    finally:
        tunnel.close()


def browser(options):
    """A page with 100 assets in headless Chromium."""
    program = next((name for name in ("chromium", "chromium-browser", "google-chrome") if shutil.which(name)), None)
    if program is None:
        raise Missing("not installed: chromium")
    tunnel = Tunnel(options.binary, rtt_ms=RTT_MS)
    try:
        web_server(tunnel)
        url = f"http://127.0.0.1:{port_of(tunnel.begin(f'127.0.0.1:{WEB}'))}"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--no-proxy-server",
                 f"--user-data-dir={tunnel.lab.dir}/chromium", "--window-size=900,600", "--timeout=30000"]
        dump = tunnel.on_b([program, *flags, "--dump-dom", f"{url}/"], 90)
        count = re.search(r'id="?count"?>([^<]*)<', dump.stdout)
        expect(count and count[1] == "100 loaded, 0 failed", f"the page says {count[1] if count else dump.stderr[-400:]!r}")
        served = json.loads(tunnel.on_b([sys.executable, "-c", f"import urllib.request; print(urllib.request.urlopen('{url}/served').read().decode())"], 30).stdout)
        expect(served == list(range(Pages.assets)), f"the server served {len(served)} assets")
        if os.path.exists(SCREENSHOT):
            os.unlink(SCREENSHOT)
        tunnel.on_b([program, *flags, f"--screenshot={SCREENSHOT}", f"{url}/"], 90)
        expect(os.path.exists(SCREENSHOT) and os.path.getsize(SCREENSHOT) > 1000, "no screenshot was written")
        return f"the page says '{count[1]}', the server served {len(served)} assets; {SCREENSHOT}"
    finally:
        tunnel.close()


SCENARIOS = (load, pgbench, web, ssh, iperf3, lossy, udp_cut, everything_cut, rebinding, relay_killed, relay_killed_while_direct, frozen, strangers, browser)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("binary")
    parser.add_argument("words", nargs="*")
    parser.add_argument("--freeze", type=float, default=10)
    parser.add_argument("--seconds", type=float, default=60, help="of the load and of pgbench")
    parser.add_argument("--standing", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--flood", type=float, default=50_000, help="packets a second of strangers, both ports together")
    parser.add_argument("--strangers", type=float, default=5, help="seconds of that")
    options = parser.parse_intermixed_args()
    if reason := natlab.why_not():
        print(f"SKIPPED tunnel scenarios: {reason}")
        return 0
    raise_descriptor_limit()
    scenarios = [functools.update_wrapper(functools.partial(scenario, options), scenario) for scenario in SCENARIOS]
    return run_tests(scenarios, [sys.argv[0], options.binary, *(word.replace("-", "_") for word in options.words)])


if __name__ == "__main__":
    sys.exit(main())
