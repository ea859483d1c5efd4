#!/usr/bin/env python3
"""./dev bench pipe: `pipe --force-relay` against what the same relay forwards raw, one after the other, medians of several runs."""
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "e2e"))
from support import World  # noqa: E402
import relay as relay_bench  # noqa: E402

RUNS = 5
GIB = 2


def raw(build, server):
    case = ["--size", "32512", "--pairs", "1", "--window", "24"]
    return relay_bench.run_load(build, server, case, 2.0)["gbps"]


def children_cpu():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def pipe(binary, server):
    """Memory to memory: zeros from a pipe, into /dev/null. Gbit/s from pipe's start to both ends' exit, CPU s/GiB, RSS."""
    with World(binary) as world:
        with open("/dev/null", "wb") as nowhere:
            listener = world.start("listen", "--force-relay", "--derp-server", server.target, stdout=nowhere)
        found, _ = listener.wait_line(r"(dh1\w[\w-]{40,})")
        source = subprocess.Popen(["head", "-c", str(GIB << 30), "/dev/zero"], stdout=subprocess.PIPE)
        started = time.monotonic()
        sender = world.start("pipe", "--force-relay", found[1], stdin=source.stdout)
        source.stdout.close()
        peaks = [0, 0]
        cpu = [0.0, 0.0]
        while sender.child.poll() is None or listener.child.poll() is None:
            for i, process in enumerate((sender, listener)):
                try:
                    peaks[i] = max(peaks[i], process.peak_rss_mib())
                    cpu[i] = max(cpu[i], relay_bench.cpu_seconds(process.child.pid))
                except (OSError, IndexError):
                    pass
            time.sleep(0.02)
        seconds = time.monotonic() - started
        source.wait()
        sender.finish()
        listener.finish()
        return {"gbps": (GIB << 30) * 8 / seconds / 1e9, "send": cpu[0] / GIB, "receive": cpu[1] / GIB, "rss": max(peaks)}


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    raws, pipes = [], []
    for _ in range(RUNS):
        server = relay_bench.Ours(build)
        raws.append(raw(build, server))
        pipes.append(pipe(str(build / "derphole"), server))
        server.stop()
    median = {key: statistics.median(run[key] for run in pipes) for key in pipes[0]}
    limit = statistics.median(raws)
    print(f"raw forwarding, 32,512-byte packets, one pair: {limit:6.2f} Gbit/s")
    print(f"pipe --force-relay, {GIB} GiB memory to memory:  {median['gbps']:6.2f} Gbit/s, ratio {median['gbps'] / limit:.2f}")
    print(f"CPU s/GiB: sender {median['send']:.2f}, receiver {median['receive']:.2f}; peak RSS {median['rss']:.0f} MiB")


if __name__ == "__main__":
    main()
