"""The local provider, as tests watch it."""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy_cmk.providers import LocalKeyProvider, Wrapped
from sqlalchemy_cmk.runtime.secret import Secret


class CountingProvider(LocalKeyProvider):
    """The local provider, with its calls and the DEKs that pass through it noted, and a fault on request.

    Attributes:
        path: the key file.
        calls: "wrap" or "unwrap" for each call.
        deks: what was wrapped and unwrapped.
        fault: called with the KEK's URI at each call; what it raises, the call raises.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path
        self.calls: list[str] = []
        self.deks: set[bytes] = set()
        self.fault: Callable[[str], None] = lambda kek_uri: None

    def wrap(self, kek_uri: str, dek: Secret) -> Wrapped:
        self.calls.append("wrap")
        self.deks.add(dek.reveal())
        self.fault(kek_uri)
        return super().wrap(kek_uri, dek)

    def unwrap(self, wrapped: Wrapped) -> Secret:
        self.calls.append("unwrap")
        self.fault(wrapped.kek_uri)
        dek = super().unwrap(wrapped)
        self.deks.add(dek.reveal())
        return dek
