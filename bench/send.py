#!/usr/bin/env python3
"""./dev bench send: files between two namespaces, beside tar over ssh and rsync over ssh on the same link in the same run.

Usage: send.py BUILD [--runs N] [--files N] [--big MIB] [--place disk|tmpfs] [--only WORD,WORD] [--json FILE]
`many`: 4 KiB files over a link of 1 Gbit/s and 20 ms (the lab's wire). `big`: one file beside `derphole pipe` of the same file over an
unlimited veth pair. `lossy`: the same, a quarter as long, over 300 Mbit/s and 100 ms that lose 3 % of what the sender sends. `twice`:
what `kill -9` of the receiver costs on a long fat link, a direct path of 400 Mbit/s and 250 ms. Every other case starts after a sync,
ends when the last program has, and its result is compared with the source. The cases take turns, N rounds of them; the table has medians, ratios are within a round. Needs root.
"""
import argparse
import hashlib
import json
import os
import random
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from two_hosts import ADDRESSES, Bench, Failed, TwoHosts, Watched, Wired, say, sha256, ssh_words, sshd, why_not

FILE_BYTES = 4096
PER_DIRECTORY = 500
PATIENCE = 300
SSH_PORT = 5002
NEAR, FAR, LONG = (1000, 20), (400, 250), (300, 100)  # Mbit/s, ms
KILLS = 12
MIB = 1 << 20


def listing(root):
    """Names, modes, times (tar has whole seconds) and content of everything below, as one digest."""
    digest = hashlib.sha256()
    for base, directories, files in os.walk(root):
        directories.sort()
        for name in sorted(files):
            path = os.path.join(base, name)
            info = os.lstat(path)
            digest.update(f"{os.path.relpath(path, root)}\0{info.st_mode}\0{int(info.st_mtime)}\0{info.st_size}\0".encode())
            digest.update(sha256(path).encode())
    return digest.hexdigest()


