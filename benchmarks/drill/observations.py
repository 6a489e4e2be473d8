"""What clients have seen, one line for each request, on the clock that all processes of a machine share."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Seen:
    """One request and its answer.

    Attributes:
        began, ended: seconds, of the monotonic clock.
        worker: the process id of the worker that answered, 0 where nobody did.
        tenant: whose note.
        number: the note.
        method: ``GET`` or ``POST``.
        status: the HTTP status, 0 where there was no answer.
        right: whether what was read is what was written.
        proven: when the tenant's key was proven in this worker the last time, on the same clock; 0 where it
            was not served.
        overdue: whether the key had to be proven before it could be used.
        answer: the answer's text, where the status is not 200.
    """

    began: float
    ended: float
    worker: int
    tenant: str
    number: int
    method: str
    status: int
    right: bool
    proven: float = 0.0
    overdue: bool = False
    answer: str = ""

    @property
    def cell(self) -> tuple[str, int]:
        return self.tenant, self.worker

    @property
    def served(self) -> bool:
        return self.status == 200

    def line(self) -> str:
        return json.dumps(asdict(self)) + "\n"


class Journal:
    """Reads what the clients' process writes, while it does."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._path = path
        self._offset = 0
        self._rest = ""
        self.seen: list[Seen] = []

    def read(self) -> list[Seen]:
        """Everything that was seen until now."""
        with self._path.open() as file:
            file.seek(self._offset)
            text = self._rest + file.read()
            self._offset = file.tell()
        *lines, self._rest = text.split("\n")
        self.seen += [Seen(**json.loads(line)) for line in lines]
        return self.seen
