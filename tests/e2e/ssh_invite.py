#!/usr/bin/env python3
"""ssh invite and accept, the real binaries; with a real sshd on loopback when one is here. ssh_invite.py BINARY [words].
Runs in a mount namespace of its own, so that nobody's real ~/.ssh is touched; needs root for that."""
import getpass
import os
import pty
import pwd
import shutil
import stat
import subprocess
import sys
import time

from support import Failure, World, expect, free_port, need_terminal, run_tests

BINARY = sys.argv[1]


class Two:
    """A relay, and two people on one machine. The host's home is the real one (see KeptSsh), the client's a directory."""

    def __init__(self):
        self.world = World(BINARY)
        _, self.server = self.world.relay()
        self.client_home = self.world.path("client")
        os.makedirs(os.path.join(self.client_home, ".ssh"), mode=0o700)
        self.key = os.path.join(self.client_home, ".ssh", "id_ed25519")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada@laptop", "-f", self.key], check=True)

    def invite(self, *args, **kwargs):
        process = self.world.start("ssh", "invite", "--derp-server", self.server, *args, **kwargs)
        found, _ = process.wait_line(r"derphole ssh accept (dh1[\w-]+)")
        return process, found[1]

    def accept(self, token, *args, **kwargs):
        with open(self.world.path("command"), "wb") as stdout:
            return self.world.start("ssh", "accept", token, "--key-file", self.key + ".pub", *args, stdout=stdout,
                                    env={"HOME": self.client_home}, **kwargs)

    def command(self):
        with open(self.world.path("command"), encoding="ascii") as file:
            return file.read().strip()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.world.close()


class KeptSsh:
    """An empty ~/.ssh in the place of the real one, which only this process and its children see."""

    def __init__(self):
        self.folder = os.path.join(pwd.getpwuid(os.getuid()).pw_dir, ".ssh")

    def __enter__(self):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0700", "tmpfs", self.folder], check=True)
        return self

    def keys(self):
        try:
            with open(os.path.join(self.folder, "authorized_keys"), encoding="ascii") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def __exit__(self, *unused):
        subprocess.run(["umount", "--lazy", self.folder], check=True)


def host_key_is_here():
    return any(name.startswith("ssh_host_") and name.endswith(".pub") for name in (os.listdir("/etc/ssh") if
                                                                                os.path.isdir("/etc/ssh") else []))


def what_is_missing():
    if shutil.which("ssh-keygen") is None:
        return "no ssh-keygen"
    return "" if host_key_is_here() else "no ssh host key (openssh-server)"


def test_a_key_is_let_in_and_taken_back():
    with KeptSsh() as kept, Two() as two:
        host, token = two.invite("-y", "--expires", "2h")
        client = two.accept(token, "-y")
        client.finish(30)
        host.finish(30)
        with open(two.key + ".pub", encoding="ascii") as file:
            blob = file.read().split()[1]
        lines = kept.keys().splitlines()
        expect(len(lines) == 1 and blob in lines[0], f"authorized_keys is {lines}")
        expect(lines[0].startswith("restrict,pty,expiry-time="), lines[0])
        mode = stat.S_IMODE(os.stat(os.path.join(kept.folder, "authorized_keys")).st_mode)
        expect(mode == 0o600, f"mode is {mode:o}")
        expect(two.command().startswith("ssh ") and getpass.getuser() + "@" in two.command(), two.command())
        fingerprint = subprocess.run(["ssh-keygen", "-lf", two.key + ".pub"], capture_output=True, text=True,
                                     check=True).stdout.split()[1]
        expect(fingerprint in host.stderr() and fingerprint in client.stderr(), "no fingerprint on a screen")
        expect(os.path.getsize(os.path.join(kept.folder, "known_hosts")) > 0, "no known_hosts")
        two.world.start("ssh", "revoke", "ada@laptop").finish(5)
        expect(kept.keys() == "", f"after revoking: {kept.keys()!r}")
        two.world.start("ssh", "revoke", "ada@laptop").finish(5, 7)


def test_no_means_no():
    with KeptSsh() as kept, Two() as two:
        need_terminal()
        parent, child = pty.openpty()
        host, token = two.invite(stdin=child)
        client = two.accept(token, "-y")
        host.wait_line("Compare the fingerprint")
        os.write(parent, b"n\n")
        client.finish(20, 3)
        host.finish(20, 3)
        expect(kept.keys() == "", "a key was written")


def test_without_a_terminal_nobody_is_let_in_unasked():
    with KeptSsh(), Two() as two:
        host = two.world.start("ssh", "invite", "--derp-server", two.server)
        host.finish(10, 2)


def test_the_same_key_twice_changes_nothing():
    with KeptSsh() as kept, Two() as two:
        for _ in range(2):
            host, token = two.invite("-y")
            two.accept(token, "-y").finish(30)
            host.finish(30)
        expect(len(kept.keys().splitlines()) == 1, kept.keys())


def test_the_agents_key_is_taken():
    with KeptSsh() as kept, Two() as two:
        sock, key = two.world.path("agent"), two.world.path("agent_key")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "an odd; comment", "-f", key], check=True)
        agent = two.world.start_other(["ssh-agent", "-D", "-a", sock])
        while not os.path.exists(sock):
            expect(agent.child.poll() is None, f"ssh-agent ended: {agent.stderr()}")
            time.sleep(0.02)
        subprocess.run(["ssh-add", "-q", key], env={**os.environ, "SSH_AUTH_SOCK": sock}, check=True, capture_output=True)
        os.remove(key)
        host, token = two.invite("-y")
        with open(two.world.path("command"), "wb") as stdout:
            two.world.start("ssh", "accept", token, "-y", stdout=stdout, env={"SSH_AUTH_SOCK": sock}).finish(30)
        host.finish(30)
        with open(key + ".pub", encoding="ascii") as file:
            blob = file.read().split()[1]
        expect(blob in kept.keys() and "odd" not in kept.keys(), kept.keys())


