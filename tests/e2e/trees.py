"""Trees of files: making them, comparing them, and sending them between two real processes."""
import os
import stat

from support import Failure, World


def write(path, content=b"x"):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def entry(path):
    """(mode, mtime, content or target) of one thing."""
    info = os.lstat(path)
    content = None
    if stat.S_ISLNK(info.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(info.st_mode):
        with open(path, "rb") as file:
            content = file.read()
    return info.st_mode, info.st_mtime_ns, content


def tree(root):
    """Everything below a directory as {path: entry()}; staging directories left out."""
    out = {}
    for base, directories, files in os.walk(root):
        directories[:] = [d for d in directories if not d.startswith(".derphole-part-")]
        for name in directories + files:
            path = os.path.join(base, name)
            out[os.path.relpath(path, root)] = entry(path)
    return out


def expect_equal(a, b):
    ours, theirs = (t if isinstance(t, dict) else tree(t) for t in (a, b))
    if ours == theirs:
        return
    wrong = sorted(k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k))
    shown = [(k, *(tuple(t[k][:2]) if k in t else None for t in (ours, theirs))) for k in wrong[:5]]
    raise Failure(f"{len(wrong)} entries differ: {shown}")


def older_tree(source, target, rng):
    """Most of `source` as it was before: other content, a link for a file, a file for a link, fewer names, and some that only the
    destination has. "locked" is missing: only root may put anything into it."""
    for path, (mode, _, _) in sorted(tree(source).items()):
        there = os.path.join(target, path)
        if path.startswith("locked") or path == "many/nowhere" or rng.random() < 0.2 or not os.path.isdir(os.path.dirname(there)):
            continue
        if stat.S_ISDIR(mode):
            os.makedirs(there, exist_ok=True)
        elif path == "sizes/deep/er/0":
            os.symlink("was/a/link", there)
        else:
            write(there, b"older " + rng.randbytes(rng.choice([0, 10, 5000, 100_000])))
    for path in ("mine", "many/mine", "sizes/mine/too"):
        write(f"{target}/{path}", b"stays")


def expect_merged(old, new, target):
    """After `--overwrite`: the new things, and what only the destination had; a directory that was there keeps its own mode, and the
    time of its last change."""
    now = tree(target)
    merged = {path for path, found in old.items() if path in new and stat.S_ISDIR(found[0])}
    expected = old | {path: found for path, found in new.items() if path not in merged}
    expect_equal(expected, {path: expected[path] if path in old and stat.S_ISDIR(found[0]) else found for path, found in now.items()})


def expect_old_or_new(old, new, target, when):
    """In the middle of `--overwrite`: each name has what it had or what it gets, whole. Whether there are both kinds."""
    now = tree(target)
    lost = sorted(old.keys() - now.keys())
    if lost:
        raise Failure(f"{when} {len(lost)} are gone: {lost[:5]}")
    kinds = set()
    for path, found in now.items():
        states = [state for state in (old.get(path), new.get(path)) if state and (state[0] >> 12, state[2]) == (found[0] >> 12, found[2])]
        if not states:
            raise Failure(f"{when} {path} is neither the old one nor the new one")
        if len(states) == 1 and path in old and path in new:
            kinds.add(states[0] is old[path])
    return len(kinds) == 2


class Transfer:
    """A relay, a source directory and a destination directory."""

    def __init__(self, binary):
        self.world = World(binary)
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
