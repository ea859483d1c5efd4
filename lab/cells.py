#!/usr/bin/env python3
"""The simulator's link with real sockets: cells.py BINARY [numbers]

Ten paths of the congestion grid through the lab's wire, real binaries on both sides, direct path only. Goodput from the third to the
eleventh second, as a share of what the path could carry, beside what the simulator says of the same path. The wire and both programs share
the machine, so a busy one pulls the figures down: they are told, not judged. What is judged: the bytes are the same on both ends.
"""
import hashlib
import json
import os
import subprocess
import sys
import threading
import time

import natlab

DATAGRAM, OVERHEAD, HEADERS = 1200, 37, 28  # bytes; ours, and IPv4 with UDP, which the wire's rate counts
FROM, UNTIL, LIMIT = 3.0, 11.0, 90.0        # seconds since the first byte
# Mbit/s of whole packets, round trip in ms, loss, buffer in products of both
CELLS = ((20, 40, 0, 1), (20, 40, 0.01, 1), (20, 40, 0.03, 1), (20, 100, 0.05, 1), (50, 20, 0, 1), (50, 40, 0, 0.25), (50, 40, 0, 4),
         (50, 100, 0.02, 1), (100, 20, 0, 1), (100, 40, 0.01, 1))


def simulated(binary, cell):
    program = os.path.join(os.path.dirname(binary), "bench", "bench_grid")
    lines = subprocess.run([program, "cell", *map(str, cell)], check=True, capture_output=True, text=True).stdout.splitlines()
    return next(line["share"] for line in map(json.loads, lines) if line["cc"] == "bbr")


def drain(stream, marks, digest):
    total = 0
    while data := stream.read1(1 << 18):
        total += len(data)
        digest.update(data)
        marks.append((time.monotonic(), total))


def through_the_wire(binary, cell):
    """(share of what was attainable, equal bytes)"""
    rate, rtt, loss, buffer = cell
    lab = natlab.Lab(binary, ("gwb",))
    lab.set_nat("a", "port-restr")
    lab.set_nat("b", "port-restr")
    product = rate * rtt * 125
    wire = lab.wires["gwb"]
    wire.tell(f"set both delay {rtt / 2:g}ms")
    wire.tell(f"set both queue {max(int(product * buffer), 4 * (DATAGRAM + HEADERS))}")
    source = os.path.join(lab.dir, "source")
    data = os.urandom(int(rate * 125_000 * (UNTIL + 1.5)))
    with open(source, "wb") as file:
        file.write(data)
    sent, received, marks = hashlib.sha256(data), hashlib.sha256(), []
    del data
    listener, token = lab.listen(stdout=subprocess.PIPE)
    reader = threading.Thread(target=drain, args=(listener.child.stdout, marks, received), daemon=True)
    reader.start()
    wire.tell(f"set both rate {rate:g}mbit")
    wire.tell(f"set {LOSSY} loss {loss:g}")
    with open(source, "rb") as stdin:
        sender = lab.start("b1", ["pipe", "--require-direct", "--wait", "30s", token], stdin=stdin)
    watchdog = threading.Timer(LIMIT, lambda: [process.child.kill() for process in (sender, listener)])
    watchdog.daemon = True  # a signal that ends us does not wait for it
    watchdog.start()
    status = sender.child.wait(), listener.child.wait()
    watchdog.cancel()
    reader.join()
    lab.close()
    if status != (0, 0) or not marks:
        return 0.0, False
    start = marks[0][0]
    first = max((total for at, total in marks if at - start <= FROM), default=0)
    last = max(total for at, total in marks if at - start <= UNTIL)
    # The wire loses packets before its rate limit, so that more offered makes up for it; the simulator behind it.
    attainable = rate * 125_000 * (DATAGRAM - OVERHEAD) / (DATAGRAM + HEADERS)
    return (last - first) / (min(UNTIL, marks[-1][0] - start) - FROM) / attainable, sent.digest() == received.digest()


LOSSY = "ab"  # the wire's first end is the gateway: towards the internet


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if reason := natlab.why_not():
        print(f"SKIPPED cells: {reason}")
        return 0
    binary = os.path.abspath(sys.argv[1])
    wanted = [int(number) for number in sys.argv[2:]] or range(1, len(CELLS) + 1)
    print("| path | real | simulated | ratio | bytes |\n|---|---|---|---|---|")
    failed = 0
    for number in wanted:
        cell = CELLS[number - 1]
        rate, rtt, loss, buffer = cell
        share, equal = through_the_wire(binary, cell)
        expected = simulated(binary, cell)
        failed += not equal
        print(f"| {rate} Mbit/s, {rtt} ms, {loss * 100:g} % lost, buffer {buffer:g} | {share:.2f} | {expected:.2f} | {share / expected:.2f} "
              f"| {'equal' if equal else 'DIFFERENT'} |", flush=True)
    print(f"{len(wanted)} cells, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(natlab.status_of(main))
