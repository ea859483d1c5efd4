"""One listen/pipe transfer in the lab, fed at a steady rate, watched from both ends and never waited for without a limit."""
import hashlib
import os
import subprocess
import threading
import time

from natlab import Failure

PATIENCE = 60  # seconds beyond the feeding: then the session hangs, and is killed


class Transfer:
    """Feeds `seconds` of `rate` bytes/s from `sender` to `listener`; `actions` are (when, callable); nothing in `idle`."""

    def __init__(self, lab, seconds, rate, actions=(), listener="a1", sender="b1", idle=(0, 0)):
        self.gaps = [(0.0, 0.0)]
        self.received = hashlib.sha256()
        self.bytes = 0
        self.trouble = None  # what an action could not do
        self.started = time.monotonic()
        sink, token = lab.listen(listener, stdout=subprocess.PIPE)
        self.listener = sink
        reader = threading.Thread(target=self._drain, daemon=True)
        reader.start()
        self.started = time.monotonic()
        self.sender = lab.start(sender, ["pipe", "--verbose", token], stdin=subprocess.PIPE)
        actor = threading.Thread(target=self._act, args=(actions,), daemon=True)
        actor.start()
        watchdog = threading.Timer(seconds + PATIENCE, self._kill)
        watchdog.daemon = True  # a signal that ends us does not wait for it
        watchdog.start()
        sent = self._feed(seconds, rate, idle)
        self.status = self.sender.child.wait(), sink.child.wait()
        watchdog.cancel()
        reader.join()
        actor.join()
        self.sender.reader.join()
        if self.trouble:
            raise self.trouble
        self.whole = self.status == (0, 0) and sent.digest() == self.received.digest()

    def _feed(self, seconds, rate, idle):
        sent = hashlib.sha256()
        try:
            while time.monotonic() - self.started < seconds:
                if idle[0] <= time.monotonic() - self.started < idle[1]:
                    time.sleep(0.01)
                    continue
                chunk = os.urandom(max(1, rate // 100))
                sent.update(chunk)
                self.sender.child.stdin.write(chunk)
                self.sender.child.stdin.flush()
                time.sleep(0.01)
            self.sender.child.stdin.close()
        except BrokenPipeError:  # it ended too early: its exit status tells
            pass
        return sent

    def _drain(self):
        last = None
        while data := self.listener.child.stdout.read1(1 << 16):
            at = time.monotonic()
            if last is not None:
                self.gaps.append((at - last, last - self.started))
            last = at
            self.bytes += len(data)
            self.received.update(data)

    def _act(self, actions):
        for when, what in actions:
            time.sleep(max(0.0, self.started + when - time.monotonic()))
            try:
                what()
            except Failure as failure:
                self.trouble = failure
                return

    def _kill(self):
        for process in (self.sender, self.listener):
            process.child.kill()

    @property
    def words(self):
        """connected-relay and connected-direct, in the order they came."""
        return [text for _, text in self.sender.lines if text.startswith("connected-")]

    @property
    def ending(self):
        return self.words[-1].removeprefix("connected-") if self.words else "nothing"

    @property
    def share(self):
        return self.sender.lines[-1][1].rsplit("/s, ", 1)[-1] if self.sender.lines else ""

    def seconds_to_direct(self):
        claimed, direct = self.sender.first("^claimed$"), self.sender.first("^connected-direct$")
        return direct - claimed if direct and claimed else None

    def tell(self):
        """What the sender said, for a failure's report."""
        for at, text in self.sender.lines:
            print(f"       {at - self.started:6.2f} {text}")
