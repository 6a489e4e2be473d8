"""The client that posts webhooks: TLS verified, bounded in time and bytes, and through proxies."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from sqlalchemy_cmk.keys.events import posting
from sqlalchemy_cmk.keys.events.posting import NotPosted, post
from sqlalchemy_cmk.testing.certificates import Certificates

Serve = Callable[[socket.socket], None]


@contextmanager
def serving(serve: Serve) -> Iterator[int]:
    """A server on loopback that does as told with each connection; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_serve, args=(serve, connection), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def _serve(serve: Serve, connection: socket.socket) -> None:
    with connection, suppress(OSError):
        serve(connection)


def head(connection: socket.socket) -> bytes:
    """A request's head, once its body, if it has one, was read too: else the answer would be thrown away."""
    read = b""
    while not read.endswith(b"\r\n\r\n" + (b"{}" if b"Content-Length" in read else b"")):
        read += connection.recv(4096)
    return read


def answering(*parts: bytes, waits: threading.Event | None = None) -> Serve:
    def serve(connection: socket.socket) -> None:
        head(connection)
        for part in parts:
            connection.sendall(part)
        if waits is not None:
            waits.wait(30)

    return serve


@pytest.fixture
def certificates(monkeypatch: pytest.MonkeyPatch) -> Iterator[Certificates]:
    """An authority that this process trusts, as it would a company's own."""
    made = Certificates()
    monkeypatch.setenv("SSL_CERT_FILE", str(made.ca_file))
    yield made
    made.remove()


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ((b"HTTP/1.1 204 No Content\r\n\r\n",), 204),
        ((b"HTTP/1.0 500 \r\n\r\n",), 500),
        ((b"HT", b"TP/1.1 2", b"02 Accepted\r\n"), 202),
        ((b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",), 200),
        ((b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n",), 302),
    ],
)
def test_the_status_is_that_of_the_last_answer(parts: tuple[bytes, ...], status: int) -> None:
    with serving(answering(*parts)) as port:
        assert post(f"http://127.0.0.1:{port}/", {}, b"{}") == status


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 999 No\r\n", b"HTTP/1.1 100 \r\n\r\n"]
)
def test_what_is_no_answer_is_an_error_that_quotes_nothing(answer: bytes) -> None:
    with serving(answering(answer)) as port, pytest.raises(NotPosted) as failed:
        post(f"http://127.0.0.1:{port}/?code=TOKEN", {}, b"{}")
    assert "TOKEN" not in str(failed.value) and str(port) not in str(failed.value)


def test_nobody_there_is_an_error() -> None:
    with serving(answering()) as port:
        pass
    with pytest.raises(NotPosted, match="ConnectionRefusedError"):
        post(f"http://127.0.0.1:{port}/", {}, b"{}")
    with pytest.raises(NotPosted, match="gaierror"):
        post("https://nowhere.invalid/", {}, b"{}")


def test_an_answer_that_drips_or_never_ends_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "ANSWER", 0.3)

    def drip(connection: socket.socket) -> None:
        head(connection)
        while True:
            connection.sendall(b"H")
            threading.Event().wait(0.05)

    with serving(drip) as port, pytest.raises(NotPosted, match="TimeoutError"):
        post(f"http://127.0.0.1:{port}/", {}, b"{}")

    def flood(connection: socket.socket) -> None:
        head(connection)
        while True:
            connection.sendall(b"H" * 65_536)

    monkeypatch.setattr(posting, "ANSWER", 30)
    with serving(flood) as port, pytest.raises(NotPosted, match="no answer"):
        post(f"http://127.0.0.1:{port}/", {}, b"{}")


def test_certificates_are_verified(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    def serve(context: ssl.SSLContext) -> Serve:
        def tls(connection: socket.socket) -> None:
            with context.wrap_socket(connection, server_side=True) as secured:
                seen.append(head(secured))
                secured.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

        return tls

    with serving(serve(certificates.context("127.0.0.1"))) as port:
        assert post(f"https://127.0.0.1:{port}/keys?code=1", {"webhook-id": "7"}, b"{}") == 200
        assert seen[0].startswith(b"POST /keys?code=1 HTTP/1.1\r\n") and b"webhook-id: 7\r\n" in seen[0]
        with pytest.raises(NotPosted, match="SSLCertVerificationError"):
            post(f"https://localhost:{port}/", {}, b"{}")
    stranger = Certificates()
    with (
        serving(serve(stranger.context("127.0.0.1"))) as port,
        pytest.raises(NotPosted, match="SSLCertVerificationError"),
    ):
        post(f"https://127.0.0.1:{port}/", {}, b"{}")
    stranger.remove()
    assert len(seen) == 1


def test_the_environments_proxy_is_asked_for_a_tunnel(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    context = certificates.context("siem.example")

    def proxy(connection: socket.socket) -> None:
        asked.append(head(connection).partition(b"\r\n")[0])
        connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        with context.wrap_socket(connection, server_side=True) as secured:
            head(secured)
            secured.sendall(b"HTTP/1.1 202 Accepted\r\n\r\n")

    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with serving(proxy) as port:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        assert post("https://siem.example/keys", {}, b"{}") == 202
    assert asked[0].startswith(b"CONNECT siem.example:443 HTTP/1.")
