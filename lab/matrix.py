#!/usr/bin/env python3
"""Every NAT against every other one with the real programs: matrix.py BINARY [--size BYTES] [--pairs KIND/KIND,...]

Each cell moves --size random bytes (half of them only after a direct path, or --patience), compares SHA-256 and prints the way
and the time from claim to direct. A cell that stays on the relay though it need not fails the run.
"""
import argparse
import hashlib
import os
import subprocess
import sys
import threading
import time

import natlab
import router

# Who can reach whom. 1: by plain probing; p: by predicting ports; b: by a birthday search (98 of 100); -: only the relay.
EXPECTED = {
    #              1:1 +fw con adr prt adm seq rnd blk map
    "1:1":        "1   1   1   1   1   1   1   1   -   1",
    "1:1+fw":     "1   1   1   1   1   b   p   b   -   1",
    "full-cone":  "1   1   1   1   1   1   1   1   -   1",
    "addr-restr": "1   1   1   1   1   1   1   1   -   1",
    "port-restr": "1   1   1   1   1   b   p   b   -   1",
    "adm":        "1   b   1   1   b   -   -   -   -   1",
    "sym-seq":    "1   p   1   1   p   -   p   -   -   1",
    "sym-rand":   "1   b   1   1   b   -   -   -   -   1",
    "blocked":    "-   -   -   -   -   -   -   -   -   -",
    "sym+map":    "1   1   1   1   1   1   1   1   -   1",  # random, and a router that maps ports
}
KINDS = list(EXPECTED)
PATIENCE = {"1": 6.0, "p": 8.0, "b": 12.0, "-": 1.0}  # seconds; a resting session tries again, so these are generous


def equip(lab, side, kind):
    """The side's NAT; with a running miniupnpd when it maps ports."""
    lab.set_nat(side, "sym-rand" if kind == "sym+map" else kind)
    return router.Router(lab, side, *natlab.GATEWAYS[side]) if kind == "sym+map" else None


def cell(lab, a, b, size, expected):
    routers = [equip(lab, "a", a), equip(lab, "b", b)]
    source = os.urandom(size)
    listener, token = lab.listen(stdout=subprocess.PIPE)
    digest = hashlib.sha256()

    def drain():
        while data := listener.child.stdout.read1(1 << 16):
            digest.update(data)
    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    sender = lab.start("b1", ["pipe", "--verbose", token], stdin=subprocess.PIPE)
    sender.child.stdin.write(source[:size // 2])
    sender.child.stdin.flush()
    deadline = time.monotonic() + PATIENCE[expected]
    while sender.first("^connected-direct$") is None and time.monotonic() < deadline and sender.child.poll() is None:
        time.sleep(0.01)
    sender.child.stdin.write(source[size // 2:])
    sender.child.stdin.close()
    status = sender.child.wait(60), listener.child.wait(60)
    reader.join()
    sender.reader.join()
    for running in filter(None, routers):
        running.stop()
    same = digest.digest() == hashlib.sha256(source).digest()
    claimed, direct = sender.first("^claimed$"), sender.first("^connected-direct$")
    share = sender.lines[-1][1].rsplit("/s, ", 1)[-1] if sender.lines else ""
    return same and status == (0, 0), direct - claimed if direct and claimed else None, share


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--size", type=int, default=20_000_000)
    parser.add_argument("--pairs", help="for example port-restr/sym-seq,naive/naive; default: all")
    arguments = parser.parse_args()
    if reason := natlab.why_not():
        print(f"SKIPPED NAT matrix: {reason}")
        return 0
    if arguments.pairs:
        pairs = [tuple(pair.split("/")) for pair in arguments.pairs.split(",")]
    else:
        pairs = [(a, b) for a in KINDS for b in KINDS]
    if router.find_daemon() is None and any("sym+map" in pair for pair in pairs):
        print("SKIPPED pairs with sym+map: no miniupnpd-nftables package")
        pairs = [pair for pair in pairs if "sym+map" not in pair]
    lab = natlab.Lab(arguments.binary)
    failed = 0
    for a, b in pairs:
        expected = "1" if "naive" in (a, b) else EXPECTED[a].split()[KINDS.index(b)]
        try:
            whole, seconds, share = cell(lab, a, b, arguments.size, expected)
            ok = whole and (seconds is not None or expected == "-")
            if not ok and whole and expected == "b":  # a search fails one time in fifty by its nature
                whole, seconds, share = cell(lab, a, b, arguments.size, expected)
                ok = whole and seconds is not None
                share += " (second search)"
        except natlab.Failure as failure:
            failed += 1
            print(f"FAIL {a:10} {b:10} {failure}", flush=True)
            continue
        failed += not ok
        way = "relay" if seconds is None else f"direct after {seconds * 1000:5.0f} ms"
        print(f"{'ok  ' if ok else 'FAIL'} {a:10} {b:10} {way:22} {'' if whole else 'BYTES DIFFER '}{share}", flush=True)
    lab.close()
    print(f"{len(pairs)} pairs, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(natlab.status_of(main))
