"""The tenant scope of a request: entered around the whole of it, named before its view.

What a server calls for a request is a function that enters and leaves, whatever happens in between, and what
it returns is carried: each step of a streamed body runs in the scope, and nothing between two steps does.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sized
from typing import TYPE_CHECKING, Any

from flask import Flask, request

from sqlalchemy_cmk.errors import ConfigurationError, TenantRequired
from sqlalchemy_cmk.flask.states import keys
from sqlalchemy_cmk.scope import PLATFORM_TENANT, tenant_name
from sqlalchemy_cmk.scope.carrying import carry
from sqlalchemy_cmk.scope.entered import Entered, enter, leave

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("sqlalchemy_cmk.flask")

TenantCallable = Callable[[], object | Awaitable[object]]

_SCOPE = "sqlalchemy_cmk.scope"


def scope_requests(app: Flask, tenant: TenantCallable) -> None:
    """Run each request of an application in the scope of its tenant.

    Args:
        app: the application.
        tenant: returns the tenant's name in a request; ``None`` if there is none.
    """
    app.wsgi_app = ScopedRequests(app.wsgi_app)  # type: ignore[method-assign]

    def name_tenant() -> None:
        entered = request.environ.get(_SCOPE)
        # A load balancer signs in nowhere, and has no tenant.
        is_health = app.view_functions.get(request.endpoint or "") is keys
        if isinstance(entered, Entered) and not is_health:
            entered.tenant = _named(app.ensure_sync(tenant)())

    app.before_request(name_tenant)


def _named(tenant: object) -> str | None:
    if tenant == PLATFORM_TENANT:
        raise TenantRequired(
            "the function given as CMK(tenant=...) returned an empty name: let it return None where no "
            "tenant is known"
        )
    return None if tenant is None else tenant_name(tenant)


class ScopedRequests:
    """A WSGI application around another, whose calls run in a scope that is named within them.

    Until then, and where it is never named, no scope is entered: not that of a caller either.

    Args:
        wsgi_app: the other.
    """

    def __init__(self, wsgi_app: WSGIApplication) -> None:
        self._wsgi_app = wsgi_app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        environ[_SCOPE] = entered = enter(None)
        try:
            body = self._wsgi_app(environ, start_response)
        finally:
            _leave(entered)
        return body if _is_whole(body, environ) else ScopedBody(body, entered.tenant)


def _leave(entered: Entered) -> None:
    try:
        leave(entered)
    except ConfigurationError as error:  # the answer is made, and nothing is read in that scope any more
        log.error("a scope that was entered in a request was not left in it: %s", error)


def _is_whole(body: Iterable[bytes], environ: WSGIEnvironment) -> bool:
    """Return whether nothing of the application runs when a body is sent: it is there, or an open file."""
    file_wrapper: Any = environ.get("wsgi.file_wrapper")
    return isinstance(body, Sized) or (isinstance(file_wrapper, type) and isinstance(body, file_wrapper))


class ScopedBody(Iterator[bytes]):
    """The body of an answer, each step of which runs in a scope.

    Args:
        body: what the application has returned.
        tenant: the scope's tenant; ``None`` for no scope.
    """

    def __init__(self, body: Iterable[bytes], tenant: str | None) -> None:
        self._step = carry(iter(body).__next__, tenant)
        close = getattr(body, "close", None)
        self._close = None if close is None else carry(close, tenant)

    def __next__(self) -> bytes:
        step: bytes = self._step()
        return step

    def close(self) -> None:
        """Close the body, as servers do."""
        if self._close is not None:
            self._close()
