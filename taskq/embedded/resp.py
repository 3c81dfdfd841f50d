"""Just enough of the Redis protocol to ask a server one thing over a blocking socket.

For finding, and stopping, a server before any client exists. Job traffic never comes here.
"""

from __future__ import annotations

import socket
import time

#: A Unix socket's path, or host and port.
Where = str | tuple[str, int]

_MAX_REPLY = 1 << 20
# Errors only Redis says: it is there, although it does not serve us right now.
_REDIS_ERRORS = ("-NOAUTH", "-LOADING", "-BUSY", "-MASTERDOWN", "-NOPERM", "-MISCONF", "-DENIED")


def ask(where: Where, *words: str, timeout: float) -> str:
    """Send one command; return its reply: `+...`, `-...` and `:...` as sent, or a bulk's text.

    Empty if the server closed without a reply. `timeout` is for all of it, in seconds.
    Raises OSError (TimeoutError included) when it cannot be reached or does not answer.
    """
    deadline = time.monotonic() + timeout
    request = b"*%d\r\n" % len(words)
    for word in words:
        data = word.encode()
        request += b"$%d\r\n%s\r\n" % (len(data), data)
    family = socket.AF_UNIX if isinstance(where, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(where)
        connection.sendall(request)
        reply = b""
        while not _whole(reply) and len(reply) < _MAX_REPLY:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            if time.monotonic() > deadline:
                raise TimeoutError(f"no reply within {timeout} s")
            chunk = connection.recv(65536)
            if not chunk:
                break
            reply += chunk
    head, _, body = reply.partition(b"\r\n")
    shown = body if head.startswith(b"$") else head
    return shown.decode(errors="replace").strip()


def is_redis(where: Where, *, timeout: float) -> bool:
    """Does a Redis answer there within `timeout` seconds, be it with a refusal?"""
    try:
        reply = ask(where, "PING", timeout=timeout)
    except OSError:
        return False
    return reply == "+PONG" or reply.startswith(_REDIS_ERRORS)


def _whole(reply: bytes) -> bool:
    head, line_end, body = reply.partition(b"\r\n")
    if not line_end:
        return False
    if head.startswith(b"$") and head[1:].isdigit():
        return len(body) >= int(head[1:]) + 2
    return True
