"""Posts a message to an address, within a bounded time, and returns the status. See :func:`post`."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from sqlalchemy_cmk.runtime.clock import elapsed

# Seconds to connect, and from then on until the last byte that is read.
CONNECT, ANSWER = 5.0, 10.0
MOST_BYTES = 65_536

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])[ \r]")


class NotPosted(Exception):
    """A message was not posted, or nobody knows whether it was; the text is fit for a table."""


def post(url: str, headers: Mapping[str, str], body: bytes) -> int:
    """Post a message and return the answer's status. Redirects are not followed, and the body is not read.

    The environment's proxies (``HTTPS_PROXY``, ``NO_PROXY``) are used for https; certificates are verified.

    Args:
        url: where to; it comes from the application's code.
        headers: the request's headers.
        body: the message.

    Raises:
        NotPosted: no answer came within about :data:`CONNECT` and :data:`ANSWER` seconds.
    """
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection = _connection(parts.scheme, parts.hostname or "", parts.port)
        try:
            connection.connect()
            until = elapsed() + ANSWER
            connection.sock.settimeout(ANSWER)
            connection.request("POST", target, body, dict(headers))
            return _status(connection.sock, until)
        finally:
            connection.close()
    except (OSError, HTTPException) as error:
        # What it says may quote addresses, with their tokens.
        problem = type(error).__name__
    raise NotPosted(problem)


def _connection(scheme: str, host: str, port: int | None) -> HTTPConnection:
    if scheme == "http":
        return HTTPConnection(host, port, timeout=CONNECT)
    context = ssl.create_default_context()
    proxy = None if proxy_bypass(host) else getproxies().get("https")
    if proxy is None:
        return HTTPSConnection(host, port, timeout=CONNECT, context=context)
    by = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    connection = HTTPSConnection(by.hostname or "", by.port, timeout=CONNECT, context=context)
    connection.set_tunnel(host, port or 443)
    return connection


def _status(sock: socket.socket, until: float) -> int:
    """Return the status of the first answer that is no interim one, however slowly its bytes drip."""
    read = b""
    while len(read) < MOST_BYTES:
        left = until - elapsed()
        if left <= 0:
            raise NotPosted("TimeoutError")
        sock.settimeout(left)
        more = sock.recv(4096)
        if not more:
            break
        read += more
        while read.startswith(b"HTTP/1.1 1") and b"\r\n\r\n" in read:
            read = read.partition(b"\r\n\r\n")[2]
        found = _STATUS.match(read)
        if found is not None and not found[1].startswith(b"1"):
            return int(found[1])
    raise NotPosted("no answer of HTTP")
