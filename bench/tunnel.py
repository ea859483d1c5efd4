#!/usr/bin/env python3
"""./dev bench tunnel: TCP through share and open between two namespaces, beside plain TCP, ssh -L, socat with TLS and chisel on the same wire in the same run.

Usage: tunnel.py BUILD [--runs N] [--seconds S] [--mtu BYTES] [--only WORD,WORD] [--cases CASE,CASE] [--json FILE]
Each round measures every carrier in turn; the table has medians over the rounds. Needs root.
One stream and 16 streams: iperf3 from the opener's side. Requests: 64 bytes there and back on one connection (latency) and on 16 (rate).
CPU time is that of the carrier's own processes on both sides. A tunnel of ours that is not on a direct path is told, not counted.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

from two_hosts import ADDRESSES, Bench, Failed, say, ssh_words, sshd, wait_listening, why_not

GIB = 1 << 30
REQUEST_BYTES = 64
IPERF_PORT, ECHO_PORT, CARRIER_PORT = 5201, 5202, 5300  # at the target, and where a carrier's two ends meet
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids):
    """User and system time so far, of processes and of the children they have now."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                fields = file.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += sum(int(value) for value in fields[11:15]) / TICKS  # with children that have ended
    return total


def descendants(pid):
    out = [pid]
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            for child in file.read().split():
                out += descendants(int(child))
    except OSError:
        pass
    return out