def test_restrict_takes_the_terminal_away():
    with KeptSsh() as kept, Two() as two:
        host, token = two.invite("-y", "--restrict")
        two.accept(token, "-y").finish(30)
        host.finish(30)
        expect(kept.keys().startswith("restrict,expiry-time="), kept.keys())
        two.world.start("ssh", "revoke", "all").finish(5)
        expect(kept.keys() == "", kept.keys())


def test_root_lets_somebody_in_as_another_user():
    if os.getuid() != 0:
        return "SKIPPED: needs root"
    with KeptSsh(), Two() as two:
        home, users = two.world.path("grace"), two.world.path("passwd")
        os.mkdir(home, 0o755)
        os.chown(home, 4711, 4711)
        with open("/etc/passwd", encoding="utf-8") as old, open(users, "w", encoding="utf-8") as new:
            new.write(old.read() + f"grace:x:4711:4711::{home}:/bin/sh\n")
        subprocess.run(["mount", "--bind", users, "/etc/passwd"], check=True)  # of this test's mounts only
        try:
            host, token = two.invite("-y", "--user", "grace")
            two.accept(token, "-y").finish(30)
            host.finish(30)
            expect("grace@" in two.command(), two.command())
            for name, mode in (("", 0o700), ("/authorized_keys", 0o600)):
                info = os.stat(f"{home}/.ssh{name}")
                expect((info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (4711, 4711, mode), f"{name}: {info}")
            two.world.start("ssh", "revoke", "--user", "grace", "all").finish(5)
            expect(os.path.getsize(f"{home}/.ssh/authorized_keys") == 0, "not revoked")
            os.rename(f"{home}/.ssh", f"{home}/elsewhere")
            os.symlink("elsewhere", f"{home}/.ssh")
            host, token = two.invite("-y", "--user", "grace")
            two.accept(token, "-y").finish(30, None)
            host.finish(30, 7)
            expect(os.path.getsize(f"{home}/elsewhere/authorized_keys") == 0, "written through a link")
        finally:
            subprocess.run(["umount", "/etc/passwd"], check=True)
    return ""


def test_a_token_of_another_command():
    with Two() as two:
        _, token = two.world.listen(two.server)
        two.accept(token, "-y").finish(10, 5)


def test_sshd_lets_the_key_in_until_it_is_revoked():
    sshd = shutil.which("sshd") or "/usr/sbin/sshd"
    if os.getuid() != 0 or not os.path.exists(sshd):
        return "SKIPPED: needs root and openssh-server"
    with KeptSsh(), Two() as two:
        port = free_port()
        config = two.world.path("sshd_config")
        with open(config, "w", encoding="ascii") as file:
            file.write(f"Port {port}\nListenAddress 127.0.0.1\nPidFile none\nUsePAM no\nPermitRootLogin yes\n"
                       "PasswordAuthentication no\nKbdInteractiveAuthentication no\n")
            for name in sorted(os.listdir("/etc/ssh")):
                if name.startswith("ssh_host_") and name.endswith("_key"):
                    file.write(f"HostKey /etc/ssh/{name}\n")
        os.makedirs("/run/sshd", exist_ok=True)
        two.world.start_other([sshd, "-D", "-e", "-f", config])
        host, token = two.invite("-y", "--port", str(port))
        two.accept(token, "-y").finish(30)
        host.finish(30)

        def login():
            return subprocess.run(["ssh", "-i", two.key, "-p", str(port), "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes",
                                   "-o", "UserKnownHostsFile=/dev/null", f"{getpass.getuser()}@127.0.0.1", "echo", "inside"],
                                  capture_output=True, text=True, check=False, timeout=20)
        first = login()
        expect(first.stdout.strip() == "inside", f"sshd said no: {first.stderr}")
        two.world.start("ssh", "revoke", "all").finish(5)
        expect(login().returncode != 0, "sshd still lets the key in")


def in_a_namespace_of_our_own():
    """Starts this script once more where mounts are its own; what it needs for that may be missing: then says so."""
    unshare = ["unshare", "--mount", "--propagation", "private"]
    folder = os.path.join(pwd.getpwuid(os.getuid()).pw_dir, ".ssh")
    probe = ["sh", "-c", 'mount -t tmpfs tmpfs "$1"', "sh", folder]
    made = not os.path.isdir(folder)
    if os.getuid() == 0 and made:
        os.mkdir(folder, 0o700)
    try:
        if os.getuid() != 0 or subprocess.run([*unshare, *probe], capture_output=True, check=False).returncode != 0:
            print("SKIPPED ssh invite tests: they need root and a kernel or container that allows mount namespaces")
            return 0
        return subprocess.run([*unshare, sys.executable, *sys.argv], env={**os.environ, "DERPHOLE_OWN_MOUNTS": "1"},
                              check=False).returncode
    finally:
        if os.getuid() == 0 and made:
            os.rmdir(folder)


if __name__ == "__main__":
    if "DERPHOLE_OWN_MOUNTS" not in os.environ:
        sys.exit(in_a_namespace_of_our_own())
    if reason := what_is_missing():
        print(f"SKIPPED ssh invite tests: {reason} here")
        sys.exit(0)
    try:
        sys.exit(run_tests([f for name, f in list(globals().items()) if name.startswith("test_")]))
    except Failure as failure:
        sys.exit(str(failure))
