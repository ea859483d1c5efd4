#!/usr/bin/env python3
"""send and receive, the real binaries on loopback. transfer.py BINARY [words that select tests].
DERPHOLE_KILLS: how often a transfer is killed (20)."""
import json
import os
import pty
import random
import select
import stat
import subprocess
import sys
import tempfile
import time

from support import Failure, SIGINT, SIGKILL, World, events, expect, need_terminal, run_tests

BINARY = sys.argv[1]
KILLS = int(os.environ.get("DERPHOLE_KILLS", "20"))


def tree(root):
    """Everything below a directory as {path: (kind, mode, mtime, content or target)}; staging directories left out."""
    out = {}
    for base, directories, files in os.walk(root):
        directories[:] = [d for d in directories if not d.startswith(".derphole-part-")]
        for name in directories + files:
            path = os.path.join(base, name)
            info = os.lstat(path)
            content = None
            if stat.S_ISLNK(info.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(info.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            out[os.path.relpath(path, root)] = (info.st_mode, info.st_mtime_ns, content)
    return out


def expect_equal(a, b):
    ours, theirs = tree(a), tree(b)
    if ours == theirs:
        return
    wrong = sorted(k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k))
    shown = [(k, *(tuple(t[k][:2]) if k in t else None for t in (ours, theirs))) for k in wrong[:5]]
    raise Failure(f"{len(wrong)} entries differ: {shown}")


class Transfer:
    """A relay, a source directory and a destination directory."""

    def __init__(self):
        self.world = World(BINARY)
        _, self.server = self.world.relay()
        self.source, self.target = self.world.path("from"), self.world.path("to")
        os.mkdir(self.source)
        os.mkdir(self.target)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.world.close()

    def send(self, *args, **kwargs):
        """Starts `send` in the source directory; returns (process, token)."""
        process = self.world.start("send", "--token", "--derp-server", self.server, *args, cwd=self.source, **kwargs)
        pattern = r'"command":"derphole receive (dh1\w[\w-]*)"' if "--json" in args else r"^derphole receive (dh1\w[\w-]*)"
        found, _ = process.wait_line(pattern)
        return process, found[1]

    def receive(self, token, *args, **kwargs):
        return self.world.start("receive", token, *args, cwd=kwargs.pop("cwd", self.target), **kwargs)

    def run(self, *what, receive=(), status=0, sender_status=None, timeout=120):
        sender, token = self.send(*what)
        receiver = self.receive(token, *receive)
        receiver.finish(timeout, status)
        sender.finish(timeout, status if sender_status is None else sender_status)
        return sender, receiver


def write(path, content=b"x"):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def messy_tree(root):
    write(f"{root}/tree/empty", b"")
    write(f"{root}/tree/a/b/c/deep", os.urandom(100_000))
    write(f"{root}/tree/large", os.urandom((5 << 20) + 7))
    write(f"{root}/tree/spaces and\nnewline", b"1")
    write(f"{root}/tree/\x1b[31mred", b"2")
    write(os.fsencode(f"{root}/tree/not utf-8 ").decode() + "\udcff", b"3")
    write(f"{root}/tree/UPPER", b"4")
    write(f"{root}/tree/upper", b"5")
    write(f"{root}/tree/.hidden", b"6")
    write(f"{root}/tree/" + "n" * 255, b"7")
    os.mkdir(f"{root}/tree/nothing inside")
    os.symlink("a/b", f"{root}/tree/link")
    os.symlink("../../large", f"{root}/tree/a/b/up")
    os.chmod(f"{root}/tree/large", 0o751)
    os.utime(f"{root}/tree/large", ns=(1, 1_234_567_890_123_456_789))
    os.chmod(f"{root}/tree/a", 0o700)
    with open(f"{root}/tree/sparse", "wb") as file:
        file.truncate(200 << 20)
        file.seek(100 << 20)
        file.write(b"data")
    os.utime(f"{root}/tree/nothing inside", ns=(1, 999_999_999_000_000_000))
    os.utime(f"{root}/tree", ns=(1, 888_888_888_000_000_000))


def test_a_messy_tree_arrives_as_it_is():
    with Transfer() as t:
        messy_tree(t.source)
        sender, receiver = t.run("tree", "--verify")
        expect_equal(t.source, t.target)
        expect(os.stat(f"{t.target}/tree/sparse").st_blocks * 512 < 2 << 20, "the sparse file is not sparse any more")
        expect(receiver.has_line("^" + os.path.join(t.target, "tree") + "$"), receiver.stderr())
        expect(receiver.has_line(r"^received 11 files, .* relay 100%"), receiver.stderr())
        expect(sender.has_line(r"^sent 11 files, .* relay 100%"), sender.stderr())
        checks = [[text for _, text in p.lines if text and text.startswith("Check string")] for p in (sender, receiver)]
        expect(len(checks[0]) == 1 and checks[0] == checks[1], f"check strings were {checks}")
        expect(all("\x1b" not in text for _, text in receiver.lines if text), "an escape reached the screen")


def test_several_things_at_once():
    with Transfer() as t:
        write(f"{t.source}/one.txt", b"1")
        write(f"{t.source}/d/two", b"2")
        t.run("one.txt", "d")
        expect_equal(t.source, t.target)


def test_text():
    with Transfer() as t:
        for args, stdin, expected in ((["hello", "world"], None, b"hello world"), (["--text", "./looks/like.this"], None, b"./looks/like.this"),
                                      (["-"], b"line\x1b[31m\n", b"line\x1b[31m\n"), (["--text", ""], None, b"")):
            with tempfile.TemporaryFile() as file, open(t.world.path("out"), "wb") as out:
                file.write(stdin or b"")
                file.seek(0)
                sender, token = t.send(*args, stdin=file)
                t.receive(token, stdout=out).finish()
                sender.finish()
            got = open(t.world.path("out"), "rb").read()
            expect(got == expected, f"{args} arrived as {got!r}")


def run_on_terminal(t, token, *args, answer=None):
    """`receive` with a terminal on all three; returns (exit status, everything it showed)."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(t.target)
        env = dict(os.environ, TERM="xterm", **t.world.env)
        os.execve(t.world.binary, [t.world.binary, "receive", token, *args], env)
    shown = b""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if not select.select([fd], [], [], 0.2)[0]:
            continue
        try:
            data = os.read(fd, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
        if answer and b"? " in shown[-200:] or answer and b"] " in shown[-200:]:
            os.write(fd, answer.encode() + b"\n")
            answer = None
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    return os.waitstatus_to_exitcode(status), shown


def test_text_is_safe_on_a_terminal():
    need_terminal()
    with Transfer() as t:
        evil = "tab\there \x1b]0;owned\x07 \x9b31m \u202e reversed\nnext"
        sender, token = t.send("--text", evil)
        status, shown = run_on_terminal(t, token)
        sender.finish()
        expect(status == 0 and b"tab\there" in shown and b"\\x1b]0;owned\\x07" in shown, f"{status}: {shown!r}")
        expect(b"\x1b]0;owned" not in shown and "\u202e".encode() not in shown, f"{shown!r}")
        sender, token = t.send("--text", evil)
        status, shown = run_on_terminal(t, token, "--raw")
        sender.finish()
        expect(b"\x1b]0;owned" in shown, f"{shown!r}")


def test_questions_at_a_terminal():
    need_terminal()
    with Transfer() as t:
        write(f"{t.source}/f", b"new")
        write(f"{t.target}/f", b"mine")
        sender, token = t.send("f")
        status, shown = run_on_terminal(t, token, answer="r")
        sender.finish()
        expect(status == 0 and open(f"{t.target}/f (1)", "rb").read() == b"new", f"{status}: {shown!r}")
        sender, token = t.send("f")
        status, shown = run_on_terminal(t, token, answer="q")
        sender.finish(status=3)
        expect(status == 3 and open(f"{t.target}/f", "rb").read() == b"mine", f"{status}: {shown!r}")
        sender, token = t.send("f")
        status, shown = run_on_terminal(t, token, "--ask", answer="n")
        sender.finish(status=3)
        expect(status == 3 and b"you said no" in shown, f"{status}: {shown!r}")
        sender, token = t.send("f")
        status, shown = run_on_terminal(t, token, "--ask", "--overwrite", answer="y")
        sender.finish()
        expect(status == 0 and open(f"{t.target}/f", "rb").read() == b"new", f"{status}: {shown!r}")


def test_what_looks_like_a_path_but_is_none():
    with Transfer() as t:
        for words in (["./nothing"], ["report.pdf"], ["~x"], ["a/b"], ["f", "missing.txt"]):
            write(f"{t.source}/f")
            process = t.world.start("send", *words, cwd=t.source)
            process.finish(10, status=7)
            expect(process.has_line("--text"), process.stderr())


def test_existing_names():
    with Transfer() as t:
        write(f"{t.source}/f", b"new")
        write(f"{t.target}/f", b"mine")
        _, receiver = t.run("f", status=7, sender_status=1)
        expect(receiver.has_line("--overwrite"), receiver.stderr())
        expect(os.listdir(t.target) == ["f"] and open(f"{t.target}/f", "rb").read() == b"mine", "something was lost")
        t.run("f", receive=["--rename"])
        expect(open(f"{t.target}/f (1)", "rb").read() == b"new", "not renamed")
        t.run("f", receive=["--skip"])
        expect(open(f"{t.target}/f", "rb").read() == b"mine", "not skipped")
        t.run("f", receive=["--overwrite"])
        expect(open(f"{t.target}/f", "rb").read() == b"new", "not overwritten")
        t.world.start("receive", "dh1x", "--skip", "--rename").finish(10, status=2)


def test_output():
    with Transfer() as t:
        write(f"{t.source}/f", b"1")
        write(f"{t.source}/g", b"2")
        t.run("f", receive=["-o", "other"])
        expect(open(f"{t.target}/other", "rb").read() == b"1", "not under its new name")
        t.run("f", receive=["-o", "new/"])
        expect(open(f"{t.target}/new/f", "rb").read() == b"1", "not in the new directory")
        t.run("f", "g", receive=["--output", "both"])
        expect(sorted(os.listdir(f"{t.target}/both")) == ["f", "g"], "not both in the new directory")


def test_hidden_names_need_a_yes():
    with Transfer() as t:
        write(f"{t.source}/.profile", b"evil")
        _, receiver = t.run(".profile", status=3, sender_status=3)
        expect(receiver.has_line("--allow-hidden") and os.listdir(t.target) == [], receiver.stderr())
        t.run(".profile", receive=["--allow-hidden"])
        expect_equal(t.source, t.target)


def test_what_cannot_be_sent_is_said():
    with Transfer() as t:
        write(f"{t.source}/d/f")
        write(f"{t.source}/d/skip.o")
        os.mkfifo(f"{t.source}/d/fifo")
        os.symlink("/etc/passwd", f"{t.source}/d/passwd")
        sender, _ = t.run("d", "--exclude", "*.o")
        expect(sender.has_line("d/fifo: a FIFO") and sender.has_line("d/passwd: symlink to /etc/passwd"), sender.stderr())
        expect(sorted(os.listdir(f"{t.target}/d")) == ["f"], f"{os.listdir(t.target + '/d')}")


def test_aliases_and_json():
    with Transfer() as t:
        for i in range(3):
            write(f"{t.source}/d/{i}", b"x" * 1000)
        sender = t.world.start("tx", "--token", "--json", "--derp-server", t.server, "d", cwd=t.source)
        found, _ = sender.wait_line(r'"command":"derphole receive (dh1\w[\w-]*)"')
        receiver = t.world.start("rx", found[1], "--json", cwd=t.target)
        receiver.finish()
        sender.finish()
        done = [e for p in (sender, receiver) for e in events(p) if e["event"] == "done"]
        expect([(e["files"], e["content_bytes"]) for e in done] == [(3, 3000)] * 2, f"{done}")
        placed = [e["path"] for e in events(receiver) if e["event"] == "placed"]
        expect(placed == [f"{t.target}/d"], f"{placed}")
        write(f"{t.source}/f")
        sender, token = t.send("f")
        t.world.start("recv", token, cwd=t.target).finish()
        sender.finish()


def test_two_thousand_small_files():
    with Transfer() as t:
        for i in range(2000):
            write(f"{t.source}/many/{i % 20}/{i}", os.urandom(4096))
        started = time.monotonic()
        _, receiver = t.run("many")
        expect_equal(t.source, t.target)
        return f"transfer and comparison took {time.monotonic() - started:.1f} s"


def test_a_tree_that_changes_while_it_is_sent():
    with Transfer() as t:
        for i in range(6):
            write(f"{t.source}/d/{i}", os.urandom(2 << 20))
        sender, token = t.send("d", "--limit-rate", "4M")
        receiver = t.receive(token, "--json")
        receiver.wait_line('"event":"progress"')
        time.sleep(0.5)
        with open(f"{t.source}/d/5", "ab") as file:
            file.write(b"more")
        receiver.finish(60, status=6)
        sender.finish(60, status=6)
        expect(sorted(os.listdir(f"{t.target}/d")) == ["0", "1", "2", "3", "4"], f"{os.listdir(t.target + '/d')}")
        expect(sender.has_line("d/5: it was (changed|removed)"), sender.stderr())


def test_ctrl_c_keeps_what_arrived():
    with Transfer() as t:
        write(f"{t.source}/f", os.urandom(12 << 20))
        sender, token = t.send("f", "--limit-rate", "4M")
        receiver = t.receive(token)
        time.sleep(2)
        receiver.signal(SIGINT)
        receiver.finish(10, status=130)
        sender.finish(10, status=3)
        expect(receiver.has_line("is kept"), receiver.stderr())
        expect(not os.path.exists(f"{t.target}/f"), "half a file has its final name")
        _, receiver = t.run("f")
        expect(receiver.has_line("of it new"), receiver.stderr())
        expect_equal(t.source, t.target)


def test_killed_at_any_moment():
    """One side is killed, both are run again, until it is through: never a wrong file, at most 4 MiB sent twice."""
    with Transfer() as t:
        rng = random.Random(7)
        sizes = [0, 1, 5000, (3 << 20) + 1, 9 << 20]
        for i in range(60):
            write(f"{t.source}/d/{i % 7}/{i}", rng.randbytes(rng.choice([0, 100, 4096, 70_000])))
        for i, size in enumerate(sizes):
            write(f"{t.source}/d/large/{i}", rng.randbytes(size))
        total = sum(len(v[2]) for v in tree(t.source).values() if v[2] is not None)
        kills, sent, runs, finished = 0, 0, 0, 0
        while kills < KILLS:
            sender, token = t.send("d", "--json", "--limit-rate", "12M")
            receiver = t.receive(token, "--json")
            time.sleep(rng.uniform(0.1, 1.2))
            victim, other = rng.choice([(sender, receiver), (receiver, sender)])
            runs += 1
            if victim.child.poll() is None:
                victim.signal(SIGKILL)
                kills += 1
            victim.finish(10, status=None)
            time.sleep(0.1)
            other.kill()
            other.finish(10, status=None)
            done = [json.loads(text) for _, text in receiver.lines if text and '"event":"progress"' in text]
            sent += done[-1]["bytes"] - done[0]["bytes"] if done else 0
            if os.path.exists(f"{t.target}/d"):
                expect_equal(t.source, t.target)  # whole or not at all
                finished += 1
                subprocess.run(["rm", "-rf", f"{t.target}/d"], check=True)
        t.run("d")
        expect_equal(t.source, t.target)
        expect(os.listdir(t.target) == ["d"], f"left behind: {os.listdir(t.target)}")
        return f"{kills} kills in {runs} runs, {finished} times through, {total} bytes, {sent} sent before the last run"


def test_disk_full_waits_for_space():
    if os.geteuid() != 0:
        return "SKIPPED: needs root for a small file system"
    with Transfer() as t:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", t.target], stderr=subprocess.DEVNULL).returncode != 0:
            return "SKIPPED: cannot mount here"
        try:
            write(f"{t.source}/huge", os.urandom(3 << 20))
            _, receiver = t.run("huge", status=7, sender_status=1)
            expect(receiver.has_line("not enough space"), receiver.stderr())
            write(f"{t.source}/f", os.urandom(1500_000))
            sender, token = t.send("f", "--limit-rate", "500k")
            receiver = t.receive(token)
            while not any(n.startswith(".derphole-part-") for n in os.listdir(t.target)):
                time.sleep(0.01)
            time.sleep(0.3)
            filler = os.open(f"{t.target}/filler", os.O_CREAT | os.O_WRONLY)
            try:
                while os.write(filler, bytes(4096)) > 0:
                    pass
            except OSError:
                pass
            os.close(filler)
            receiver.wait_line("Cannot write: No space", 15)
            sender.wait_line("cannot write at the moment", 5)
            os.remove(f"{t.target}/filler")
            receiver.finish(30)
            sender.finish(30)
            expect(open(f"{t.source}/f", "rb").read() == open(f"{t.target}/f", "rb").read(), "the file arrived changed")
        finally:
            subprocess.run(["umount", "-l", t.target], check=False)


def test_the_wrong_token_is_told_apart():
    with Transfer() as t:
        listener, token = t.world.listen(t.server)
        process = t.receive(token)
        process.finish(10, status=5)
        expect(process.has_line("not for `derphole receive`"), process.stderr())
        write(f"{t.source}/f")
        sender, token = t.send("f")
        process = t.world.start("pipe", token)
        process.finish(10, status=5)
        sender.signal(SIGINT)
        sender.finish(10, status=130)
        process = t.receive(token)
        process.finish(30, status=4)
        expect(process.has_line("derphole send"), process.stderr())


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in list(globals().items()) if name.startswith("test_")]))
