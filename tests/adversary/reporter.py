"""A crash reporter as applications have one: it sends the locals of every frame of an error."""

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

OWN = "/tests/adversary/"
DEPTH = 3


class Reporter:
    """Writes each error's texts and locals to files.

    Attributes:
        library: where the locals of the frames of libraries go, and the errors' texts.
        own: where the locals of the application's own frames go.
    """

    def __init__(self, folder: Path) -> None:
        self.library = folder / "crashes-library.txt"
        self.own = folder / "crashes-own.txt"
        self._lock = threading.Lock()

    def send(self, error: BaseException) -> None:
        """Report an error, with all that it comes from."""
        library: list[str] = []
        own: list[str] = []
        for one in _chain(error):
            library += [str(one), repr(one), repr(one.args), *getattr(one, "__notes__", [])]
            for file, values in _frames(one.__traceback__):
                said = own if OWN in file else library
                for name, value in values.items():
                    said += [f"{file}: {name}", *_told(value, DEPTH)]
        with self._lock:
            for path, said in ((self.library, library), (self.own, own)):
                with path.open("a") as file:
                    file.write("\n".join(said) + "\n")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: dict[int, BaseException] = {}
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and id(one) not in seen:
            seen[id(one)] = one
            waiting += [one.__cause__, one.__context__, getattr(one, "orig", None)]
    return iter(seen.values())


def _frames(traceback: TracebackType | None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    while traceback is not None:
        frame = traceback.tb_frame
        yield frame.f_code.co_filename, dict(frame.f_locals)
        traceback = traceback.tb_next


def _told(value: Any, depth: int) -> Iterator[str]:
    try:
        yield repr(value)
    except Exception as error:  # what crash reporters do
        yield f"no repr: {type(error).__name__}"
    if isinstance(value, bytes | bytearray | memoryview):
        yield bytes(value).decode("latin-1")
    elif depth and isinstance(value, Mapping):
        for pair in list(value.items()):
            yield from _told(pair, depth - 1)
    elif depth and isinstance(value, list | tuple | set | frozenset):
        for one in list(value):
            yield from _told(one, depth - 1)