class Carriers(Bench):
    def __init__(self, build, seconds, mtu):
        super().__init__(build)
        self.seconds = seconds
        self.load = self.tool("tcp_load")
        for side in "ab":
            subprocess.run(["ip", "-n", self.hosts.name(side), "link", "set", "eth0", "mtu", str(mtu)], check=True)
        echo = self.hosts.start("a", [self.load, "serve", "0.0.0.0", str(ECHO_PORT)], stdout=subprocess.PIPE)
        echo.stdout.readline()
        self.carriers = []  # processes of the carrier that is up

    def carrier(self, side, args, **kwargs):
        self.carriers.append(self.watch(side, args, **kwargs))
        return self.carriers[-1]

    def stop_carrier(self):
        for watched in self.carriers:
            for pid in reversed(descendants(watched.child.pid)):
                try:
                    os.kill(pid, 15)
                except OSError:
                    pass
        for watched in self.carriers:
            try:
                watched.child.wait(5)
            except subprocess.TimeoutExpired:
                watched.child.kill()
                watched.child.wait()
        self.carriers = []

    # The carriers. Each returns where its local ends listen on host b: (address, {target port: local port}).
    def plain(self):
        return ADDRESSES["a"], {IPERF_PORT: IPERF_PORT, ECHO_PORT: ECHO_PORT}

    def ours(self):
        ports = {}
        for port in (IPERF_PORT, ECHO_PORT):
            share = self.carrier("a", [self.binary, "share", f"127.0.0.1:{port}", "--json", "--derp-server", self.server], stdout=subprocess.DEVNULL)
            token = share.event("token")["token"]
            opener = self.carrier("b", [self.binary, "open", token, "--json"], stdout=subprocess.PIPE)
            ports[port] = int(opener.event("listening")["address"].rsplit(":", 1)[1])
            self.wait_direct(opener)
        return "127.0.0.1", ports

    @staticmethod
    def wait_direct(opener):
        deadline = time.monotonic() + 10
        while not any('"connected-direct"' in line for line in opener.lines):
            if time.monotonic() > deadline:
                raise Failed("no direct path came up, so this is no direct tunnel: " + " | ".join(opener.lines[-3:]))
            time.sleep(0.02)
        time.sleep(0.3)  # the search for the path's size

    def ssh(self, *more):
        """As it comes; the cipher is what both ends prefer."""
        sshd(lambda args: self.carrier("a", args), self.hosts.name("a"), self.dir, ADDRESSES["a"], CARRIER_PORT)
        ports = {port: port + 100 for port in (IPERF_PORT, ECHO_PORT)}
        forwards = [word for port, local in ports.items() for word in ("-L", f"127.0.0.1:{local}:127.0.0.1:{port}")]
        self.carrier("b", [*ssh_words(self.dir, CARRIER_PORT), "-N", *more, *forwards, f"root@{ADDRESSES['a']}"])
        return "127.0.0.1", ports

    def ssh_gcm(self):
        """With the cipher that is fastest where the CPU has AES instructions."""
        return self.ssh("-c", "aes128-gcm@openssh.com")

    def socat(self):
        """A certificate of its own; TLS 1.3 chooses the cipher."""
        pem = os.path.join(self.dir, "tls.pem")
        if not os.path.exists(pem):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=bench", "-days", "2",
                            "-keyout", pem + ".key", "-out", pem + ".crt"], check=True, capture_output=True)
            with open(pem, "wb") as out:
                for part in (".key", ".crt"):
                    with open(pem + part, "rb") as file:
                        out.write(file.read())
        ports = {}
        for i, port in enumerate((IPERF_PORT, ECHO_PORT)):
            between, local = CARRIER_PORT + 1 + i, port + 100
            self.carrier("a", ["socat", "-b", "131072", f"OPENSSL-LISTEN:{between},bind={ADDRESSES['a']},reuseaddr,fork,cert={pem},verify=0,nodelay",
                               f"TCP:127.0.0.1:{port},nodelay"])
            self.carrier("b", ["socat", "-b", "131072", f"TCP-LISTEN:{local},bind=127.0.0.1,reuseaddr,fork,nodelay",
                               f"OPENSSL:{ADDRESSES['a']}:{between},verify=0,nodelay"])
            ports[port] = local
        return "127.0.0.1", ports

    def chisel(self):
        program = shutil.which("chisel")
        self.carrier("a", [program, "server", "--host", ADDRESSES["a"], "--port", str(CARRIER_PORT)], stdout=subprocess.DEVNULL)
        wait_listening(self.hosts.name("a"), ADDRESSES["a"], CARRIER_PORT)
        ports = {port: port + 100 for port in (IPERF_PORT, ECHO_PORT)}
        self.carrier("b", [program, "client", f"http://{ADDRESSES['a']}:{CARRIER_PORT}",
                           *(f"127.0.0.1:{local}:127.0.0.1:{port}" for port, local in ports.items())], stdout=subprocess.DEVNULL)
        return "127.0.0.1", ports

    # What is measured over a carrier.
    def iperf3(self, address, port, streams):
        server = self.watch("a", ["iperf3", "-s", "-1", "-p", str(IPERF_PORT), "--forceflush"], stdout=subprocess.PIPE)
        while (line := server.child.stdout.readline()) and b"listening" not in line:
            pass
        pids = [pid for watched in self.carriers for pid in descendants(watched.child.pid)]
        before, begun = cpu_seconds(pids), set(pids)
        client = self.watch("b", ["iperf3", "-c", address, "-p", str(port), "-t", f"{self.seconds:.0f}", "-P", str(streams), "-J"], stdout=subprocess.PIPE)
        time.sleep(self.seconds * 0.9)  # a process for each connection: seen while they live
        after_pids = [pid for watched in self.carriers for pid in descendants(watched.child.pid)]
        late = [pid for pid in after_pids if pid not in begun]
        late_cpu = cpu_seconds(late)
        answer = json.load(client.child.stdout)
        used = max(cpu_seconds(pids) - before, 0) or late_cpu
        if late:
            used = late_cpu / 0.9
        client.finish(good=(0, 1))
        if "error" in answer:
            server.child.terminate()
            server.finish(good=(0, 1, -15))
            raise Failed(f"iperf3: {answer['error']}")
        server.finish(good=(0, 1))
        end = answer["end"]
        return {"gbps": end["sum_received"]["bits_per_second"] / 1e9, "cpu": used * GIB / max(1, end["sum_received"]["bytes"])}

    def ask(self, address, port, connections):
        args = [self.load, "ask", address, str(port), str(connections), str(self.seconds), str(REQUEST_BYTES)]
        done = subprocess.run(["ip", "netns", "exec", self.hosts.name("b"), *args], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise Failed(f"requests: {done.stdout.strip()} {done.stderr.strip()}")
        return json.loads(done.stdout)

    def wait_usable(self, address, port):
        """Until a request gets through: ssh and chisel do not say when they are ready."""
        deadline = time.monotonic() + 10
        while True:
            args = [self.load, "ask", address, str(port), "1", "0.5", "8"]
            if subprocess.run(["ip", "netns", "exec", self.hosts.name("b"), *args], capture_output=True, timeout=20, check=False).returncode == 0:
                return
            if time.monotonic() > deadline:
                raise Failed("no request gets through")
            time.sleep(0.1)


CASES = ("one", "sixteen", "latency", "rate")


def measure(bench, carrier, cases):
    try:
        address, ports = carrier()
        bench.wait_usable(address, ports[ECHO_PORT])
        result = {}
        if "one" in cases:
            one = bench.iperf3(address, ports[IPERF_PORT], 1)
            result.update(one=one["gbps"], one_cpu=one["cpu"] if bench.carriers else None)
        if "sixteen" in cases:
            sixteen = bench.iperf3(address, ports[IPERF_PORT], 16)
            result.update(sixteen=sixteen["gbps"], sixteen_cpu=sixteen["cpu"] if bench.carriers else None)
        if "latency" in cases:
            latency = bench.ask(address, ports[ECHO_PORT], 1)
            result.update(p50=latency["p50_us"], p99=latency["p99_us"])
        if "rate" in cases:
            rate = bench.ask(address, ports[ECHO_PORT], 16)
            result.update(rate=rate["per_second"], rate_p50=rate["p50_us"], rate_p99=rate["p99_us"])
        if carrier == bench.ours:
            result["rss"] = max(watched.peak_mib for watched in bench.carriers)
            if any('"connected-relay"' in line for watched in bench.carriers for line in watched.lines[watched_direct(watched):]):
                raise Failed("the tunnel fell back to the relay")
        return result
    finally:
        bench.stop_carrier()


def watched_direct(watched):
    return next((i for i, line in enumerate(watched.lines) if '"connected-direct"' in line), 0)


COLUMNS = (("carrier", None, ""), ("runs", None, ""), ("1 stream Gbit/s", "one", ".2f"), ("CPU s/GiB", "one_cpu", ".2f"), ("16 streams Gbit/s", "sixteen", ".2f"),
           ("CPU s/GiB", "sixteen_cpu", ".2f"), ("p50 us", "p50", ".0f"), ("p99 us", "p99", ".0f"), ("16 askers: requests/s", "rate", ".0f"),
           ("p50 us", "rate_p50", ".0f"), ("p99 us", "rate_p99", ".0f"), ("peak MiB", "rss", ".0f"))


def table(results, runs):
    rows = [[title for title, _, _ in COLUMNS], ["---"] + ["---:"] * (len(COLUMNS) - 1)]
    for name, values in results.items():
        row = [name, f"{len(values)}/{runs}"]
        for _, key, form in COLUMNS[2:]:
            found = [value[key] for value in values if value.get(key) is not None]
            row.append(format(statistics.median(found), form) if found else "")
        rows.append(row)
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    for row in rows:
        print("| " + " | ".join(text.ljust(width) if i == 0 else text.rjust(width) for i, (text, width) in enumerate(zip(row, widths))) + " |")


def ratios(results):
    """Per round, because only what was measured side by side can be compared."""
    def paired(other, key):
        pairs = [(mine[key], its[key]) for mine, its in zip(results.get("share and open", []), results.get(other, [])) if key in mine and key in its]
        return pairs
    for other in ("ssh -L", "ssh -L, aes128-gcm"):
        if pairs := paired(other, "one"):
            print(f"one stream, share and open / {other}: {statistics.median(mine / its for mine, its in pairs):.2f}")
    if pairs := paired("plain TCP", "p50"):
        print(f"latency added to plain TCP, p50: {statistics.median(mine - its for mine, its in pairs):.0f} us")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("build")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement")
    parser.add_argument("--mtu", type=int, default=1500, help="of the wire between the hosts")
    parser.add_argument("--only", default="", help="carriers with one of these words")
    parser.add_argument("--cases", default=",".join(CASES), help="what is measured: " + ", ".join(CASES))
    parser.add_argument("--json", help="every single figure, to this file")
    args = parser.parse_args()
    if why := why_not():
        say(f"SKIPPED: {why}")
        return 0
    if shutil.which("iperf3") is None:
        say("SKIPPED: iperf3 is not installed")
        return 0
    bench = Carriers(args.build, args.seconds, args.mtu)
    carriers = {"plain TCP": bench.plain, "ssh -L": bench.ssh, "ssh -L, aes128-gcm": bench.ssh_gcm, "socat, TLS": bench.socat, "chisel": bench.chisel, "share and open": bench.ours}
    needs = {"ssh -L": "ssh", "ssh -L, aes128-gcm": "ssh", "socat, TLS": "socat", "chisel": "chisel"}
    for name, program in needs.items():
        if shutil.which(program) is None:
            say(f"SKIPPED {name}: {program} is not installed")
            del carriers[name]
    words = [word for word in args.only.split(",") if word]
    carriers = {name: run for name, run in carriers.items() if not words or any(word in name for word in words)}
    results = {name: [] for name in carriers}
    troubles = []
    try:
        for number in range(args.runs):
            for name, carrier in carriers.items():
                try:
                    results[name].append(measure(bench, carrier, args.cases.split(",")))
                except (Failed, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
                    troubles.append(f"{name}, round {number + 1}: {error}")
                    results[name].append({})
                    say(troubles[-1])
    finally:
        bench.close()
    with open("/proc/cpuinfo", encoding="ascii") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "")
    print(f"{model}, {os.cpu_count()} cores, MTU {args.mtu}, load {os.getloadavg()[0]:.1f} at the end")
    table({name: [value for value in values if value] for name, values in results.items()}, args.runs)
    ratios(results)
    for trouble in troubles:
        print(f"NOT COUNTED: {trouble}")
    if args.json:
        with open(args.json, "w", encoding="ascii") as file:
            json.dump({"cpu": model, "runs": args.runs, "results": results, "not_counted": troubles}, file, indent=1)
    return 1 if troubles else 0


if __name__ == "__main__":
    sys.exit(main())
