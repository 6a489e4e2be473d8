"""HTTPS servers on loopback: one thread accepts connections, and each connection has its own thread."""

from __future__ import annotations

import os
import selectors
import socket
import ssl
import struct
import sys
import threading
import traceback
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit
from weakref import WeakSet

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.testing.messages import Answer, Hangup, Request
from sqlalchemy_cmk.testing.site import Site

IDLE_SECONDS = 600
LARGEST_BODY = 1 << 20
# Held while a connection becomes a TLS connection, so that a fork or break_connections misses none.
_moving = threading.Lock()
RESET = struct.pack("ii", 1, 0)


class Handler(BaseHTTPRequestHandler):
    """Reads requests from one connection and writes their answers."""

    protocol_version = "HTTP/1.1"
    server_version = "KeyVaultEmulator"
    sys_version = ""
    disable_nagle_algorithm = True
    # Head and body are sent in one piece.
    wbufsize = -1

    def do_GET(self) -> None:
        """Answer a request, whatever its method."""
        length = int(self.headers.get("Content-Length") or 0)
        if length > LARGEST_BODY or self.headers.get("Transfer-Encoding"):
            self.send_error(413)
            return
        target = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=unquote(target.path),
            query=dict(parse_qsl(target.query)),
            authorization=self.headers.get("Authorization", ""),
            body=self.rfile.read(length),
            request_id=self.headers.get("x-ms-client-request-id", ""),
            user_agent=self.headers.get("User-Agent", ""),
            identity_header=self.headers.get("X-IDENTITY-HEADER", ""),
        )
        try:
            self._send(self._site.respond(request))
        except Hangup:
            self._reset()
        except Exception:
            traceback.print_exc()
            self._send(Answer(500, {"error": {"code": "EmulatorError", "message": "see standard error"}}))

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing: the site has its own log."""

    @property
    def _site(self) -> Site:
        return cast(HttpsServer, self.server).site

    def _send(self, answer: Answer) -> None:
        content = answer.content()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(content)))
        if content and "Content-Type" not in answer.headers:
            kind = "text/html" if isinstance(answer.body, bytes) else "application/json; charset=utf-8"
            self.send_header("Content-Type", kind)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if answer.half:
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        if answer.drip is not None:
            self._drip(content, answer.drip)
            return
        self.wfile.write(content)

    def _drip(self, content: bytes, pause: float) -> None:
        # A client that has seen enough hangs up.
        with suppress(OSError):
            for place in range(len(content)):
                self.wfile.flush()
                if self._site.stopping.wait(pause):
                    break
                self.wfile.write(content[place : place + 1])
            return
        self.close_connection = True

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


class HttpsServer(ThreadingHTTPServer):
    """The server of one site; it accepts connections after :meth:`listen`."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 512
    timeout = 0

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext) -> None:
        super().__init__(address, Handler, bind_and_activate=False)
        self.site: Site
        self._context = context
        self._connections: set[socket.socket] = set()
        self._threads_now: set[threading.Thread] = set()
        try:
            self.server_bind()
        except OSError:
            self.server_close()
            raise

    def server_bind(self) -> None:
        """Bind the address without the standard library's reverse look-up of its name."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setblocking(False)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.socket.getsockname()

    def listen(self) -> None:
        """Let clients connect."""
        self.server_activate()

    def refuse(self) -> None:
        """Break all connections and refuse new ones, but keep the address."""
        self.socket.close()
        self.socket = socket.socket(self.address_family, self.socket_type)
        self.server_bind()
        self.break_connections()

    def break_connections(self) -> None:
        """Break every open connection."""
        with _moving:
            connections = tuple(self._connections)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def close(self) -> None:
        """Release the address and wait for the threads to end."""
        self.server_close()
        self.break_connections()
        for thread in tuple(self._threads_now):
            thread.join(5)

    def leave_to_parent(self) -> None:
        """Close a forked child's copies of the sockets, so that sockets that the parent closes are closed."""
        for held in (self.socket, *tuple(self._connections)):
            handle = held.detach()
            if handle >= 0:
                os.close(handle)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection, in its own thread."""
        self._threads_now.add(threading.current_thread())
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._threads_now.discard(threading.current_thread())

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection."""
        with _moving:
            request, client_address = self.socket.accept()
            self._connections.add(request)
        return request, client_address

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands in the connection's own thread, then read requests."""
        request.settimeout(IDLE_SECONDS)
        with _moving:
            self._connections.discard(request)
            connection = self._context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            self._connections.add(connection)
        try:
            with connection:
                connection.do_handshake()
                Handler(connection, client_address, self)
        finally:
            self._connections.discard(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that hang up or do not trust the certificate."""
        if not isinstance(sys.exception(), OSError):
            traceback.print_exc()


class Acceptor(threading.Thread):
    """Accepts the connections of every server of one emulator."""

    def __init__(self) -> None:
        super().__init__(name="key-vault-emulator", daemon=True)
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._lock = threading.Lock()
        self._servers: set[HttpsServer] = set()
        self._listening: set[HttpsServer] = set()
        self._stopped = False
        self._pid = os.getpid()
        _acceptors.add(self)

    def run(self) -> None:
        """Accept until :meth:`stop`."""
        while True:
            ready = self._selector.select()
            with self._lock:
                if self._stopped:
                    return
                for key, _ in ready:
                    if key.data is None:
                        self._woken.recv(4096)
                    elif key.data in self._listening:
                        key.data.handle_request()

    def add(self, server: HttpsServer) -> None:
        """Add a server and let it accept connections."""
        self._check_process()
        with self._lock:
            self._servers.add(server)
        self.listen(server, True)

    def listen(self, server: HttpsServer, wanted: bool) -> None:
        """Let a server accept connections, or refuse them."""
        self._check_process()
        with self._lock:
            if self._stopped or wanted == (server in self._listening):
                return
            if wanted:
                server.listen()
                self._listening.add(server)
                self._selector.register(server.socket, selectors.EVENT_READ, server)
            else:
                self._selector.unregister(server.socket)
                self._listening.discard(server)
                server.refuse()
        self._wake.send(b"x")

    def stop(self) -> None:
        """Close every server and connection, and stop the thread."""
        with self._lock:
            self._stopped = True
        self._wake.send(b"x")
        self.join()
        self._selector.close()
        for server in self._servers:
            server.close()
        self._wake.close()
        self._woken.close()

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ConfigurationError("the emulator runs in the parent process: call it there")

    def leave_to_parent(self) -> None:
        """Close a forked child's copies of the sockets; it has no thread that serves them."""
        for server in self._servers:
            server.leave_to_parent()


_acceptors: WeakSet[Acceptor] = WeakSet()


def _in_child() -> None:
    for acceptor in tuple(_acceptors):
        acceptor.leave_to_parent()
    _moving.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_moving.acquire, after_in_parent=_moving.release, after_in_child=_in_child)
