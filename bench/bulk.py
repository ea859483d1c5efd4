#!/usr/bin/env python3
"""./dev bench bulk: direct transfers between two namespaces, beside what UDP, TCP and ssh do on the same wire in the same run.

Usage: bulk.py BUILD [--runs N] [--seconds S] [--only WORD,WORD] [--link MBIT,MS [--loss P%]] [--json FILE]
The cases run one after the other, N rounds of them; the table has medians, ratios are to iperf3 of the same round. Needs root.
`--link`: over the lab's wire with this rate, round trip and loss instead of a bare veth pair, `pipe` from memory alone.
`whole`: a UDP send of many segments crosses the wire in one piece (a NIC that segments); `cut`: the kernel cuts it.
CPU time and memory are those of the sending and the receiving program alone. A transfer that stayed on the relay is told, not counted.
"""
import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import time

from two_hosts import ADDRESSES, Bench, Failed, TwoHosts, Watched, Wired, big_pipe, say, sha256, ssh_words, sshd, why_not

GIB = 1 << 30
MIB = 1 << 20
MAX_RELAY_SHARE = 0.1   # of a direct transfer: what crosses before the direct path is there
FIRST_BYTES = 192 * MIB
MAX_BYTES = 4 * GIB
SSH_PORT = 5002
MODES = ("whole", "cut")
YARDSTICK = "iperf3, TCP in clear"


