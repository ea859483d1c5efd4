#!/usr/bin/env python3
"""Power cuts while `receive` writes. power_loss.py BINARY [CUTS] [RESUMES] [SEED].

A run of the real program is recorded with strace; then the power is cut at random moments of the recording, and whatever no fsync had
made durable is lost, kept in part, or reordered (disk_model.py). In each of CUTS (160) such states no final name may have a wrong file; from
RESUMES (10) of them the same `send` and `receive` are run again and must end in equal trees. Half of the recordings are of such a second run."""
import os
import random
import shutil
import sys

from disk_model import STRACE, Disk, Sync
from kill_loop import mixed_tree, said, unlock
from support import Failure, expect, need_strace, run_tests
from trees import Transfer, expect_equal, expect_merged, expect_old_or_new, older_tree, tree

BINARY = sys.argv[1]
CUTS = int(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[2].isdigit() else 160
RESUMES = int(sys.argv[3]) if len(sys.argv) > 3 else 10
SEED = int(sys.argv[4]) if len(sys.argv) > 4 else 11


class Cuts:
    def __init__(self, make, overwrite=False):
        """`make(root, rng)` fills the source and returns the names to send. `overwrite`: into a destination that has most of it, older."""
        self.overwrite = overwrite
        self.rng = random.Random(SEED)
        self.transfer = Transfer(BINARY)
        self.names = make(self.transfer.source, self.rng)
        self.wanted = {path: found for path, found in tree(self.transfer.source).items() if path != "many/nowhere"}
        self.states = self.resumed = self.complete = self.mixed = 0

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        unlock(self.transfer.world.dir)
        self.transfer.world.close()

    def fresh(self, name):
        path = self.transfer.world.path(name)
        if os.path.exists(path):
            unlock(path)
            shutil.rmtree(path)
        os.mkdir(path)
        return path

    def start(self):
        """A destination as it is before the first try."""
        path = self.fresh("to")
        if self.overwrite:
            older_tree(self.transfer.source, path, random.Random(SEED))
            self.old = tree(path)
        return path

    def receive(self, token, target, **kwargs):
        return self.transfer.receive(token, "--json", *(["--overwrite"] if self.overwrite else []), cwd=target, **kwargs)

    def expect_done(self, target):
        if self.overwrite:
            return expect_merged(self.old, self.wanted, target)
        return expect_equal(self.wanted, target)

    def record(self, target):
        """One whole run into `target`, as a Disk."""
        trace = self.transfer.world.path("trace")
        disk = Disk(target)
        sender, token = self.transfer.send("--json", *self.names)
        receiver = self.receive(token, target, prefix=[*STRACE, "-o", trace])
        receiver.finish(120)
        sender.finish(120)
        self.expect_done(target)
        disk.read(trace)
        check = self.fresh("check")
        disk.materialize(disk.replay(disk.ops, {op for op in disk.ops if not isinstance(op, Sync)}, None, 1), check)
        self.expect_done(check)  # the model ends where the disk did
        return disk

    def look(self, target, what):
        if self.overwrite:
            self.mixed += expect_old_or_new(self.old, self.wanted, target, f"{what}:")
            return
        for path, found in tree(target).items():
            wanted = self.wanted.get(path)
            if wanted is None or wanted[2] != found[2] or wanted[0] >> 12 != found[0] >> 12:
                raise Failure(f"{what}: {path} has its final name and is wrong")
        for name in self.names:
            if os.path.lexists(os.path.join(target, name)):
                missing = [p for p in self.wanted if (p + "/").startswith(name + "/") and not os.path.lexists(os.path.join(target, p))]
                expect(not missing, f"{what}: {name} is in place without {missing[:3]}")

    def cut(self, disk):
        """One power cut; the directory it leaves, checked."""
        when = self.rng.choice([self.rng.randrange(len(disk.ops) + 1), len(disk.ops) - self.rng.randrange(min(60, len(disk.ops)))])
        target = self.fresh("after")
        disk.materialize(disk.crash(when, self.rng), target)
        self.states += 1
        self.look(target, f"seed {SEED}, cut {self.states} at operation {when} of {len(disk.ops)}")
        return target

    def resume(self, target):
        journals = [name for name in os.listdir(target) if os.path.exists(os.path.join(target, name, "journal"))]
        if not self.overwrite and tree(target).keys() == self.wanted.keys() and not journals:  # behind the end, while it tidied up
            self.complete += 1
            return
        sender, token = self.transfer.send("--json", *self.names)
        receiver = self.receive(token, target)
        receiver.finish(120)
        sender.finish(120)
        expect(said(receiver, "done") is not None, "no end")
        self.expect_done(target)
        left = sorted(set(os.listdir(target)) - {"mine"})
        expect(left == self.names, f"left behind: {left}")
        self.resumed += 1

    def run(self, recordings=4, cuts=CUTS):
        for number in range(recordings):
            if number % 2 == 0:
                start = self.start()
            else:  # the run after a power cut, cut again
                start = self.fresh("to")
                disk.materialize(disk.crash(self.rng.randrange(len(disk.ops) // 4, len(disk.ops) * 3 // 4), self.rng), start)
            disk = self.record(start)
            for i in range(cuts // recordings):
                target = self.cut(disk)
                if i % max(1, cuts // RESUMES) == 0:
                    self.resume(target)
        mixed = f", {self.mixed} left old beside new" if self.overwrite else ""
        return f"seed {SEED}: {self.states} cuts{mixed}, {self.resumed} resumed, all equal"


def test_many_files():
    need_strace()
    with Cuts(lambda root, rng: mixed_tree(root, rng, 2 << 20, 40)) as cuts:
        return cuts.run()


def test_many_files_over_older_ones():
    need_strace()
    with Cuts(lambda root, rng: mixed_tree(root, rng, 2 << 20, 40), overwrite=True) as cuts:
        return cuts.run(recordings=2, cuts=CUTS // 2)


def test_one_file():
    """Synced alone instead of with the whole file system."""
    def make(root, rng):
        with open(f"{root}/one", "wb") as file:
            file.write(rng.randbytes((5 << 20) + 77))
        return ["one"]
    need_strace()
    with Cuts(make) as cuts:
        return cuts.run()


if __name__ == "__main__":
    sys.argv = sys.argv[:2]
    sys.exit(run_tests([value for name, value in list(globals().items()) if name.startswith("test_")]))
