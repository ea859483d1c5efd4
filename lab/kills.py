#!/usr/bin/env python3
"""`kill -9` of sender or receiver at random moments of a transfer, then of one that overwrites what is there.
kills.py BINARY [KILLS] [SEED]; needs no root."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "e2e"))
from kill_loop import KillLoop, OverwriteLoop  # noqa: E402
from support import Failure  # noqa: E402

binary = sys.argv[1]
kills = int(sys.argv[2]) if len(sys.argv) > 2 else 200
seed = int(sys.argv[3]) if len(sys.argv) > 3 else int.from_bytes(os.urandom(4), "big")
print(f"seed {seed}", flush=True)
started = time.monotonic()
try:
    for kind, number in ((KillLoop, kills), (OverwriteLoop, (kills + 1) // 2)):
        with kind(binary, seed) as loop:
            print(loop.run(number) + f"; {time.monotonic() - started:.0f} s", flush=True)
except Failure as failure:
    sys.exit(f"FAIL with seed {seed}: {failure}")