class Bulk(Bench):
    """Every case. A case returns what it measured: gbps, send and receive (CPU s/GiB), and what else it knows."""

    def __init__(self, build, seconds, make_hosts=TwoHosts):
        super().__init__(build, make_hosts, has_places=True)
        self.seconds = seconds
        self.ends = self.tool("stream_ends")
        self.bytes = {}  # per case: as many as take about `seconds`; none yet in its first run

    def with_backend(self, backend):
        return self.env(**({"DERPHOLE_AEAD": backend} if backend else {}))

    def env_of(self, case):
        return dict(self.with_backend(case.backend), **case.env)

    def has_backend(self, name):
        return subprocess.run([self.binary, "version"], env=self.with_backend(name), capture_output=True, check=False).returncode == 0

    def udp_limit(self, _):
        receiver = Watched(self.hosts, "a", [self.tool("udp_limit"), "receive", ADDRESSES["a"], "5000"], stdout=subprocess.PIPE)
        receiver.child.stdout.readline()
        sender = Watched(self.hosts, "b", [self.tool("udp_limit"), "send", ADDRESSES["a"], "5000", str(self.seconds)], stdout=subprocess.PIPE)
        send_cpu, receive_cpu = sender.finish(), receiver.finish()
        sent, got = json.load(sender.child.stdout), json.load(receiver.child.stdout)
        if got["bytes"] == 0:
            raise Failed("nothing arrived")
        return {"gbps": got["bytes"] * 8e-9 / got["seconds"], "send": send_cpu * GIB / sent["bytes"], "receive": receive_cpu * GIB / got["bytes"],
                "sent_gbps": sent["bytes"] * 8e-9 / sent["seconds"], "send_rss": sender.peak_mib, "receive_rss": receiver.peak_mib}

    def iperf3(self, _):
        server = Watched(self.hosts, "a", ["iperf3", "-s", "-1", "-p", "5001", "--forceflush"], stdout=subprocess.PIPE)
        while (line := server.child.stdout.readline()) and b"listening" not in line:
            pass
        client = Watched(self.hosts, "b", ["iperf3", "-c", ADDRESSES["a"], "-p", "5001", "-t", str(max(1, round(self.seconds))), "-J"],
                         stdout=subprocess.PIPE)
        end = json.load(client.child.stdout)["end"]
        send_cpu, receive_cpu = client.finish(), server.finish()
        return {"gbps": end["sum_received"]["bits_per_second"] / 1e9, "send": send_cpu * GIB / end["sum_sent"]["bytes"],
                "receive": receive_cpu * GIB / end["sum_received"]["bytes"], "send_rss": client.peak_mib, "receive_rss": server.peak_mib}

    def ssh(self, case):
        """Memory to memory with the same cipher. The receiver's CPU time is that of sshd and its children, the sink among them."""
        server = sshd(lambda args: Watched(self.hosts, "a", args), self.hosts.name("a"), self.dir, ADDRESSES["a"], SSH_PORT)
        source, stdin = self.source(self.bytes.get(case, FIRST_BYTES))
        client = Watched(self.hosts, "b", [*ssh_words(self.dir, SSH_PORT), "-c", "aes256-gcm@openssh.com", f"root@{ADDRESSES['a']}",
                                           f"exec {self.ends} sink"], stdin=stdin, stdout=subprocess.PIPE)
        os.close(stdin)
        try:
            answer = client.child.stdout.read()
            send_cpu = client.finish()
        finally:
            source.kill()
            source.wait()
            time.sleep(0.2)  # sshd collects its children
            server.child.terminate()
            receive_cpu = server.finish(good=(0, 255, -15))
        got = json.loads(answer)
        return {"gbps": got["bytes"] * 8e-9 / got["seconds"], "send": send_cpu * GIB / got["bytes"], "receive": receive_cpu * GIB / got["bytes"],
                "bytes": got["bytes"], "send_rss": client.peak_mib}

    def source(self, size):
        """Bytes from memory that cost nearly no CPU time, as (process, descriptor to read)."""
        out, into = big_pipe()
        child = subprocess.Popen([self.ends, "source", str(size)], stdout=into, stderr=subprocess.DEVNULL)
        os.close(into)
        return child, out

    def memory(self, case):
        size = self.bytes.get(case, FIRST_BYTES)
        source, stdin = self.source(size)
        out, stdout = big_pipe()
        sink = subprocess.Popen([self.ends, "sink"], stdin=out, stdout=subprocess.PIPE)
        os.close(out)
        try:
            result = self.transfer(case, stdin, stdout)
            got = json.loads(sink.communicate(timeout=10)[0])["bytes"]
        finally:
            for child in (source, sink):
                child.kill()
                child.wait()
        if got != size:
            raise Failed(f"{got} of {size} bytes arrived")
        return result

    def files(self, case):
        """Source, which is in the page cache, target and their size."""
        place = self.places[case.place]
        size = self.bytes.get(case, FIRST_BYTES)
        source, target = os.path.join(place, "source"), os.path.join(place, "target")
        if not os.path.exists(source) or os.path.getsize(source) != size:
            with open(source, "wb") as file:
                for at in range(0, size, MIB):
                    file.write(os.urandom(min(MIB, size - at)))
        return source, target, size

    def dd(self, case):
        """What it costs to write a new file at all: a virtual machine's memory is often lent anew for each page."""
        source, target, size = self.files(case)
        try:
            begun = time.monotonic()
            copy = Watched(self.hosts, "a", ["dd", f"if={source}", f"of={target}", "bs=256k", "status=none"])
            cpu = copy.finish()
            return {"gbps": size * 8e-9 / (time.monotonic() - begun), "receive": cpu * GIB / size, "bytes": size}
        finally:
            os.unlink(target)

    def file(self, case):
        """From file to file; the first run, which is not counted, compares the digests."""
        source, target, size = self.files(case)
        try:
            result = self.transfer(case, os.open(source, os.O_RDONLY), os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
            if os.path.getsize(target) != size:
                raise Failed(f"{os.path.getsize(target)} of {size} bytes arrived")
            if case not in self.bytes and sha256(source) != sha256(target):
                raise Failed("the received file is another one")
        finally:
            os.unlink(target)
        return result

    def discarded(self, case):
        """From the page cache to /dev/null: no other process takes part, as with iperf3, whose receiver throws away what it has read."""
        source, _, size = self.files(case)
        result = self.transfer(case, os.open(source, os.O_RDONLY), os.open(os.devnull, os.O_WRONLY))
        if result["bytes"] != size:
            raise Failed(f"{result['bytes']} of {size} bytes arrived")
        return result

    def transfer(self, case, stdin, stdout):
        """One listen and pipe; closes both descriptors."""
        drops = self.hosts.socket_drops("a")
        listener = Watched(self.hosts, "a", [self.binary, "listen", "--json", "--derp-server", self.server], stdout=stdout,
                           env=self.env_of(case))
        os.close(stdout)
        try:
            token = listener.event("token")["token"]
            sender = Watched(self.hosts, "b", [self.binary, "pipe", "--json", token], stdin=stdin, env=self.env_of(case))
        finally:
            os.close(stdin)
        send_cpu, receive_cpu = sender.finish(), listener.finish()
        sent, got = sender.event("done"), listener.event("done")
        size = got["bytes"]
        return {"gbps": size * 8e-9 / got["seconds"], "send": send_cpu * GIB / size, "receive": receive_cpu * GIB / size, "bytes": size,
                "send_rss": sender.peak_mib, "receive_rss": listener.peak_mib, "resent": sent["resent_bytes"] / size,
                "packets_lost": sent["packets_lost"], "spurious_losses": sent["spurious_losses"],
                "packet_bytes": size / max(1, sent["packets_sent"]), "relay_share": max(sent["relay_share"], got["relay_share"]),
                "socket_drops": self.hosts.socket_drops("a") - drops}


class Case:
    def __init__(self, what, run, mode, backend=None, place=None, env=None):
        self.what, self.run, self.mode, self.backend, self.place, self.env = what, run, mode, backend, place, env or {}
        self.name = f"{what}, {mode}"
        self.sized = run.__name__ in ("ssh", "memory", "file", "discarded", "dd")
        self.results, self.troubles = [], []


def cases(bench, words):
    modes, kinds = list(MODES), []
    if shutil.which("ethtool") is None:
        say("SKIPPED every case `cut`: ethtool is not installed")
        modes.remove("cut")
    if shutil.which("iperf3") is None:
        say("SKIPPED iperf3 and every ratio: it is not installed")
    if not (shutil.which("sshd") or os.path.exists("/usr/sbin/sshd")) or shutil.which("ssh") is None:
        say("SKIPPED ssh: it needs ssh and sshd (openssh-server)")
    else:
        kinds.append(("ssh, aes256-gcm", bench.ssh, None, None))
    backends = [name for name in ("ipsec-mb", "openssl") if bench.has_backend(name)]
    if len(backends) < 2:
        say("SKIPPED the cipher backend ipsec-mb: this build or this CPU does not have it")
    if "tmpfs" not in bench.places:
        say("SKIPPED files in memory: /dev/shm is no file system of its own")
    kinds += [(f"dd, {place} file to new file", bench.dd, None, place) for place in sorted(bench.places, reverse=True)]
    for backend in backends:
        kinds.append((f"pipe, memory, {backend}", bench.memory, backend, None))
        if "tmpfs" in bench.places:
            kinds.append((f"pipe, tmpfs file to /dev/null, {backend}", bench.discarded, backend, "tmpfs"))
        if backend == backends[0]:
            kinds.append((f"pipe, memory, {backend}, each datagram alone", bench.memory, backend, None, {"DERPHOLE_UDP_OFFLOAD": "off"}))
            # What the loop does alone on one or two cores.
            for lanes in (1, 4):
                kinds.append((f"pipe, memory, {backend}, threads, {lanes} lane{'s' * (lanes > 1)}", bench.memory, backend, None,
                              {"DERPHOLE_UDP_THREADS": "on", "DERPHOLE_LANES": str(lanes)}))
        kinds += [(f"pipe, {place} files, {backend}", bench.file, backend, place) for place in sorted(bench.places, reverse=True)]
    kinds = [("UDP alone, memcpy", bench.udp_limit, None, None)] + kinds
    if shutil.which("iperf3"):
        kinds.insert(0, (YARDSTICK, bench.iperf3, None, None))
    chosen = [kind for kind in kinds if not words or kind[0] == YARDSTICK or any(word in kind[0] for word in words)]
    return [Case(*kind[:2], mode, *kind[2:]) for mode in modes for kind in chosen]


def measure(bench, case, counted):
    try:
        result = case.run(case)
        if result.get("relay_share", 0) > MAX_RELAY_SHARE:
            raise Failed(f"{result['relay_share']:.0%} of the bytes went over the relay, so this is no direct transfer")
    except (Failed, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        case.troubles.append(str(error))
        say(f"{case.name}: {error}")
        return None
    finally:
        bench.hosts.stop(but=bench.relay)
    if case.sized:
        wanted = result["gbps"] / 8 * 1e9 * bench.seconds
        limit = min(MAX_BYTES, shutil.disk_usage(bench.places[case.place]).free // 8) if case.place else MAX_BYTES
        bench.bytes.setdefault(case, int(max(64 * MIB, min(limit, wanted))) // MIB * MIB)
    if counted:
        case.results.append(result)
    return result


def median(case, key):
    values = [result[key] for result in case.results if result.get(key) is not None]
    return statistics.median(values) if values else None


COLUMNS = (("case", None, ""), ("runs", None, ""), ("Gbit/s", "gbps", ".2f"), ("/ iperf3", "ratio", ".2f"), ("CPU s/GiB send", "send", ".2f"),
           ("receive", "receive", ".2f"), ("MiB send", "send_rss", ".0f"), ("receive", "receive_rss", ".0f"), ("resent", "resent", ".2%"),
           ("spurious", "spurious_losses", ".0f"), ("drops", "socket_drops", ".0f"), ("relay", "relay_share", ".1%"),
           ("B/packet", "packet_bytes", ".0f"))


def table(all_cases, runs):
    """Medians as Markdown, to be put into docs/performance.md as it is."""
    rows = [[title for title, _, _ in COLUMNS], ["---"] + ["---:"] * (len(COLUMNS) - 1)]
    for case in all_cases:
        row = [case.name, f"{len(case.results)}/{runs}"]
        for _, key, form in COLUMNS[2:]:
            value = median(case, key)
            row.append("" if value is None else format(value, form))
        rows.append(row)
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    for row in rows:
        print("| " + " | ".join(text.ljust(width) if i == 0 else text.rjust(width) for i, (text, width) in enumerate(zip(row, widths))) + " |")
    for case in all_cases:
        for trouble in sorted(set(case.troubles)):
            print(f"NOT COUNTED, {case.troubles.count(trouble)} of {case.name}: {trouble}")


def machine():
    with open("/proc/cpuinfo", encoding="ascii") as file:
        text = file.read()
    model = next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")), platform.machine())
    model += " with VAES" if " vaes" in text else " without VAES"
    with open("/proc/sys/net/core/rmem_max", encoding="ascii") as file:
        return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "rmem_max": int(file.read()), "load": os.getloadavg()[0]}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("build")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="that one transfer should take")
    parser.add_argument("--only", default="", help="cases with one of these words; iperf3 always runs")
    parser.add_argument("--json", help="every single figure, to this file")
    parser.add_argument("--link", metavar="MBIT,MS", help="over the lab's wire")
    parser.add_argument("--loss", default="0%", help="on it, of the data (default 0%%)")
    args = parser.parse_args()
    if why := why_not():
        say(f"SKIPPED: {why}")
        return
    about = machine()
    words = [word for word in args.only.split(",") if word]
    if args.link:
        rate, rtt = (float(part) for part in args.link.split(","))
        bench = Bulk(args.build, args.seconds, lambda: Wired(args.build, (rate, rtt), args.loss))
    else:
        bench = Bulk(args.build, args.seconds)
    try:
        if args.link:
            todo = [Case(f"pipe, {rate:g} Mbit/s, {rtt:g} ms, {args.loss} lost", bench.memory, MODES[0])]
            todo[0].name = todo[0].what  # the wire takes what the kernel gives it
        else:
            todo = cases(bench, words)
        for counted in range(args.runs + 1):
            if counted:
                say(f"round {counted} of {args.runs}")
            for mode in MODES:
                here = [case for case in todo if case.mode == mode]
                if here and not args.link and shutil.which("ethtool"):
                    bench.hosts.segment_in_kernel(mode == "cut")
                yardstick = None
                for case in here:
                    if not counted and not case.sized:
                        continue  # the round before the first finds sizes and compares digests
                    result = measure(bench, case, counted > 0)
                    if result and case.what == YARDSTICK:
                        yardstick = result["gbps"]
                    if result and yardstick:
                        result["ratio"] = result["gbps"] / yardstick
    finally:
        bench.close()
    print(f"{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, rmem_max {about['rmem_max']}, load {about['load']:.1f} at the start")
    table(todo, args.runs)
    if args.json:
        with open(args.json, "w", encoding="ascii") as file:
            json.dump({"machine": about, "runs": args.runs, "cases": [{"case": case.what, "mode": case.mode, "results": case.results,
                                                                     "not_counted": case.troubles} for case in todo]}, file, indent=1)


if __name__ == "__main__":
    main()
