"""A receiver as a WSGI application (PEP 3333), mounted at a path or served alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from sqlalchemy_cmk.eventgrid.receiver import LONGEST_BODY, EventGridReceiver

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


def wsgi_app(receiver: EventGridReceiver) -> WSGIApplication:
    """Return a WSGI application that answers by a receiver, at every path."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        headers = {
            name.removeprefix("HTTP_").replace("_", "-"): str(value)
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        said = receiver.answer(
            environ["REQUEST_METHOD"],
            headers,
            environ.get("QUERY_STRING", ""),
            _body(environ["wsgi.input"].read, environ.get("CONTENT_LENGTH", "")),
        )
        phrase = f"{said.status} {HTTPStatus(said.status).phrase}"
        start_response(phrase, [*said.headers.items(), ("Content-Length", str(len(said.body)))])
        return [said.body]

    return answer


def _body(read: Callable[[int], bytes], length: str) -> bytes:
    # A server need not end the stream where the body ends: no more than this is there.
    return read(min(int(length), LONGEST_BODY + 1)) if length.isdecimal() else b""
