"""What a power cut can leave of the system calls of one process. The calls come from strace; a model of the disk knows which of them a
later fsync, fdatasync or syncfs has made durable. crash() keeps those, drops or keeps the others, and loses pages of data."""
import os
import re
import stat
import zlib

PAGE = 4096
CALLS = ("open,openat,openat2,dup,fcntl,close,mkdir,mkdirat,write,pwrite64,ftruncate,fsync,fdatasync,syncfs,sync_file_range,rename,"
         "renameat,renameat2,unlink,unlinkat,symlinkat,linkat,fchmod,fchmodat,chmod,utimensat,newfstatat,copy_file_range,fallocate")
STRACE = ["strace", "-f", "-v", "-xx", "-s", "16000000", "-e", "trace=" + CALLS, "-e", "signal=none"]
LINE = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+|\?)(.*)$", re.S)
STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


class Inode:
    def __init__(self, kind, mode):
        self.kind, self.mode, self.mtime = kind, mode, None
        self.target = None
        self.numbers = set()  # what stat said


class Op:
    """One change. `dirs`: directories whose entries it changes; `inode`: whose data or attributes it changes."""

    def __init__(self, name, dirs=(), inode=None, **what):
        self.name, self.dirs, self.inode, self.what = name, dirs, inode, what


class Sync:
    def __init__(self, inode):
        self.inode = inode  # None: everything


def text(argument):
    return bytes.fromhex(STRING.search(argument)[1].replace("\\x", ""))


def split(arguments):
    """At the commas outside of strings, structures and brackets."""
    out, depth, start, i = [], 0, 0, 0
    while i < len(arguments):
        c = arguments[i]
        if c == '"':
            i = arguments.index('"', i + 1)
        elif c in "{[(":
            depth += 1
        elif c in "}])":
            depth -= 1
        elif c == "," and depth == 0:
            out.append(arguments[start:i].strip())
            start = i + 1
        i += 1
    out.append(arguments[start:].strip())
    return out


def lines_of(path):
    """The trace's calls, put together where another thread came between."""
    waiting = {}
    with open(path, encoding="ascii") as file:
        for line in file:
            pid = line.split(" ", 1)[0]
            if line.rstrip().endswith("<unfinished ...>"):
                waiting[pid] = line.rstrip()[:-len("<unfinished ...>")]
            elif "resumed>" in line[:60 + len(pid)]:
                yield waiting.pop(pid, "") + line.split("resumed>", 1)[1].rstrip()
            else:
                yield line.rstrip()


