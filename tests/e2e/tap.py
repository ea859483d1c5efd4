#!/usr/bin/env python3
"""A TCP forwarder that keeps a copy of everything: tap.py LISTEN_PORT TARGET_PORT FILE. Stands where a relay's eyes are."""
import socket
import sys
import threading


def pump(source, target, out, lock):
    try:
        while data := source.recv(65536):
            with lock:
                out.write(data)
                out.flush()
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def main():
    listen, target, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    lock = threading.Lock()
    with socket.create_server(("127.0.0.1", listen)) as server, open(path, "wb") as out:
        print("ready", file=sys.stderr, flush=True)
        while True:
            client, _ = server.accept()
            upstream = socket.create_connection(("127.0.0.1", target))
            threading.Thread(target=pump, args=(client, upstream, out, lock), daemon=True).start()
            threading.Thread(target=pump, args=(upstream, client, out, lock), daemon=True).start()


if __name__ == "__main__":
    main()
