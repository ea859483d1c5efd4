#!/usr/bin/env python3
"""What happens to a running transfer when the network changes under it: scenarios.py BINARY [names]

A feeder writes 5 MB/s for the scenario's time; the other side's longest receive gap, the path words and the bytes are printed. Bytes must be
whole and in order always, and the path at the end must be the one named here.
"""
import functools
import os
import sys

import natlab
from transfer import Transfer

RATE = 5_000_000  # bytes per second
SECONDS = 9.0
IDLE = {"short-lived-mappings": (3, 18)}  # nothing is fed then; the scenario lasts that much longer

# name: (NAT of a, NAT of b, what happens when, path at the end)
SCENARIOS = {
    "udp-cut-and-healed": ("port-restr", "port-restr", [(2, "cut_udp", "a"), (5, "heal", "a")], "direct"),
    "one-way-cut": ("port-restr", "port-restr", [(2, "cut_one_way", "a"), (5, "heal", "a")], "direct"),
    "udp-cut-for-good": ("port-restr", "port-restr", [(2, "cut_udp", "b")], "relay"),
    "flows-forgotten": ("port-restr", "port-restr", [(2, "forget_flows", "a"), (4, "forget_flows", "b")], "direct"),
    "rebinding-at-the-receiver": ("port-restr", "port-restr", [(2, "rebind", "a", "50000-50100")], "direct"),
    "rebinding-at-the-sender": ("port-restr", "port-restr", [(2, "rebind", "b", "50000-50100")], "direct"),
    "rebinding-behind-a-cone": ("port-restr", "full-cone", [(2, "rebind", "a", "50000-50100")], "direct"),
    "rebinding-every-2-seconds": ("port-restr", "port-restr",
                                  [(t, "rebind", "a", f"{50000 + 500 * t}-{50100 + 500 * t}") for t in (2, 4, 6)], "direct"),
    "public-address-changes": ("port-restr", "port-restr", [(2, "change_public_address", "a", "5.5.5.31")], "direct"),
    "uplink-dead-for-2-seconds": ("port-restr", "port-restr", [(2, "cut_all", "a"), (4, "heal", "a")], "direct"),
    "relay-cut-while-direct": ("port-restr", "port-restr", [(2, "cut_tcp", "b"), (5, "heal", "b")], "direct"),
    # Idle from 3 s on; the NATs have long forgotten when it goes on.
    "short-lived-mappings": ("port-restr", "port-restr", [(0, "forget_soon", "a"), (0, "forget_soon", "b")], "direct"),
    "promoted-after-a-second": ("port-restr", "port-restr", [(0, "cut_udp", "a"), (1, "heal", "a")], "direct"),
    # The last one: it leaves no relay.
    "relay-dies-while-direct": ("port-restr", "port-restr", [(2, "kill_relay", 0), (3, "kill_relay", 1)], "direct"),
}


def scenario(lab, name, a, b, actions, ending):
    lab.set_nat("a", a)
    lab.set_nat("b", b)
    idle = IDLE.get(name, (0, 0))
    transfer = Transfer(lab, SECONDS + idle[1] - idle[0], RATE,
                        [(when, functools.partial(getattr(lab, what), *args)) for when, what, *args in actions], idle=idle)
    ok = transfer.whole and transfer.ending == ending
    longest, when = max(transfer.gaps)
    print(f"{'ok  ' if ok else 'FAIL'} {name:28} longest gap {longest * 1000:5.0f} ms at {when:4.1f} s; {len(transfer.words) - 1} moves, "
          f"ends {transfer.ending}; {transfer.share}{'' if transfer.whole else f'; NOT WHOLE, exit {transfer.status}'}", flush=True)
    if not ok or os.environ.get("LAB_VERBOSE"):
        transfer.tell()
    return ok


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if reason := natlab.why_not():
        print(f"SKIPPED NAT scenarios: {reason}")
        return 0
    names = sys.argv[2:] or list(SCENARIOS)
    failed = 0
    lab = natlab.Lab(sys.argv[1])
    for name in names:
        try:
            failed += not scenario(lab, name, *SCENARIOS[name])
        except natlab.Failure as failure:
            failed += 1
            print(f"FAIL {name:28} {failure}", flush=True)
        lab.restore_public_address("a", "5.5.5.31")
    lab.close()
    print(f"{len(names)} scenarios, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(natlab.status_of(main))