class Disk:
    """The root directory is what the process had as its working directory; nothing outside of it exists."""

    def __init__(self, root):
        self.ops, self.fds, self.entries = [], {}, {}  # entries: directory -> {name: inode}, as the process sees them
        self.start = []
        self.root = self.load(root)
        self.offsets = {}

    def load(self, path):
        """What is there already is durable."""
        info = os.lstat(path)
        inode = Inode(stat.S_IFMT(info.st_mode), stat.S_IMODE(info.st_mode))
        inode.mtime = info.st_mtime_ns
        inode.numbers.add(info.st_ino)
        if stat.S_ISLNK(info.st_mode):
            inode.target = os.readlink(os.fsencode(path))
        elif stat.S_ISREG(info.st_mode):
            with open(path, "rb") as file:
                inode.data = file.read()
        else:
            self.entries[inode] = {}
            for name in os.listdir(path):
                self.entries[inode][os.fsencode(name)] = self.load(os.path.join(path, name))
            self.start.append((inode, dict(self.entries[inode])))
        return inode

    # Reading the trace.
    def read(self, trace):
        for line in lines_of(trace):
            found = LINE.match(line)
            if found and (found[4] != "?" and int(found[4]) >= 0):
                self.call(found[2], split(found[3]), int(found[4]))
        return self

    def directory(self, argument):
        return self.root if argument.startswith("AT_FDCWD") else self.fds.get(int(argument))

    def find(self, directory, name):
        """(directory, last component) of a name, or None outside of the root."""
        parts = [p for p in name.split(b"/") if p not in (b"", b".")]
        if directory is None or name.startswith(b"/") or b".." in parts:
            return None
        for part in parts[:-1]:
            directory = self.entries.get(directory, {}).get(part)
        return (directory, parts[-1] if parts else None) if directory in self.entries else None

    def call(self, name, a, result):
        method = getattr(self, "on_" + name, None)
        if method:
            method(a, result)

    def on_openat(self, a, fd):
        self.opened(self.find(self.directory(a[0]), text(a[1])), a[2], int(a[3], 8) if len(a) > 3 else 0, fd)

    def on_openat2(self, a, fd):
        mode = re.search(r"mode=0?(\d+)", a[2])
        self.opened(self.find(self.directory(a[0]), text(a[1])), a[2], int(mode[1], 8) if mode else 0, fd)

    def opened(self, place, flags, mode, fd):
        self.fds.pop(fd, None)
        if place is None:
            return
        directory, name = place
        inode = directory if name is None else self.entries[directory].get(name)
        if inode is None:
            inode = Inode(stat.S_IFREG, mode & ~UMASK)
            self.change(Op("link", (directory,), inode=inode, directory=directory, entry=name))
        elif "O_TRUNC" in flags:
            self.ops.append(Op("truncate", inode=inode, size=0))
        self.fds[fd] = inode
        self.offsets[fd] = 0

    def on_close(self, a, _):
        self.fds.pop(int(a[0]), None)

    def on_dup(self, a, fd):
        if int(a[0]) in self.fds:
            self.fds[fd] = self.fds[int(a[0])]

    def on_fcntl(self, a, fd):
        if "DUPFD" in a[1]:
            self.on_dup(a, fd)

    def change(self, op):
        """A change of directories: also in what the process sees."""
        self.ops.append(op)
        apply(op, self.entries)

    def on_mkdirat(self, a, _):
        if place := self.find(self.directory(a[0]), text(a[1])):
            inode = Inode(stat.S_IFDIR, int(a[2], 8) & ~UMASK)
            self.entries[inode] = {}
            self.change(Op("link", (place[0],), inode=inode, directory=place[0], entry=place[1]))

    def on_symlinkat(self, a, _):
        if place := self.find(self.directory(a[1]), text(a[2])):
            inode = Inode(stat.S_IFLNK, 0o777)
            inode.target = text(a[0])
            self.change(Op("link", (place[0],), inode=inode, directory=place[0], entry=place[1]))

    def on_unlinkat(self, a, _):
        if place := self.find(self.directory(a[0]), text(a[1])):
            self.change(Op("unlink", (place[0],), directory=place[0], entry=place[1]))

    def on_renameat(self, a, _):
        old, new = self.find(self.directory(a[0]), text(a[1])), self.find(self.directory(a[2]), text(a[3]))
        if old and new:
            self.change(Op("rename", tuple({old[0], new[0]}), old=old, new=new, moved=self.entries[old[0]][old[1]]))

    on_renameat2 = on_renameat

    def on_linkat(self, *_):
        raise NotImplementedError("hard links are not part of the model")

    def on_pwrite64(self, a, size):
        if inode := self.fds.get(int(a[0])):
            self.ops.append(Op("write", inode=inode, at=int(a[3]), data=text(a[1])[:size]))

    def on_write(self, a, size):
        fd = int(a[0])
        if inode := self.fds.get(fd):
            self.ops.append(Op("write", inode=inode, at=self.offsets[fd], data=text(a[1])[:size]))
            self.offsets[fd] += size

    def on_ftruncate(self, a, _):
        if inode := self.fds.get(int(a[0])):
            self.ops.append(Op("truncate", inode=inode, size=int(a[1])))

    def on_fchmod(self, a, _):
        if inode := self.fds.get(int(a[0])):
            self.ops.append(Op("mode", inode=inode, mode=int(a[1], 8)))

    def on_fchmodat(self, a, _):
        if place := self.find(self.directory(a[0]), text(a[1])):
            self.ops.append(Op("mode", inode=self.entries[place[0]][place[1]], mode=int(a[2], 8)))

    def on_utimensat(self, a, _):
        inode = None
        if a[1] == "NULL":
            inode = self.fds.get(int(a[0]))
        elif place := self.find(self.directory(a[0]), text(a[1])):
            inode = self.entries[place[0]].get(place[1])
        last = re.findall(r"\{[^}]*\}", a[2])[-1]
        found = re.search(r"tv_sec=(-?\d+).*?tv_nsec=(\d+)", last)
        if inode and found:
            self.ops.append(Op("mtime", inode=inode, ns=int(found[1]) * 1_000_000_000 + int(found[2])))

    def on_newfstatat(self, a, _):
        place = self.find(self.directory(a[0]), text(a[1]))
        if place and place[1] and (number := re.search(r"st_ino=(\d+)", a[2])):
            if inode := self.entries[place[0]].get(place[1]):
                inode.numbers.add(int(number[1]))

    def on_fsync(self, a, _):
        if inode := self.fds.get(int(a[0])):
            self.ops.append(Sync(inode))

    on_fdatasync = on_fsync

    def on_syncfs(self, *_):
        self.ops.append(Sync(None))

    # What a power cut leaves.
    def crash(self, when, rng):
        """The state after the first `when` operations and a power cut, as (entries, inodes' data and attributes)."""
        ops = self.ops[:when]
        keep = self.durable(ops)
        style = rng.choice(["nothing more", "a prefix", "any subset", "any subset", "everything"])
        until = rng.randrange(len(ops) + 1)
        chance = rng.choice([0.1, 0.5, 0.9])
        lost = set()  # directories from which something was dropped: what comes later in them is lost too
        for i, op in enumerate(ops):
            if isinstance(op, Sync) or op in keep:
                continue
            wanted = {"nothing more": False, "a prefix": i < until, "everything": True}.get(style, rng.random() < chance)
            if op.dirs and any(d in lost for d in op.dirs):
                wanted = False
            if wanted:
                keep.add(op)
            else:
                lost.update(op.dirs)
        return self.replay(ops, keep, rng, chance)

    @staticmethod
    def durable(ops):
        """What syncs have made so, and whatever came before it in the same directories."""
        keep = set()
        pending = []
        for op in ops:
            if not isinstance(op, Sync):
                pending.append(op)
                continue
            dirs = {op.inode}
            forced = {p for p in pending if op.inode is None or p.inode is op.inode and not p.dirs or op.inode in p.dirs}
            for p in reversed(pending):  # a rename is one change of two directories
                if p in forced or any(d in dirs for d in p.dirs):
                    dirs.update(p.dirs)
                    keep.add(p)
            pending = [p for p in pending if p not in keep]
        return keep

    def replay(self, ops, keep, rng, chance):
        entries = {inode: dict(names) for inode, names in self.start}
        files = {}
        durable = self.durable(ops)
        for op in ops:
            if isinstance(op, Sync):
                continue
            if op.dirs:
                if op in keep:
                    apply(op, entries)
                continue
            data, attributes = files.setdefault(op.inode, (bytearray(getattr(op.inode, "data", b"")), {}))
            if op.name == "write":
                write(data, op, None if op in durable else rng, chance, op in keep)
            elif op in keep and op.name == "truncate":
                del data[op.what["size"]:]
                data.extend(bytes(op.what["size"] - len(data)))
            elif op in keep:
                attributes.update(op.what)
        return entries, files

    def materialize(self, state, path):
        """Makes that state in an empty directory; inode numbers in the journal become the new ones."""
        entries, files = state
        numbers, journals = {}, []

        def make(inode, at):
            data, attributes = files.get(inode, (getattr(inode, "data", b""), {}))
            if inode.kind == stat.S_IFLNK:
                os.symlink(inode.target, at)
            elif inode.kind == stat.S_IFREG:
                with open(at, "wb") as file:
                    file.write(data)
            else:
                if inode is not self.root:
                    os.mkdir(at)
                for name, child in entries.get(inode, {}).items():
                    make(child, os.path.join(at, name))
            if inode.kind != stat.S_IFLNK:
                os.chmod(at, attributes.get("mode", inode.mode))
            if (mtime := attributes.get("ns", inode.mtime)) is not None:
                os.utime(at, ns=(mtime, mtime), follow_symlinks=False)
            info = os.lstat(at)
            numbers.update((old, (info.st_dev, info.st_ino)) for old in inode.numbers)
            if os.path.basename(at) == b"journal":
                journals.append(at)
        make(self.root, os.fsencode(path))
        for journal in journals:
            renumber(journal, numbers)


