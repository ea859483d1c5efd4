#!/usr/bin/env python3
"""Compares our relay with derper on this machine: packet rate, CPU per packet, memory per idle client.

Usage: relay.py [--build DIR] [--seconds S] [--runs N] [--quick]
derper is taken from $DERPER or the PATH; without one only our own numbers are printed.
The load comes from the same machine, so rates depend on what is left for the relay; CPU per packet does not.
"""
import argparse
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TICK = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def rss_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


class Ours:
    name = "ours"

    def __init__(self, build):
        self.process = subprocess.Popen([build / "bench/bench_relay_serve", "0"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.target = self.process.stdout.readline().strip()

    def stop(self):
        self.process.stdin.close()
        self.process.wait(10)


class Derper:
    name = "derper"

    def __init__(self, binary):
        port = free_port()
        self.home = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(  # without -dev, which would take port 3340 whatever -a says
            [binary, "-a", f"127.0.0.1:{port}", "-c", f"{self.home.name}/derper.json", "-http-port", "-1", "-stun=false",
             "-hostname", "127.0.0.1", "-certdir", self.home.name],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.home.name)
        self.target = f"http://127.0.0.1:{port}"
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.1)
        sys.exit("derper did not start")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
        self.home.cleanup()


def run_load(build, server, case, seconds):
    before = cpu_seconds(server.process.pid)
    out = subprocess.run([build / "bench/bench_relay_load", server.target, *case, "--seconds", str(seconds)],
                         capture_output=True, text=True, timeout=seconds + 60)
    if out.returncode != 0:
        sys.exit(f"{server.name}: {out.stderr}")
    words = out.stdout.split()
    value = {words[i]: float(words[i + 1]) for i in range(1, len(words) - 1, 2)}
    cpu = cpu_seconds(server.process.pid) - before
    size = int(case[case.index("--size") + 1])
    return {"pps": value["packets_per_s"], "gbps": value["gbit_per_s"], "cpu_us": cpu / value["received"] * 1e6,
            "cpu_gib": cpu / (value["received"] * size) * 2**30,
            "drop": value["dropped"] / max(value["sent"], 1)}


def idle_rss(build, start, count):
    server = start()
    base = rss_kib(server.process.pid)
    load = subprocess.Popen([build / "bench/bench_relay_load", server.target, "--idle", str(count)],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ready = load.stdout.readline().strip() == "ready"
    time.sleep(1)
    full = rss_kib(server.process.pid)
    load.stdin.close()
    load.wait(30)
    server.stop()
    return (full / 1024, (full - base) / count) if ready else (float("nan"), float("nan"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release", type=pathlib.Path)
    parser.add_argument("--seconds", default=3.0, type=float)
    parser.add_argument("--runs", default=3, type=int)
    parser.add_argument("--quick", action="store_true", help="one short run of each case, no idle clients")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.runs, arguments.seconds = 1, 1.0
    build = arguments.build.resolve()
    starts = {"ours": lambda: Ours(build)}
    derper = os.environ.get("DERPER") or shutil.which("derper")
    if derper:
        starts["derper"] = lambda: Derper(derper)

    cases = {
        "1400 B, 1 pair, window 16": ["--size", "1400", "--pairs", "1", "--window", "16"],
        "1400 B, 10 pairs, window 16": ["--size", "1400", "--pairs", "10", "--window", "16"],
        "32 KiB, 1 pair, window 8": ["--size", "32768", "--pairs", "1", "--window", "8"],
        "32 KiB, 10 pairs, window 8": ["--size", "32768", "--pairs", "10", "--window", "8"],
        "1400 B, 10 pairs, open loop": ["--size", "1400", "--pairs", "10", "--open"],
    }
    print(f"{'case':30} {'relay':8} {'packets/s':>10} {'Gbit/s':>8} {'CPU us/packet':>14} {'CPU s/GiB':>10} {'dropped':>8}")
    for title, case in cases.items():
        median = {}
        results = {name: [] for name in starts}
        for _ in range(arguments.runs):  # interleaved, so that a noisy minute hits both
            for name, start in starts.items():
                server = start()
                results[name].append(run_load(build, server, case, arguments.seconds))
                server.stop()
        for name, runs in results.items():
            median[name] = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
            m = median[name]
            print(f"{title:30} {name:8} {m['pps']:10.0f} {m['gbps']:8.3f} {m['cpu_us']:14.2f} "
                  f"{m['cpu_gib']:10.2f} {m['drop']:8.2%}")
        if "derper" in median:
            print(f"{'':30} {'ratio':8} {median['ours']['pps'] / median['derper']['pps']:10.2f} {'':8} "
                  f"{median['ours']['cpu_us'] / median['derper']['cpu_us']:14.2f}")
    if arguments.quick:
        return
    print(f"\n{'idle clients':30} {'relay':8} {'RSS MiB':>10} {'KiB/client':>12}")
    for count in (1000, 5000):
        for name, start in starts.items():
            runs = [idle_rss(build, start, count) for _ in range(arguments.runs)]
            total, each = (statistics.median(column) for column in zip(*runs))
            print(f"{count:<30} {name:8} {total:10.1f} {each:12.1f}")


if __name__ == "__main__":
    main()
