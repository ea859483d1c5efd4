"""Tailscale's own prober as the judge of our relay: TLS, STUN, and packets between two clients, on loopback."""
import json
import os
import re
import subprocess

from support import expect, free_port


def check(World, binary, derpprobe):
    with World(binary) as world:
        port, stun = free_port(), free_port()
        # The prober checks the certificate for the host's name with system roots only, so it gets a root of our own.
        key, cert = world.path("key.pem"), world.path("cert.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", key, "-out", cert, "-days", "60", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
        relay = world.start("relay", "--listen", f"127.0.0.1:{port}", "--listen", f"[::1]:{port}", "--stun",
                            f"127.0.0.1:{stun},[::1]:{stun}", "--cert", cert, "--key", key, "--hostname", "localhost")
        relay.wait_line(r"--derp-server '(\S+)'")
        node = {"Name": "900a", "RegionID": 900, "HostName": "localhost", "IPv4": "127.0.0.1", "IPv6": "::1",
                "DERPPort": port, "STUNPort": stun}
        path = world.path("map.json")
        with open(path, "w", encoding="ascii") as file:
            json.dump({"Regions": {"900": {"RegionID": 900, "RegionCode": "own", "RegionName": "own", "Nodes": [node]}}}, file)
        env = dict(os.environ, SSL_CERT_FILE=cert, SSL_CERT_DIR=world.dir, HOME=world.dir)
        done = subprocess.run([derpprobe, "-once", "-spread=false", "-derp-map", f"file://{path}", "-bw-interval=1s",
                               "-bw-probe-size-bytes=1000000"], env=env, cwd=world.dir, capture_output=True, text=True, timeout=90)
        out = done.stdout + done.stderr
        good = sorted(set(re.findall(r"good: ([\w/.-]+)", out)))
        bad = re.findall(r"bad: .*", out)
        expect(done.returncode == 0 and not bad, f"derpprobe complains: {bad or out[-2000:]}")
        for kind in ("tls", "udp", "mesh", "bw"):
            expect(any(kind in name for name in good), f"derpprobe did no {kind} probe: {good}; {out[-1500:]}")
        return "good: " + ", ".join(good)
