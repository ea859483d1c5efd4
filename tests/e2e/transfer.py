#!/usr/bin/env python3
"""send and receive, the real binaries on loopback. transfer.py BINARY [words that select tests].
DERPHOLE_KILLS: how often a transfer is killed (12); DERPHOLE_SEED: when."""
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

import trees
from kill_loop import KillLoop, OverwriteLoop
from support import Missing, SIGINT, events, expect, need_strace, need_terminal, run_tests
from trees import expect_equal, write

BINARY = sys.argv[1]
KILLS = int(os.environ.get("DERPHOLE_KILLS", "12"))
SEED = int(os.environ.get("DERPHOLE_SEED", "7"))


class Transfer(trees.Transfer):
    def __init__(self):
        super().__init__(BINARY)


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


def run_on_terminal(t, token, *args, answers=(), ahead=""):
    """`receive` with a terminal on all three, and one answer to each question; `ahead` is typed before there is one. Returns (exit
    status, everything it showed)."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(t.target)
        env = dict(os.environ, TERM="xterm", **t.world.env)
        os.execve(t.world.binary, [t.world.binary, "receive", token, *args], env)
    shown = b""
    answers, answered = list(answers), 0
    os.write(fd, ahead.encode())
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
        if answers and re.search(rb"(\? |\] )$", shown[answered:]):
            answered = len(shown)
            os.write(fd, answers.pop(0).encode() + b"\n")
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
        status, shown = run_on_terminal(t, token, answers=["r"])
        sender.finish()
        expect(status == 0 and open(f"{t.target}/f (1)", "rb").read() == b"new", f"{status}: {shown!r}")
        sender, token = t.send("f")
        status, shown = run_on_terminal(t, token, answers=["q"])
        sender.finish(status=3)
        expect(status == 3 and open(f"{t.target}/f", "rb").read() == b"mine", f"{status}: {shown!r}")
        sender, token = t.send("f")
        status, shown = run_on_terminal(t, token, "--ask", answers=["n"])
        sender.finish(status=3)
        expect(status == 3 and b"you said no" in shown, f"{status}: {shown!r}")
        sender, token = t.send("f")
        status, shown = run_on_terminal(t, token, "--ask", "--overwrite", answers=["y"])
        sender.finish()
        expect(status == 0 and open(f"{t.target}/f", "rb").read() == b"new", f"{status}: {shown!r}")


def test_what_was_typed_before_a_question_is_no_answer():
    need_terminal()
    with Transfer() as t:
        write(f"{t.source}/f", b"new")
        write(f"{t.target}/f", b"mine")
        sender, token = t.send("f")
        status, shown = run_on_terminal(t, token, "--ask", ahead="y\no\n", answers=["n"])
        sender.finish(status=3)
        expect(status == 3 and b"you said no" in shown, f"{status}: {shown!r}")
        sender, token = t.send("f")
        status, shown = run_on_terminal(t, token, "--ask", answers=["y\no", "q"])
        sender.finish(status=3)
        expect(status == 3 and b"f exists; nothing was received" in shown, f"{status}: {shown!r}")
        expect(open(f"{t.target}/f", "rb").read() == b"mine", "overwritten unasked")


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
        sender, token = t.send("f", "--json", "--limit-rate", "4M")
        receiver = t.receive(token)
        sender.wait_line('"event":"progress","bytes":[1-9]')
        receiver.signal(SIGINT)
        receiver.finish(10, status=130)
        sender.finish(10, status=3)
        expect(receiver.has_line("is kept"), receiver.stderr())
        expect(not os.path.exists(f"{t.target}/f"), "half a file has its final name")
        _, receiver = t.run("f")
        expect(receiver.has_line("of it new"), receiver.stderr())
        expect_equal(t.source, t.target)


def test_ctrl_c_while_it_looks_through_a_tree():
    need_strace()
    with Transfer() as t:
        for number in range(200):
            os.makedirs(f"{t.source}/tree/{number}")
        slow = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=getdents64", "-e", "inject=getdents64:delay_enter=100000")
        sender = t.world.start("send", "--token", "--relay", "self", f"{t.source}/tree", prefix=slow)
        sender.wait_line("Still looking through")
        subprocess.run(["pkill", "-INT", "-P", str(sender.child.pid)], check=True)
        sender.finish(10, status=130)
        expect(not sender.has_line("derphole receive"), "a token was offered after Ctrl-C")


def test_killed_at_any_moment():
    """A dozen of what `./dev lab kills` does: never a wrong file, at most 4 MiB sent twice."""
    with KillLoop(BINARY, SEED, large=16 << 20, small=100, measured=0.3) as loop:
        return f"seed {SEED}: " + loop.run(KILLS)


def test_killed_while_it_overwrites():
    """At every moment each final name holds the whole old file or the whole new one."""
    with OverwriteLoop(BINARY, SEED, large=4 << 20, small=400, measured=0.1) as loop:
        return f"seed {SEED}: " + loop.run((KILLS * 2 + 2) // 3)


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


def folding_disk(t):
    """Mounts a file system that can ignore case at the destination; which, or what is missing."""
    image = t.world.path("image")
    for make, options in ((["mkfs.ext4", "-q", "-O", "casefold"], "loop"), (["mkfs.vfat"], "loop")):
        with open(image, "wb") as file:
            file.truncate(64 << 20)
        if shutil.which(make[0]) is None or subprocess.run([*make, image], capture_output=True, check=False).returncode != 0:
            continue
        if subprocess.run(["mount", "-o", options, image, t.target], capture_output=True, check=False).returncode == 0:
            return make[0]
    raise Missing("no file system here that ignores case")


def test_names_that_a_disk_takes_for_the_same():
    if os.geteuid() != 0:
        return "SKIPPED: needs root to mount"
    with Transfer() as t:
        write(f"{t.source}/d/A", b"large")
        write(f"{t.source}/d/a", b"small")
        kind = folding_disk(t)
        try:
            inside = t.target
            if kind == "mkfs.ext4":
                inside = f"{t.target}/folds"
                os.mkdir(inside)
                subprocess.run(["chattr", "+F", inside], check=True)
            sender, token = t.send("d")
            receiver = t.receive(token, cwd=inside)
            receiver.finish(30, 3)
            sender.finish(30, 3)
            expect(receiver.has_line("differ only in case") and os.listdir(inside) == [], receiver.stderr())
            if kind == "mkfs.ext4":  # only the directory that is merged into ignores case
                os.mkdir(f"{t.target}/d")
                subprocess.run(["chattr", "+F", f"{t.target}/d"], check=True)
                _, receiver = t.run("d", receive=["--overwrite"], status=7, sender_status=1)
                with open(f"{t.target}/d/a", "rb") as file:
                    expect(file.read() == b"large", "one replaced the other")
        finally:
            subprocess.run(["umount", "-l", t.target], check=False)
        return kind


def test_a_text_into_a_file():
    with Transfer() as t:
        for name, flags, status, text in (("note", [], 0, b"one"), ("note", [], 7, b"one"), ("note", ["--overwrite"], 0, b"two"),
                                          ("note", ["--skip"], 0, b"two"), ("note", ["--rename"], 0, b"two")):
            sender, token = t.send("--text", "one" if not flags and status == 0 else "two")
            receiver = t.receive(token, "-o", name, *flags)
            receiver.finish(30, status)
            sender.finish(30, 0 if status == 0 else 1)
            with open(f"{t.target}/{name}", "rb") as file:
                expect(file.read() == text, f"{flags}: not {text}")
        expect(sorted(os.listdir(t.target)) == ["note", "note (1)"], f"{os.listdir(t.target)}")


def test_a_text_into_a_directory():
    with Transfer() as t:
        os.mkdir(f"{t.target}/there")
        text = "text"  # what the sender calls it
        for number, (args, status, name, content) in enumerate((
                (["there"], 0, f"there/{text}", b"0"), (["there"], 7, f"there/{text}", b"0"),
                (["there/", "--overwrite"], 0, f"there/{text}", b"2"), (["there", "--rename"], 0, f"there/{text} (1)", b"3"),
                (["there", "--skip"], 0, f"there/{text}", b"2"), (["new/"], 0, f"new/{text}", b"5"),
                (["no/such/"], 7, None, None), (["no/such/place"], 7, None, None))):
            sender, token = t.send("--text", str(number))
            receiver = t.receive(token, "--json", "-o", *args)
            receiver.finish(30, status)
            sender.finish(30, 0 if status == 0 else 1)
            happened = [e["event"] for e in events(receiver)]
            expect(("accepted" in happened) == (status == 0), f"{args}: {happened}")
            placed = [e["path"] for e in events(receiver) if e["event"] == "placed"]
            expect(placed == ([f"{t.target}/{name}"] if status == 0 and "--skip" not in args else []), f"{args}: {placed}")
            if name:
                with open(f"{t.target}/{name}", "rb") as file:
                    expect(file.read() == content, f"{args}: not {content}")
        os.mkdir(f"{t.target}/taken")
        os.mkdir(f"{t.target}/taken/{text}")
        sender, token = t.send("--text", "x")
        receiver = t.receive(token, "--json", "-o", "taken", "--overwrite")
        receiver.finish(30, 7)
        sender.finish(30, 1)
        expect("accepted" not in [e["event"] for e in events(receiver)], receiver.stderr())


def test_a_text_into_a_directory_asks_about_the_file():
    need_terminal()
    with Transfer() as t:
        write(f"{t.target}/there/text", b"mine")
        sender, token = t.send("--text", "new")
        status, shown = run_on_terminal(t, token, "-o", "there", answers=["r"])
        sender.finish()
        expect(status == 0 and b"there/text exists." in shown, f"{status}: {shown!r}")
        expect(f"{t.target}/there/text (1)".encode() in shown, f"{shown!r}")
        expect(open(f"{t.target}/there/text (1)", "rb").read() == b"new", "not renamed")
        expect(open(f"{t.target}/there/text", "rb").read() == b"mine", "not left alone")


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
