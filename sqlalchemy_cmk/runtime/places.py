"""Where in the application a statement comes from: a file and a line, past the frames of libraries."""

from __future__ import annotations

import inspect
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import sqlalchemy

_OURS = tuple(f"{Path(one).parent}/" for one in (sqlalchemy.__file__, Path(__file__).parent))
_LIBRARIES = (
    *_OURS,
    *{f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib", "purelib", "platlib")},
)


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line of source code.

    Attributes:
        file: the path of its file.
        line: its number, from 1.
    """

    file: str
    line: int

    def __str__(self) -> str:
        path = Path(self.file)
        here = Path.cwd()
        return f"{path.relative_to(here) if path.is_relative_to(here) else path}:{self.line}"


def calling_place() -> Place | None:
    """Return the innermost line under way that is the application's, not a library's.

    Where only libraries are under way, the innermost line outside of SQLAlchemy and this package.
    """
    library = None
    for frame in _frames():
        file = frame.f_code.co_filename
        if file.startswith("<") or file.startswith(_OURS):
            continue
        place = Place(file, frame.f_lineno)
        if not file.startswith(_LIBRARIES):
            return place
        library = library or place
    return library


def is_sent_by_us() -> bool:
    """Return whether the statement that SQLAlchemy is sending comes from this package's own code."""
    is_below = False
    for frame in _frames():
        file = frame.f_code.co_filename
        if file.startswith(_OURS[0]) or file.startswith("<"):
            is_below = is_below or file.startswith(_OURS[0])
        elif is_below:
            return file.startswith(_OURS[1])
    return False


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        yield frame
        frame = frame.f_back
    # Under asyncio SQLAlchemy works in a greenlet, whose frames do not lead to those that wait for it.
    greenlet = sys.modules.get("greenlet")
    waiting = greenlet.getcurrent().parent if greenlet is not None else None
    while waiting is not None:
        frame, waiting = waiting.gr_frame, waiting.parent
        while frame is not None:
            yield frame
            frame = frame.f_back
