#!/usr/bin/env python3
"""./dev demo: moves a real file between two processes over our own relay and compares both ends."""
import re
import sys
import time

from support import World, expect, make_file, sha256, Failure

SIZE = 128 << 20


def main():
    with World(sys.argv[1], direct=True) as world:
        source, target = world.path("source"), world.path("received")
        print(f"1. making a file of {SIZE >> 20} MiB of random bytes")
        make_file(source, SIZE)
        relay, server = world.relay()
        print(f"2. a relay of our own runs at {server}")
        listener, token = world.listen(server, "--verbose")
        print(f"3. derphole listen > received      printed a token: {token[:24]}...")
        print(f"4. derphole pipe TOKEN < source")
        started = time.monotonic()
        sender = world.pipe(token, source, "--verbose")
        sender.finish(120)
        listener.finish(30)
        seconds = time.monotonic() - started
        for line in listener.stderr().splitlines():
            if re.match(r"(waiting-for-claim|claimed|connected-\w+|stream-complete)$|received ", line):
                print(f"   listen: {line}")
        words = [text for _, text in listener.lines if text and re.match("connected-", text)]
        path = " first, then ".join(word.removeprefix("connected-") for word in words)
        share = re.search(r"[^,]*(relay|direct) \d+%.*", listener.stderr())
        sums = sha256(source), sha256(target)
        expect(sums[0] == sums[1], f"the files differ: {sums[0]} and {sums[1]}")
        print(f"5. path: {path} ({share[0].strip() if share else '?'}); {SIZE / 1e6:.0f} MB in {seconds:.2f} s, {SIZE / 1e6 / seconds:.0f} MB/s, start to end")
        print(f"   SHA-256 of both files: {sums[0]}")
        print("The relay saw ciphertext only. Try it yourself: README.md shows the two commands.")


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"demo failed: {failure}")