class Sending(Bench):
    def __init__(self, build, make_hosts):
        super().__init__(build, make_hosts, has_places=True)
        self.sshd = None

    def ssh(self):
        """An ssh command to the one sshd of this link, for a shell."""
        if self.sshd is None:
            self.sshd = sshd(lambda args: self.hosts.start("a", args, stderr=subprocess.DEVNULL), self.hosts.name("a"), self.dir, ADDRESSES["a"], SSH_PORT)
        return shlex.join(ssh_words(self.dir, SSH_PORT))

    def shell(self, command):
        """Seconds of a shell command on the sending side."""
        started = time.monotonic()
        done = self.hosts.start("b", ["bash", "-o", "pipefail", "-c", command], stderr=subprocess.PIPE)
        _, words = done.communicate(timeout=PATIENCE)
        if done.returncode != 0:
            raise Failed(words.decode(errors="replace").strip()[-300:])
        return {"seconds": time.monotonic() - started}

    def tar(self, source, target):
        return self.shell(f"tar -C {os.path.dirname(source)} -c {os.path.basename(source)} | {self.ssh()} root@{ADDRESSES['a']} tar -C {target} -x")

    def rsync(self, source, target):
        return self.shell(f"rsync -a -e '{self.ssh()}' {source} root@{ADDRESSES['a']}:{target}/")

    def send(self, source, target):
        """From `receive`'s start to the end of both: the words of the token have been typed by then."""
        sender = Watched(self.hosts, "b", [self.binary, "send", "--token", "--json", "--derp-server", self.server, os.path.basename(source)],
                         env=self.env(), cwd=os.path.dirname(source), stdout=subprocess.DEVNULL)
        token = sender.event("token", timeout=30)["token"]
        started = time.monotonic()
        receiver = Watched(self.hosts, "a", [self.binary, "receive", "--json", token], env=self.env(), cwd=target, stdout=subprocess.DEVNULL)
        return self.both(sender, receiver, started)

    def twice(self, source, kills):
        """Kills receivers of one file after seconds of work, and asks the next one what it kept. Of what had left once and is sent again, one
        part was confirmed before the kill, the other was on its way and ended with the process."""
        target = tempfile.mkdtemp(prefix="target-", dir=os.path.dirname(os.path.dirname(source)))
        rng, total, tries = random.Random(1), os.path.getsize(source), []
        while True:
            sender = Watched(self.hosts, "b", [self.binary, "send", "--token", "--json", "--derp-server", self.server, source], env=self.env(),
                             stdout=subprocess.DEVNULL)
            token = sender.event("token", timeout=30)["token"]
            receiver = Watched(self.hosts, "a", [self.binary, "receive", "--json", token], env=self.env(), cwd=target, stdout=subprocess.DEVNULL)
            kept = receiver.event("accepted", timeout=30)["kept_bytes"]
            last = len(tries) == kills or total - kept < 64 * MIB
            if not last:
                time.sleep(rng.uniform(1.5, 4))
                receiver.child.kill()
                time.sleep(1)  # what it had sent arrives, and is told
                sender.child.send_signal(signal.SIGINT)
            receiver.finish(PATIENCE, good=(0, -signal.SIGKILL))
            sender.finish(PATIENCE, good=(0, 130, 3))
            ended = sender.event("done" if last else "stopped")
            new = ended["wire_bytes_sent"] - ended["resent_bytes"]
            if last:
                break
            confirmed = [json.loads(line)["bytes"] for line in sender.lines if line.startswith('{"event":"progress"')]
            tries.append((kept, new, max([kept, *confirmed])))
        overhead = new / (total - kept)
        after = [start for start, _, _ in tries[1:]] + [kept]
        for (start, sent, confirmed), found in zip(tries, after):
            left = start + sent / overhead
            yield {"twice": max(0, left - found), "confirmed": max(0, confirmed - found)}
        shutil.rmtree(target)

    def pipe(self, source, target):
        out = os.open(os.path.join(target, os.path.basename(source)), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        listener = Watched(self.hosts, "a", [self.binary, "listen", "--json", "--derp-server", self.server], env=self.env(), stdout=out)
        os.close(out)
        token = listener.event("token")["token"]
        started = time.monotonic()
        with open(source, "rb") as stdin:
            sender = Watched(self.hosts, "b", [self.binary, "pipe", "--json", token], env=self.env(), stdin=stdin)
        return self.both(sender, listener, started)

    def both(self, sender, receiver, started):
        receive_cpu = receiver.finish(PATIENCE)
        send_cpu = sender.finish(PATIENCE)
        done = sender.event("done")
        return {"seconds": time.monotonic() - started, "send_cpu": send_cpu, "receive_cpu": receive_cpu, "relay_share": done["relay_share"],
                "send_rss": sender.peak_mib, "receive_rss": receiver.peak_mib}

    def run(self, method, source, place, wanted):
        """One case into a fresh directory."""
        # Kept until the end: ext4 is slow to make files where many were deleted within half a minute.
        target = tempfile.mkdtemp(prefix="target-", dir=self.places[place])
        os.sync()
        try:
            result = getattr(self, method)(source, target)
            os.sync()
            if method == "pipe":  # carries content alone
                same = sha256(os.path.join(target, os.path.basename(source))) == sha256(source)
            else:
                same = listing(target) == wanted
            if not same:
                raise Failed("what arrived is not what was sent")
            return result
        finally:
            if place == "tmpfs" or method == "pipe" or os.path.exists(os.path.join(target, "big")):
                shutil.rmtree(target, ignore_errors=True)


def make_many(root, count):
    for i in range(count):
        directory = os.path.join(root, "many", f"{i // PER_DIRECTORY:03d}")
        if i % PER_DIRECTORY == 0:
            os.makedirs(directory)
        with open(os.path.join(directory, f"{i}.dat"), "wb") as file:
            file.write(os.urandom(FILE_BYTES))
    return os.path.join(root, "many")


def make_big(root, mib):
    path = os.path.join(root, "big")
    with open(path, "wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1 << 20))
    return path


def measure(bench, what, methods, source, place, runs):
    """Rows of medians; the first method is the yardstick."""
    wanted = listing(os.path.dirname(source))
    results = {method: [] for method in methods}
    for number in range(runs):
        for method in methods[number % len(methods):] + methods[:number % len(methods)]:
            result = bench.run(method, source, place, wanted)
            results[method].append(result)
            say(f"{what} {place} {method} {number + 1}/{runs}: {result['seconds']:.2f} s")
    rows = []
    for method in methods:
        ratios = [a["seconds"] / b["seconds"] for a, b in zip(results[methods[0]], results[method])]
        row = {"case": what, "place": place, "method": method, "ratio": statistics.median(ratios)}
        for key in results[method][0]:
            row[key] = statistics.median(r[key] for r in results[method])
        rows.append(row)
    return rows


def show(rows):
    print("| case | place | how | seconds | speed beside the first | sender's CPU s | receiver's | relay |\n|---|---|---|---|---|---|---|---|")
    for row in rows:
        cpu = [f"{row[key]:.2f}" if key in row else "" for key in ("send_cpu", "receive_cpu")]
        share = f"{row['relay_share'] * 100:.0f} %" if "relay_share" in row else ""
        print(f"| {row['case']} | {row['place']} | {row['method']} | {row['seconds']:.2f} | {row['ratio']:.2f} | {cpu[0]} | {cpu[1]} | {share} |")


def main():
    parser = argparse.ArgumentParser(usage=__doc__.replace("%", "%%"))
    parser.add_argument("build")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--big", type=int, default=1024)
    parser.add_argument("--place", default="")
    parser.add_argument("--only", default="")
    parser.add_argument("--json", default="")
    options = parser.parse_args()
    if reason := why_not():
        say(f"SKIPPED send: {reason}")
        return
    missing = [tool for tool in ("rsync", "ssh", "/usr/sbin/sshd") if shutil.which(tool) is None]
    if missing:
        say(f"SKIPPED send: these programs are missing: {', '.join(missing)}")
        return
    build = os.path.abspath(options.build)
    only = [word for word in options.only.split(",") if word]
    rows = []
    for what, hosts, make, amount, methods in (("many", lambda: Wired(build, NEAR), make_many, options.files, ["tar", "rsync", "send"]),
                                               ("big", TwoHosts, make_big, options.big, ["pipe", "send"]),
                                               ("lossy", lambda: Wired(build, LONG, "3%"), make_big, options.big // 4, ["pipe", "send"])):
        if only and not any(word in (what, *methods) for word in only):
            continue
        methods = [m for m in methods if not only or what in only or m in only]
        bench = Sending(build, hosts)
        try:
            for place in bench.places:
                if options.place and place != options.place:
                    continue
                root = os.path.join(bench.places[place], "source")
                os.mkdir(root)
                rows += measure(bench, what, methods, make(root, amount), place, options.runs)
                shutil.rmtree(root)
        finally:
            bench.close()
    if not only or "twice" in only:
        bench = Sending(build, lambda: Wired(build, FAR))
        try:
            root = os.path.join(bench.places.get("tmpfs", bench.places["disk"]), "source")
            os.mkdir(root)
            found = list(bench.twice(make_big(root, options.big), KILLS))
        finally:
            bench.close()
        for what in ("twice", "confirmed"):
            sizes = sorted(kill[what] / MIB for kill in found)
            print(f"{len(sizes)} kills of the receiver, {FAR[0]} Mbit/s x {FAR[1]} ms, MiB sent twice{'' if what == 'twice' else ' that had been confirmed'}: "
                  f"median {statistics.median(sizes):.1f}, most {sizes[-1]:.1f}")
    show(rows)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
