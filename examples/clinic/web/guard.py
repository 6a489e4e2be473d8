"""What protects every page: headers, hosts, forged forms, and uploads that never touch the disk."""

from __future__ import annotations

from io import BytesIO
from typing import IO, Any

from flask import Flask, Request, Response, render_template, request
from flask_wtf.csrf import CSRFProtect
from werkzeug.exceptions import HTTPException, SecurityError

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
HOSTS = ["127.0.0.1", "localhost"]
UPLOAD = 10 * 1024 * 1024 + 64 * 1024


class InMemory(Request):
    """A request whose uploads stay in memory: the default writes large ones to a file, unsealed."""

    trusted_hosts = HOSTS

    def _get_file_stream(self, *args: Any, **kwargs: Any) -> IO[bytes]:
        return BytesIO()


def protect(app: Flask, cookie: str) -> CSRFProtect:
    """Guard an application's pages; return what guards its forms.

    Args:
        cookie: the name of its session's cookie. A host's applications share cookies, whatever their ports.
    """
    app.request_class = InMemory
    app.config.update(
        TRUSTED_HOSTS=HOSTS,  # heeded from Flask 3.1 on
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_NAME=cookie,
        MAX_CONTENT_LENGTH=UPLOAD,
        WTF_CSRF_TIME_LIMIT=None,
    )
    forms = CSRFProtect(app)

    @app.before_request
    def check_host() -> None:
        _ = request.host  # which raises for a host that is not trusted

    @app.after_request
    def add_headers(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if request.endpoint != "static":
            response.headers["Cache-Control"] = "no-store"
        return response

    @app.errorhandler(HTTPException)
    def show(error: HTTPException) -> Any:
        # A host that is not ours has no addresses that a page could show.
        if error.response is not None or isinstance(error, SecurityError):
            return error
        answer = error.get_response()
        answer.data = render_template("error.html", error=error)
        return answer

    return forms
