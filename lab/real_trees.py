#!/usr/bin/env python3
"""Real trees between two homes: real_trees.py BINARY [DIRECTORY...]  (default: /usr/share and this source tree without build)

Each is sent three times: over the relay only, directly, and with UDP let through only after the transfer has begun, so that it moves in the
middle. What arrives is compared entry by entry (kind, permission bits, time, content, target) and by rsync with checksums, where that is here.
What `send` said it leaves out (symlinks that point outside, sockets, devices) is not expected.
"""
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time

import natlab

HEAL_AFTER = 2.0  # seconds after the claim: then UDP may pass
PATIENCE = 600
FEW = 100  # files that may be deleted between two transfers
WAYS = ("relay", "direct", "promoted")


def entry(path):
    info = os.lstat(path)
    kind = stat.S_IFMT(info.st_mode)
    if kind == stat.S_IFLNK:
        return kind, info.st_mtime_ns, os.readlink(path)
    return kind, info.st_mode & 0o777, info.st_mtime_ns, info.st_size if kind == stat.S_IFREG else None


def tree(root):
    out = {}
    for base, directories, files in os.walk(root):
        for name in directories + files:
            path = os.path.join(base, name)
            out[os.path.relpath(path, root)] = entry(path)
    return out


def same_content(a, b):
    with open(a, "rb") as one, open(b, "rb") as other:
        while True:
            x, y = one.read(1 << 20), other.read(1 << 20)
            if x != y:
                return False
            if not x:
                return True


def differences(source, target, left_out):
    """Paths that are not the same, beside those that were announced to stay behind and everything below them."""
    ours, theirs = tree(source), tree(target)
    wrong = [path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path)]
    wrong += [path for path, found in ours.items() if found[0] == stat.S_IFREG and theirs.get(path) == found and
              not same_content(os.path.join(source, path), os.path.join(target, path))]
    return [path for path in wrong if not any((path + "/").startswith(left + "/") for left in left_out)]


def by_rsync(source, target, left_out, exclude):
    """What rsync would change, itemized; None without rsync."""
    if shutil.which("rsync") is None:
        return None
    said = subprocess.run(["rsync", "-nrlptcD", "-8", "--delete", "-i", *exclude, f"{source}/", f"{target}/"], capture_output=True, check=True).stdout
    lines = [line for line in os.fsdecode(said).splitlines() if line]
    paths = [line.split(" ", 1)[1].split(" -> ")[0].rstrip("/") for line in lines]
    return [line for line, path in zip(lines, paths) if path != "." and path not in left_out and not line.startswith(".d...p")]


def events(process, name):
    found = (json.loads(text) for _, text in process.lines if text.startswith("{"))
    return [event for event in found if event["event"] == name]


def one(lab, source, way, limit):
    target = tempfile.mkdtemp(prefix="derphole-real-", dir=lab.dir)
    for side in "ab":
        lab.set_nat(side, "port-restr")
    if way == "promoted":
        lab.cut_udp("a")
    servers = [word for url in lab.servers for word in ("--derp-server", url)]
    extra = (["--force-relay"] if way == "relay" else []) + (["--limit-rate", limit] if limit and way == "promoted" else [])
    exclude = ["--exclude", "build", "--exclude", ".cache"] if not source.startswith("/usr") else []
    sender = lab.start("b1", ["send", "--json", "--token", *servers, *extra, *exclude, source])
    token = sender.wait_for(r'"token":"(dh1[\w-]+)"', 60)[1]
    started = time.monotonic()
    receiver = natlab.Process(lab, "a1", ["bash", "-c", 'umask 0; cd "$1"; shift; exec "$@"', "bash", target, lab.binary, "receive", "--json",
                                          *extra[:1 if way == "relay" else 0], token])
    if way == "promoted":
        receiver.wait_for(r'"event":"progress"', 30)
        threading.Timer(HEAL_AFTER, lab.heal, "a").start()
    watchdog = threading.Timer(PATIENCE, lambda: [p.child.kill() for p in (sender, receiver)])
    watchdog.daemon = True  # a signal that ends us does not wait for it
    watchdog.start()
    status = sender.child.wait(), receiver.child.wait()
    seconds = time.monotonic() - started
    watchdog.cancel()
    for process in (sender, receiver):
        process.reader.join(5)
    left = [os.path.relpath(event["path"], source) for event in events(sender, "left-out")]
    placed = os.path.join(target, os.path.basename(source))
    done = events(sender, "done")
    problems = []
    if status != (0, 0) or not done:
        problems.append(f"exit statuses {status}: {sender.lines[-1][1]} / {receiver.lines[-1][1]}")
    else:
        skipped = {os.path.relpath(os.path.join(base, name), source) for base, dirs, files in os.walk(source) for name in dirs + files
                   if exclude and name in ("build", ".cache")}
        missing = differences(source, placed, set(left) | skipped)
        if missing:
            problems.append(f"{len(missing)} differ: {missing[:3]}")
        rsync = by_rsync(source, placed, set(left), exclude)
        if rsync:
            problems.append(f"rsync sees {len(rsync)}: {rsync[:3]}")
        share = done[0]["relay_share"]
        if {"relay": share < 1, "direct": share > 0.5, "promoted": not 0 < share < 1}[way]:
            problems.append(f"{share * 100:.0f} % went over the relay")
    # Trees are kept until the end: ext4 is slow to make files where many were deleted within half a minute.
    if not done or done[0]["files"] < FEW:
        shutil.rmtree(target)
    if problems:
        print(f"FAIL {source} {way}: {'; '.join(problems)}", flush=True)
        return False
    event = done[0]
    print(f"ok   {source} {way}: {event['files']} files, {event['content_bytes'] / 1e6:.0f} MB in {seconds:.1f} s, relay "
          f"{event['relay_share'] * 100:.0f} %, {len(left)} left out and said; equal{'' if rsync is None else ', rsync agrees'}", flush=True)
    return True


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if reason := natlab.why_not():
        print(f"SKIPPED real trees: {reason}")
        return 0
    here = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    sources = [os.path.realpath(path) for path in sys.argv[2:]] or ["/usr/share", here]
    lab = natlab.Lab(os.path.abspath(sys.argv[1]))
    failed = 0
    for source in sources:
        small = sum(os.path.getsize(os.path.join(base, name)) for base, dirs, files in os.walk(source) for name in files
                    if "/build" not in base and os.path.isfile(os.path.join(base, name))) < 100e6
        for way in WAYS:
            failed += not one(lab, source, way, "400k" if small else "60M")
    lab.close()
    print(f"{len(sources) * len(WAYS)} transfers, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(natlab.status_of(main))