UMASK = os.umask(0o022)
os.umask(UMASK)


def apply(op, entries):
    if op.name == "link":
        entries.setdefault(op.what["directory"], {})[op.what["entry"]] = op.inode
    elif op.name == "unlink":
        entries.get(op.what["directory"], {}).pop(op.what["entry"], None)
    elif op.name == "rename":
        (old, old_name), (new, new_name) = op.what["old"], op.what["new"]
        entries.get(old, {}).pop(old_name, None)
        entries.setdefault(new, {})[new_name] = op.what["moved"]


def write(data, op, rng, chance, kept):
    """Page by page; `rng`: not durable, so each page may be lost, and leaves zeros or the end of the file where it was."""
    at, new = op.what["at"], op.what["data"]
    end = at + len(new)
    while at < end:
        size = min(PAGE - at % PAGE, end - at)
        if rng is None or (kept and rng.random() < max(chance, 0.5)):
            if len(data) < at + size:
                data.extend(bytes(at + size - len(data)))
            data[at:at + size] = new[len(new) - (end - at):][:size]
        at += size
    if rng is not None and kept and rng.random() < 0.5 and len(data) < end:
        data.extend(bytes(end - len(data)))


def renumber(path, numbers):
    """P records of a journal name device and inode."""
    head = b"derphole journal 1\n"
    with open(path, "r+b") as file:
        text_ = bytearray(file.read())
        for at in range(len(head), len(text_) - 20, 21):
            body = text_[at:at + 17]
            if body[:1] == b"P" and zlib.crc32(body) == int.from_bytes(text_[at + 17:at + 21], "big"):
                new = numbers.get(int.from_bytes(body[9:17], "big"), (0, 0))
                body[1:9], body[9:17] = new[0].to_bytes(8, "big"), new[1].to_bytes(8, "big")
                text_[at:at + 21] = body + zlib.crc32(body).to_bytes(4, "big")
        file.seek(0)
        file.write(text_)
