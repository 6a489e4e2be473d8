"""Opens the keys of a batch of rows before its values are converted. See :class:`KeysAhead`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.format import is_header
from sqlalchemy_cmk.keys.binding.held_keys import Deks
from sqlalchemy_cmk.keys.model import OpenedDek
from sqlalchemy_cmk.keys.opening.questions import ActiveDek
from sqlalchemy_cmk.rekey.job import Move
from sqlalchemy_cmk.scope import PLATFORM_TENANT

# A tenant, and what a stored value of its row is known by, from :attr:`MoveValues.name_of`.
Named = tuple[str, Any]


class KeysAhead:
    """Opens side by side what a batch of rows needs. What fails is raised where its value is converted.

    No key is made for a tenant of whose values none opens.

    Args:
        keys: opens the DEKs, and holds them.
        moves: what is done with the values.
        only_check: whether no value is sealed.
    """

    def __init__(self, keys: Deks, moves: Sequence[Move], *, only_check: bool) -> None:
        self._keys = keys
        self._moves = moves
        self._only_check = only_check

    def open(self, named: Sequence[Sequence[Named]]) -> None:
        """Open what a batch needs.

        Args:
            named: for each move, what its values are known by.
        """
        of_moves = list(zip(self._moves, named, strict=True))
        ids = dict.fromkeys(one for move, names in of_moves for one in _dek_ids(move, names))
        opened = {one: dek for one, dek in self._keys.open_all(ids).opened() if isinstance(one, bytes)}
        if not self._only_check:
            sealing = (one for move, names in of_moves for one in _sealing(move, names, opened))
            self._keys.open_all(dict.fromkeys(sealing))


def _dek_ids(move: Move, names: Iterable[Named]) -> list[bytes]:
    """Return the ids of the DEKs that stored values name."""
    if not isinstance(move.opens, EncryptedType):
        return []
    headers = (_header(name) for _, name in names)
    return [one[1:] for one in headers if is_header(one)]


def _sealing(move: Move, names: Iterable[Named], opened: Mapping[bytes, OpenedDek]) -> list[ActiveDek]:
    """Return which DEKs seal the new values of those whose stored values open."""
    if not isinstance(move.seals, EncryptedType):
        return []
    owners = dict.fromkeys(
        _owner(move.seals, tenant) for tenant, name in names if _opens(move, tenant, name, opened)
    )
    return [ActiveDek(owner, move.seals.scheme.purpose) for owner in owners]


def _opens(move: Move, tenant: str, name: Any, opened: Mapping[bytes, OpenedDek]) -> bool:
    if not isinstance(move.opens, EncryptedType):
        return True
    header = _header(name)
    if not is_header(header):
        return move.opens.scheme.is_mixed
    dek = opened.get(header[1:])
    return dek is not None and dek.tenant == _owner(move.opens, tenant)


def _owner(type_: EncryptedType, tenant: str) -> str:
    return tenant if type_.scheme.owner == "row" else PLATFORM_TENANT


def _header(name: Any) -> bytes:
    return bytes(name) if isinstance(name, bytes | memoryview) else b""
