"""Kills `send` or `receive` at random moments, runs the same commands again until they end, and looks at the destination
after every kill. The short loop is a test of transfer.py, the long one is `./dev lab kills`."""
import json
import os
import random
import shutil
import time

from support import SIGINT, SIGKILL, Failure, expect
from trees import Transfer, expect_equal, expect_merged, expect_old_or_new, older_tree, tree, write

MOST_TWICE = 4 << 20  # bytes sent again for one interruption
MOST_IN_A_ROW = 4     # kills until the commands are left in peace


def mixed_tree(root, rng, large, small):
    """A large file, many small ones, links, empty directories, odd modes and times; several names at the top."""
    write(f"{root}/large", rng.randbytes(large))
    for i in range(small):
        write(f"{root}/many/{i % 9}/{i}", rng.randbytes(rng.choice([0, 1, 100, 4096, 4096, 70_000])))
    for i, size in enumerate([0, 1, (1 << 20) - 1, 1 << 20, (3 << 20) + 1]):
        write(f"{root}/sizes/deep/er/{i}", rng.randbytes(size))
    os.symlink("deep/er", f"{root}/sizes/link")
    os.symlink("../sizes", f"{root}/many/nowhere")  # points out of its entry: stays behind, reported
    os.makedirs(f"{root}/empty/inside")
    write(f"{root}/locked/inner/f", b"read only")
    write(f"{root}/small", b"one of its own")
    os.chmod(f"{root}/sizes/deep/er/1", 0o4 if os.geteuid() == 0 else 0o404)  # only root reads what its owner may not
    os.chmod(f"{root}/sizes/deep/er/2", 0o751)
    os.chmod(f"{root}/small", 0o400)
    for i, path in enumerate(["large", "sizes/deep/er/3", "empty/inside", "empty", "sizes", "locked/inner", "locked"]):
        os.utime(f"{root}/{path}", ns=(1, 1_111_111_111_123_456_789 + i * 86_400_000_000_000))
    for path in ("locked/inner", "locked"):
        os.chmod(f"{root}/{path}", 0o500)
    return sorted(os.listdir(root))


def unlock(root):
    """Only root may remove what is in a locked directory."""
    for base, directories, _ in os.walk(root):
        for name in directories:
            if not os.path.islink(os.path.join(base, name)):
                os.chmod(os.path.join(base, name), 0o700)


