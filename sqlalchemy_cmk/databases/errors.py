"""The messages of databases. Each :class:`~.base.Database` knows what its errors mean."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError


def first_line(error: BaseException) -> str:
    """Return the first line of a database's message, without the statement: for statements without values."""
    return str(_original(error)).partition("\n")[0]


def complaint(error: BaseException) -> str:
    """Return :func:`first_line` after the class of the error."""
    return f"{type(_original(error)).__name__}: {first_line(error)}"


def _original(error: BaseException) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error
