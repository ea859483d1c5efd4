"""WebSocket (RFC 6455) by hand, as much as an echo needs: the handshake, frames of every length, fragments, ping, close."""
import base64
import hashlib
import os
import socket
import struct

from support import Failure

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Ended(Failure):
    """The bytes are over."""


class WebSocket:
    """One end. Who asked for the connection masks what it sends, as it must."""

    def __init__(self, connection, is_client):
        self.connection, self.is_client = connection, is_client
        self.data = b""

    def _exactly(self, size):
        while len(self.data) < size:
            piece = self.connection.recv(1 << 16)
            if not piece:
                raise Ended("the connection ended where a WebSocket message should have come")
            self.data += piece
        out, self.data = self.data[:size], self.data[size:]
        return out

    def _head(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._exactly(1)
        lines = head.decode().split("\r\n")
        return lines[0], {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}

    @staticmethod
    def _answer_to(key):
        return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()

    def ask(self, host):
        """The client's half of the handshake. True: the server speaks WebSocket."""
        key = base64.b64encode(os.urandom(16)).decode()
        self.connection.sendall((f"GET /echo HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                 f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
        status, fields = self._head()
        return status.split()[1] == "101" and fields.get("sec-websocket-accept") == self._answer_to(key)

    def answer(self):
        _, fields = self._head()
        self.connection.sendall(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                 f"Sec-WebSocket-Accept: {self._answer_to(fields['sec-websocket-key'])}\r\n\r\n").encode())

    def send(self, kind, payload, last=True):
        size = len(payload)
        masked = 0x80 if self.is_client else 0
        head = bytes([(0x80 if last else 0) | kind])
        if size < 126:
            head += bytes([masked | size])
        elif size < 1 << 16:
            head += bytes([masked | 126]) + struct.pack(">H", size)
        else:
            head += bytes([masked | 127]) + struct.pack(">Q", size)
        if self.is_client:
            mask = os.urandom(4)
            head += mask
            payload = self._xor(payload, mask)
        self.connection.sendall(head + payload)

    @staticmethod
    def _xor(payload, mask):
        pad = (mask * (len(payload) // 4 + 1))[:len(payload)]
        return (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(len(payload), "big")

    def receive(self):
        """(kind, payload, whether it was the last fragment)"""
        first, second = self._exactly(2)
        size = second & 0x7f
        if size == 126:
            (size,) = struct.unpack(">H", self._exactly(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self._exactly(8))
        if bool(second & 0x80) == self.is_client:
            raise ValueError("masked by the wrong end")
        mask = self._exactly(4) if second & 0x80 else None
        payload = self._exactly(size)
        return first & 0x0f, self._xor(payload, mask) if mask else payload, bool(first & 0x80)

    def is_over(self):
        """The other end has sent its FIN, and nothing before it."""
        return not self.data and self.connection.recv(1) == b""


def serve_echo(connection):
    """Every fragment comes back as it is, a ping as a pong; after the close frame its answer, then the FIN, then it waits for the other's."""
    end = WebSocket(connection, False)
    end.answer()
    while True:
        kind, payload, last = end.receive()
        end.send(PONG if kind == PING else kind, payload, last)
        if kind == CLOSE:
            break
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(1 << 16):
        pass
    connection.close()