class KillLoop:
    def __init__(self, binary, seed, large=64 << 20, small=300, measured=1.0):
        """`measured`: of the survivors that many may say goodbye, which takes two seconds, and tell what they have moved."""
        self.measured = measured
        self.rng = random.Random(seed)
        self.transfer = Transfer(binary)
        self.names = mixed_tree(self.transfer.source, self.rng, large, small)
        self.wanted = tree(self.transfer.source)
        del self.wanted["many/nowhere"]
        self.kills = self.episodes = self.recognised = self.mixed = 0
        self.flags = ()
        self.twice = []  # (bytes sent again, who was killed), per interruption
        self.seconds = self.wire_ratio = 0.0

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        unlock(self.transfer.world.dir)
        self.transfer.world.close()

    def start(self):
        sender, token = self.transfer.send("--json", *self.names)
        return sender, self.transfer.receive(token, "--json", *self.flags)

    def prepare(self):
        """What is in the destination before the first try."""

    def expect_done(self):
        expect_equal(self.wanted, self.transfer.target)

    def measure(self):
        """One run in peace: how long it takes, and what the wire costs."""
        self.prepare()
        started = time.monotonic()
        sender, receiver = self.start()
        receiver.finish(120)
        sender.finish(120)
        self.seconds = time.monotonic() - started
        done = said(sender, "done")
        self.wire_ratio = (done["wire_bytes_sent"] - done["resent_bytes"]) / done["bytes"]
        self.expect_done()
        self.clear()

    def clear(self):
        unlock(self.transfer.target)
        shutil.rmtree(self.transfer.target)
        os.mkdir(self.transfer.target)

    def run(self, kills):
        self.measure()
        while self.kills < kills:
            self.episode()
        return self.report()

    def episode(self):
        """From an empty destination to a whole one."""
        self.episodes += 1
        self.prepare()
        who, here, sent = "", 0, None  # bytes that the last try kept, and that it moved beyond those
        for _ in range(self.rng.randint(1, MOST_IN_A_ROW)):
            if self.is_over():
                break
            sender, receiver = self.start()
            victim = self.strike(sender, receiver)
            kept = said(receiver, "accepted")
            if kept:
                if sent is not None:
                    self.count(here + sent - kept["kept_bytes"], who)
                here, sent = kept["kept_bytes"], self.moved(victim, sender, receiver)
                who = "sender" if victim is sender else "receiver"
            self.look()
        if not self.is_over():
            sender, receiver = self.start()
            receiver.finish(120)
            sender.finish(120)
            kept = said(receiver, "accepted")["kept_bytes"]
            if sent is not None:
                self.count(here + sent - kept, who)
        self.expect_done()
        left = [n for n in sorted(os.listdir(self.transfer.target)) if n not in self.names and n != "mine"]
        if left:
            expect(all(n.startswith(".derphole-part-") for n in left), f"left behind: {left}")
            self.recognised += 1  # killed behind the last step: everything is in place, its staging directory is left
        self.clear()

    def count(self, twice, who):
        self.twice.append((max(0, twice), who))

    def strike(self, sender, receiver):
        """Kills one of them, or both as a power switch would; the other is interrupted by the person who sees it."""
        self.wait(receiver)
        victim = self.rng.choice([sender, receiver])
        both = self.rng.random() < 0.1
        self.kills += victim.child.poll() is None
        for process in (sender, receiver):
            if process is victim or both:
                process.signal(SIGKILL)
        for process in (sender, receiver):
            if process is not victim and process.child.poll() is None:
                time.sleep(0.05)
                process.signal(SIGINT)
                if self.rng.random() >= self.measured:
                    time.sleep(0.05)
                    process.signal(SIGINT)
        for process in (sender, receiver):
            process.finish(20, status=None)
        return None if both else victim

    def wait(self, receiver):
        time.sleep(self.rng.uniform(0, self.seconds * 1.1))

    def moved(self, victim, sender, receiver):
        """Bytes that one run has moved for the first time, as the survivor counted them; None: nobody can tell."""
        survivor = receiver if victim is sender else sender
        ended = said(survivor, "stopped") or said(survivor, "done")
        if victim is None or ended is None:
            return None
        if survivor is receiver:
            return ended["bytes"]
        return int((ended["wire_bytes_sent"] - ended["resent_bytes"]) / self.wire_ratio)

    def look(self):
        """Whatever has its final name is right. Modes of locked directories may still be ours."""
        for path, found in tree(self.transfer.target).items():
            wanted = self.wanted.get(path)
            if wanted is None or wanted[2] != found[2] or wanted[0] >> 12 != found[0] >> 12:
                raise Failure(f"after kill {self.kills} {path} has its final name and is wrong")
        for name in os.listdir(self.transfer.target):
            if not name.startswith(".derphole-part-"):
                missing = [p for p in self.wanted if (p + "/").startswith(name + "/") and not
                           os.path.lexists(os.path.join(self.transfer.target, p))]
                expect(not missing, f"after kill {self.kills} {name} is in place without {missing[:3]}")

    def is_over(self):
        """Everything is in place and no journal knows of it any more: the same `receive` would meet its own files."""
        left = os.listdir(self.transfer.target)
        staging = [name for name in left if name.startswith(".derphole-part-")]
        if any(os.path.exists(os.path.join(self.transfer.target, name, "journal")) for name in staging):
            return False
        return sorted(set(left) - set(staging)) == self.names

    def report(self):
        counts = [count for count, _ in self.twice]
        most = max(counts, default=0)
        much = sorted((x for x in self.twice if x[0] > MOST_TWICE), reverse=True)
        expect(not much, f"{len(much)} of {len(counts)} interruptions cost more than {MOST_TWICE} bytes, all {self.kills} kills ended equal: {much[:8]}")
        total = sum(counts)
        return (f"{self.kills} kills in {self.episodes} transfers of {self.seconds:.1f} s, all ended equal; sent twice per "
                f"interruption: at most {most / (1 << 20):.2f} MiB, {total / max(1, len(self.twice)) / (1 << 20):.2f} MiB on average "
                f"({len(self.twice)} measured)")


class OverwriteLoop(KillLoop):
    """Into a destination that has most of it already, older, with `--overwrite`. At every moment each name has the old file or the new
    one, whole, and afterwards the destination has the new files and what only it had."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.flags = ("--overwrite",)
        self.seed = self.rng.random()

    def prepare(self):
        older_tree(self.transfer.source, self.transfer.target, random.Random(self.seed))
        self.old = tree(self.transfer.target)
        self.first = self.inode("large")

    def inode(self, path):
        """None: not there."""
        try:
            return os.lstat(os.path.join(self.transfer.target, path)).st_ino
        except FileNotFoundError:
            return None

    def wait(self, receiver):
        """Half of them while names change hands."""
        if self.rng.random() < 0.5:
            return super().wait(receiver)
        deadline = time.monotonic() + 10
        while self.inode("large") == self.first and receiver.child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.0002)
        time.sleep(self.rng.uniform(0, self.rng.choice([0.001, 0.005, 0.03])))

    def expect_done(self):
        expect_merged(self.old, self.wanted, self.transfer.target)

    def look(self):
        self.mixed += expect_old_or_new(self.old, self.wanted, self.transfer.target, f"after kill {self.kills}")

    def is_over(self):
        """Everything is in place, and the next try could not know: it would send it once more."""
        if any(os.path.exists(os.path.join(self.transfer.target, name, "journal")) for name in os.listdir(self.transfer.target)):
            return False
        try:
            self.expect_done()
        except Failure:
            return False
        return True

    def report(self):
        return f"--overwrite: {super().report()}; {self.mixed} kills left old beside new"


def said(process, name):
    """The last event of that name, or None."""
    for _, text in reversed(process.lines):
        if text and text.startswith(f'{{"event":"{name}"') and text.endswith("}"):  # the killed leave half lines
            return json.loads(text)
    return None
