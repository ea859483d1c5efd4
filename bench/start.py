#!/usr/bin/env python3
"""./dev bench start: how long a session takes to start. In relay round trips in the simulator, in milliseconds on loopback."""
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "e2e"))
from support import World  # noqa: E402

RUNS = 15


def loopback(build):
    """pipe's start (exec) to the first byte out of listen, 1 KiB, and to both processes' ends."""
    first, whole = [], []
    with World(os.path.join(build, "derphole")) as world:
        _, server = world.relay()
        payload = os.urandom(1024)
        for _ in range(RUNS):
            listener = world.start("listen", "--derp-server", server, stdout=subprocess.PIPE)
            found, _ = listener.wait_line(r"(dh1\w[\w-]{40,})")
            started = time.monotonic()
            sender = world.start("pipe", found[1], stdin=subprocess.PIPE)
            sender.child.stdin.write(payload)
            sender.child.stdin.close()
            data = listener.child.stdout.read(1)
            first.append((time.monotonic() - started) * 1e3)
            data += listener.child.stdout.read()
            sender.finish()
            listener.finish()
            whole.append((time.monotonic() - started) * 1e3)
            assert data == payload
    for name, values in (("pipe start -> first byte at the listener", first), ("pipe start -> both ended", whole)):
        print(f"{name:42} median {statistics.median(values):6.1f} ms   min {min(values):6.1f}   max {max(values):6.1f}")


def main():
    build = sys.argv[1]
    print("Simulator, relay round trips from the dialer's relay login to the first byte at the listener (goal 1.5):")
    subprocess.run([os.path.join(build, "bench", "bench_start_rtt")], check=True)
    print(f"Loopback, our relay, plain HTTP, 1 KiB, {RUNS} runs:")
    loopback(build)


if __name__ == "__main__":
    main()
