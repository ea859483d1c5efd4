"""What the end-to-end tests share: starting real binaries, waiting for what they print, comparing what arrived."""
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback


class Failure(Exception):
    """One sentence: what was expected and what happened."""


class Missing(Exception):
    """What this test needs is not here; one clause."""


def need_terminal():
    """Chroots often have no pseudo-terminals."""
    try:
        for end in os.openpty():
            os.close(end)
    except OSError as error:
        raise Missing(f"no pseudo-terminals here ({error.strerror})") from None


def expect(condition, sentence):
    if not condition:
        raise Failure(sentence)


def free_port():
    """A TCP port that was free a moment ago on both TCP and UDP of loopback."""
    for _ in range(50):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Failure("no free port on loopback")


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def make_file(path, size, marker=None):
    """`size` bytes of random data, or of a repeated marker."""
    with open(path, "wb") as file:
        left = size
        block = (marker * (1 + (1 << 20) // len(marker))) if marker else None
        while left > 0:
            data = block[:min(left, len(block))] if block else os.urandom(min(left, 1 << 20))
            file.write(data)
            left -= len(data)


class Process:
    """A child whose stderr is read line by line in the background."""

    def __init__(self, args, stdin=None, stdout=None, env=None, cwd=None, prefix=()):
        merged = {k: v for k, v in os.environ.items() if not k.startswith("DERPHOLE_") and k.lower() != "https_proxy"}
        merged.update(env or {})
        self.args = args
        self.started = time.monotonic()
        self.has_group = bool(prefix)  # some prefixes become the program, some, as strace, have it as a child
        self.child = subprocess.Popen([*prefix, *args], stdin=stdin if stdin is not None else subprocess.DEVNULL,
                                      stdout=stdout if stdout is not None else subprocess.DEVNULL,
                                      stderr=subprocess.PIPE, env=merged, cwd=cwd, start_new_session=self.has_group)
        self.lines = []
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for raw in self.child.stderr:
            with self.changed:
                self.lines.append((time.monotonic(), raw.decode(errors="replace").rstrip("\r\n")))
                self.changed.notify_all()
        with self.changed:
            self.lines.append((time.monotonic(), None))
            self.changed.notify_all()

    def stderr(self):
        return "\n".join(text for _, text in self.lines if text is not None)

    def wait_line(self, pattern, timeout=30):
        """The first line that matches, as (match, time it came)."""
        deadline = time.monotonic() + timeout
        seen = 0
        with self.changed:
            while True:
                for when, text in self.lines[seen:]:
                    seen += 1
                    if text is None:
                        raise Failure(f"{self.name()} ended before printing /{pattern}/; it said:\n{self.stderr()}")
                    found = re.search(pattern, text)
                    if found:
                        return found, when
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Failure(f"{self.name()} did not print /{pattern}/ in {timeout} s; it said:\n{self.stderr()}")
                self.changed.wait(left)

    def has_line(self, pattern):
        return any(text is not None and re.search(pattern, text) for _, text in list(self.lines))

    def finish(self, timeout=60, status=0):
        """Waits for the end and checks the exit status."""
        try:
            got = self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure(f"{self.name()} did not end in {timeout} s; it said:\n{self.stderr()}") from None
        self.reader.join(5)
        if status is not None:
            expect(got == status, f"{self.name()} ended with {got}, not {status}; it said:\n{self.stderr()}")
        return got

    def name(self):
        return " ".join(os.path.basename(a) if i == 0 else (a if len(a) < 60 else a[:20] + "...")
                        for i, a in enumerate(self.args))

    def signal(self, number):
        self.child.send_signal(number)

    def kill(self):
        if self.child.poll() is None:
            if self.has_group:
                os.killpg(self.child.pid, signal.SIGKILL)
            else:
                self.child.kill()
            self.child.wait()

    def peak_rss_mib(self):
        """Peak resident memory so far, from /proc; only while it runs."""
        with open(f"/proc/{self.child.pid}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmHWM"):
                    return int(line.split()[1]) / 1024
        return 0.0


class World:
    """A scratch directory, the binary, and every process started: all gone at the end."""

    def __init__(self, binary, direct=False):
        """`direct`: sessions may leave the relay; else they stay on it, because the relay is what is tested."""
        self.binary = os.path.abspath(binary)
        self.dir = tempfile.mkdtemp(prefix="derphole-e2e-")
        self.processes = []
        self.env = {"XDG_STATE_HOME": self.path("state"), "XDG_CACHE_HOME": self.path("cache"), "HOME": self.dir}
        if not direct:
            self.env["DERPHOLE_FORCE_RELAY"] = "1"

    def path(self, name):
        return os.path.join(self.dir, name)

    def start(self, *args, **kwargs):
        env = dict(self.env)
        env.update(kwargs.pop("env", {}))
        process = Process([self.binary, *args], env=env, **kwargs)
        self.processes.append(process)
        return process

    def start_other(self, args, **kwargs):
        process = Process(args, **kwargs)
        self.processes.append(process)
        return process

    def relay(self, *args, port=None):
        """Our relay on plain loopback; returns (process, --derp-server value)."""
        port = port or free_port()
        process = self.start("relay", "--plain-http", "--listen", f"127.0.0.1:{port}", "--stun", "off", *args)
        found, _ = process.wait_line(r"--derp-server '(\S+)'")
        return process, found[1]

    def listen(self, server, *args, out="received", **kwargs):
        """Starts `listen` into a file; returns (process, token)."""
        with open(self.path(out), "wb") as stdout:
            servers = [x for s in ([server] if isinstance(server, str) else server or []) for x in ("--derp-server", s)]
            process = self.start("listen", *servers, *args, stdout=stdout, **kwargs)
        if "--json" in args:
            found, _ = process.wait_line(r'"event":"token".*"token":"(dh1\w[\w-]*)"')
        else:
            found, _ = process.wait_line(r"(dh1\w[\w-]{40,})")
        return process, found[1]

    def pipe(self, token, source, *args, **kwargs):
        with open(source, "rb") if isinstance(source, str) else source as stdin:
            return self.start("pipe", token, *args, stdin=stdin, **kwargs)

    def close(self):
        for process in self.processes:
            process.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


def need_strace():
    if shutil.which("strace") is None:
        raise Missing("strace is not installed")
    if subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode != 0:
        raise Missing("strace may not trace here")


def run_tests(tests, argv=None):
    """Runs functions named test_*; prints one line each and the closing count. Exit status for main."""
    only = (argv or sys.argv)[2:]
    passed = failed = skipped = 0
    for test in tests:
        name = test.__name__.removeprefix("test_")
        if only and not any(word in name for word in only):
            continue
        started = time.monotonic()
        try:
            note = test() or ""
            if note.startswith("SKIPPED"):
                skipped += 1
                print(f"skip  {name}: {note}", flush=True)
            else:
                passed += 1
                print(f"ok    {name} ({time.monotonic() - started:.1f} s) {note}", flush=True)
        except Missing as missing:
            skipped += 1
            print(f"skip  {name}: SKIPPED: {missing}", flush=True)
        except (Failure, OSError, subprocess.SubprocessError) as error:
            failed += 1
            print(f"FAIL  {name}: {error}", flush=True)
        except Exception as error:  # the test itself is broken: the others still count
            failed += 1
            print(f"FAIL  {name}: {type(error).__name__}: {error}", flush=True)
            traceback.print_exc()
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed or passed == 0 else 0


def events(process):
    """The --json lines of a process."""
    out = []
    for _, text in process.lines:
        if text and text.startswith("{"):
            out.append(json.loads(text))
    return out


SIGINT, SIGKILL, SIGTERM, SIGSTOP, SIGCONT = (signal.SIGINT, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP,
                                               signal.SIGCONT)
