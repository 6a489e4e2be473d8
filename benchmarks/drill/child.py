"""A process that a drill starts, and ends with its block."""

import subprocess
from types import TracebackType
from typing import Any, Self


class Child:
    """A running process."""

    def __init__(self, command: list[str], **options: Any) -> None:
        self._process = subprocess.Popen(command, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)
