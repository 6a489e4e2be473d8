"""What a request is answered where a key or a scope is missing: pages, and problem details (RFC 9457)."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

from flask import Flask, current_app, got_request_exception, render_template, request
from flask.globals import app_ctx
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from sqlalchemy_cmk.errors import (
    CmkError,
    KeyLocked,
    KeyRevoked,
    KeyUnavailable,
    TenantMismatch,
    TenantRequired,
)
from sqlalchemy_cmk.providers.uris import escaped

log = logging.getLogger("sqlalchemy_cmk.flask")

PROBLEM_JSON, JSON, HTML = "application/problem+json", "application/json", "text/html"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem as RFC 9457 describes one, and as a page shows it. It names no tenant, KEK or column.

    Attributes:
        status: the HTTP status.
        title: what the status is called.
        detail: what happened, for the person who has sent the request; may be empty.
        reason: a word for programs: ``key_revoked``, ``key_locked``, ``key_unavailable`` or ``error``.
        type: a URI that names the kind of problem; ``about:blank`` where the status says enough.
        retry_after: seconds after which to try again; ``None`` if that is of no use.
    """

    status: int
    title: str
    detail: str
    reason: str
    type: str = "about:blank"
    retry_after: int | None = None


OnProblem = Callable[[Problem, CmkError], "Problem | ResponseReturnValue | None"]

REVOKED = Problem(
    403,
    "Forbidden",
    "The owner of this data has taken its key away. It can be used again once the key is given back.",
    "key_revoked",
)
LOCKED = Problem(
    403,
    "Forbidden",
    "This data has been locked. It can be used again once it is unlocked.",
    "key_locked",
)
UNAVAILABLE = Problem(
    503,
    "Service Unavailable",
    "The key to this data cannot be reached now. Try again later.",
    "key_unavailable",
)
PROGRAMMING_ERROR = Problem(500, "Internal Server Error", "", "error")


class Problems:
    """Answers an application's requests that end in an error of the library.

    An application's own handler of such an error, or of a class above it, is left alone.

    Args:
        app: the application.
        on_problem: changes a problem, or answers it; see :class:`~sqlalchemy_cmk.flask.CMK`.
        retry_after: seconds after which a KEK is asked again.
    """

    def __init__(self, app: Flask, on_problem: OnProblem | None, retry_after: float) -> None:
        self._app = app
        self._on_problem = on_problem
        self._retry_after = max(1, math.ceil(min(retry_after, 3600)))

    def register(self) -> None:
        """Answer the errors of the library from here on."""
        handlers: dict[type[CmkError], Callable[[Any], ResponseReturnValue]] = {
            KeyRevoked: self._revoked,
            KeyUnavailable: self._unavailable,
            TenantMismatch: _not_found,
            TenantRequired: self._programming_error,
        }
        own = set(self._app.error_handler_spec.get(None, {}).get(None, {}))
        for kind, handler in handlers.items():
            if own.isdisjoint(one for one in kind.__mro__ if issubclass(one, CmkError)):
                self._app.register_error_handler(kind, handler)

    def _revoked(self, error: KeyRevoked) -> ResponseReturnValue:
        _note(error, REVOKED.status, logging.INFO)
        return self._answer(LOCKED if isinstance(error, KeyLocked) else REVOKED, error)

    def _unavailable(self, error: KeyUnavailable) -> ResponseReturnValue:
        _note(error, UNAVAILABLE.status, logging.WARNING)
        return self._answer(replace(UNAVAILABLE, retry_after=self._retry_after), error)

    def _programming_error(self, error: TenantRequired) -> ResponseReturnValue:
        """Answer as Flask does where nobody handles an error: it is logged, and raised in tests."""
        if _propagates() or _has_page_for_500():
            raise error
        got_request_exception.send(self._app, _async_wrapper=self._app.ensure_sync, exception=error)
        _in_context(self._app.log_exception, sys.exc_info())
        return self._answer(PROGRAMMING_ERROR, error)

    def _answer(self, problem: Problem, error: CmkError) -> ResponseReturnValue:
        changed = None if self._on_problem is None else self._on_problem(problem, error)
        if changed is None:
            return _response(problem)
        return _response(changed) if isinstance(changed, Problem) else changed


def _not_found(error: TenantMismatch) -> ResponseReturnValue:
    """Answer another tenant's row as one that is not there: nobody learns that it is.

    The way is that of ``abort(404)``, through the application's own page for it.
    """
    _note(error, 404, logging.WARNING)
    answer: ResponseReturnValue = _in_context(current_app.handle_http_exception, NotFound())
    return answer


def _in_context(method: Callable[..., Any], argument: object) -> Any:
    """Call a method of Flask's that from Flask 3.2 on takes the context first."""
    arguments = (app_ctx, argument) if len(signature(method).parameters) > 1 else (argument,)
    return method(*arguments)


def _note(error: CmkError, status: int, level: int) -> None:
    log.log(level, "%s, answered with %d: %s", type(error).__name__, status, escaped(str(error)))


def _propagates() -> bool:
    said = current_app.config["PROPAGATE_EXCEPTIONS"]
    return bool(current_app.testing or current_app.debug if said is None else said)


def _has_page_for_500() -> bool:
    spec = current_app.error_handler_spec
    return any(spec.get(name, {}).get(500) for name in (*request.blueprints, None))


def _response(problem: Problem) -> Response:
    if request.accept_mimetypes.best_match((PROBLEM_JSON, JSON, HTML), PROBLEM_JSON) == HTML:
        page = render_template([f"cmk/{problem.status}.html", "cmk/problem.html"], problem=problem)
        response = current_app.response_class(page, problem.status)
    else:
        members = {
            "type": problem.type,
            "title": problem.title,
            "status": problem.status,
            "detail": problem.detail,
            "reason": problem.reason,
        }
        body = current_app.json.dumps({name: value for name, value in members.items() if value != ""})
        response = current_app.response_class(f"{body}\n", problem.status, mimetype=PROBLEM_JSON)
    response.vary.add("Accept")
    response.cache_control.no_store = True
    if problem.retry_after is not None:
        response.retry_after = problem.retry_after
    return response
