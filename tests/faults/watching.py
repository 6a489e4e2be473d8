"""Listens to everything that a process says, and looks for secrets in it in every form they may take."""

import base64
import io
import json
import logging
import traceback
from collections.abc import Iterator

from sqlalchemy_cmk.format import Context, Suite, column_key
from sqlalchemy_cmk.runtime.secret import Secret
from tests.support.providers import CountingProvider


def keys_of(provider: CountingProvider, contexts: list[Context]) -> set[bytes]:
    """The KEKs of a provider, the DEKs that passed through it and the columns' keys."""
    keks = json.loads(provider.path.read_text())["keks"].values()
    found = {base64.b64decode(version["key"]) for kek in keks for version in kek["versions"]}
    assert found and provider.deks
    derived = {
        column_key(Secret(dek), suite, context).reveal()
        for dek in provider.deks
        for suite in Suite
        for context in contexts
    }
    return found | provider.deks | derived


class Everything(logging.Handler):
    """Keeps what every record shows: formatted, and in its arguments."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self._text = io.StringIO()

    def emit(self, record: logging.LogRecord) -> None:
        formatted = logging.Formatter("%(name)s %(message)s").format(record)
        print(formatted, record.msg, repr(record.args), str(record.args), file=self._text)

    def taken(self) -> str:
        """What was said since the last time."""
        said, self._text = self._text.getvalue(), io.StringIO()
        return said


def told(error: BaseException | None) -> str:
    """All that an error shows, with the errors that it comes from."""
    said: list[str] = []
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        said += [str(one), repr(one), repr(one.args), repr(vars(one)), *map(str, vars(one).values())]
        said += traceback.format_exception(one)
        said += traceback.TracebackException.from_exception(one, capture_locals=False).format()
        said += getattr(one, "__notes__", [])
        waiting += [one.__cause__, one.__context__, getattr(one, "orig", None)]
    return "\n".join(said)


def forms(secret: str | bytes) -> Iterator[str]:
    """A secret as it would look in a text."""
    raw = secret.encode(errors="surrogatepass") if isinstance(secret, str) else secret
    if isinstance(secret, str):
        yield secret
    yield from (repr(raw)[2:-1], raw.hex(), raw.hex().upper(), repr(list(raw))[1:-1])
    # Within longer data the same bytes have three encodings, whose ends depend on what stands beside them.
    for before in range(3):
        shifted = base64.b64encode(bytes(before) + raw).decode()
        yield shifted[(0, 2, 4)[before] : len(shifted) // 4 * 4 - 4]


def found(secrets: dict[str, str | bytes], text: str) -> list[str]:
    """The names of the secrets that a text shows."""
    return sorted({name for name, secret in secrets.items() for form in forms(secret) if form in text})
