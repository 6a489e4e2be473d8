"""A receiver as an ASGI application (https://asgi.readthedocs.io), mounted at a path or served alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from sqlalchemy_cmk.eventgrid.receiver import LONGEST_BODY, EventGridReceiver

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def asgi_app(receiver: EventGridReceiver) -> Callable[[Message, Receive, Send], Awaitable[None]]:
    """Return an ASGI application that answers by a receiver, at every path."""

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"{scope['type']} is not served here: Event Grid sends requests of HTTP")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope.get("query_string", b"").decode("latin-1")
        said = receiver.answer(scope["method"], headers, query, await _body(receive))
        out = [(name.lower().encode(), value.encode()) for name, value in said.headers.items()]
        length = (b"content-length", str(len(said.body)).encode())
        await send({"type": "http.response.start", "status": said.status, "headers": [*out, length]})
        await send({"type": "http.response.body", "body": said.body})

    return answer


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more and len(body) <= LONGEST_BODY:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _live(receive: Receive, send: Send) -> None:
    for stage in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{stage}.complete"})
