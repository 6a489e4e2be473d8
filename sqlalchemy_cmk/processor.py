"""The function that opens one value of a fetched row, made once for each column and kept by SQLAlchemy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy_cmk.column import SealedColumn
from sqlalchemy_cmk.sealing import Suite

OPENS = "cmk_opens"


def opening_processor(column: SealedColumn) -> Callable[[Any], Any]:
    """Return the function that opens one value of a fetched row.

    It trusts the fast table, from which expired keys are taken before every fetch.
    """
    openers, slowly, decode = column.openers, column.open, column.codec.decode
    # Slices made once: at this pace each object made for a value is felt.
    head, nonce, body, fixed_body = slice(9), slice(9, 21), slice(21, None), slice(9, None)

    def open_text(stored: Any) -> Any:
        if stored is None:
            return None
        try:
            decrypt, aad = openers[stored[head]]
            return decrypt(stored[nonce], stored[body], aad).decode()
        except Exception:  # noqa: S110  (told apart, and named, by the slow way)
            pass
        return slowly(stored)

    def open_any(stored: Any) -> Any:
        if stored is None:
            return None
        try:
            decrypt, aad = openers[stored[head]]
            return decode(decrypt(stored[nonce], stored[body], aad))
        except Exception:  # noqa: S110
            pass
        return slowly(stored)

    def open_fixed(stored: Any) -> Any:
        if stored is None:
            return None
        try:
            decrypt, aad = openers[stored[head]]
            return decode(decrypt(stored[fixed_body], aad))
        except Exception:  # noqa: S110
            pass
        return slowly(stored)

    chosen = open_fixed if column.suite is Suite.SIV else open_text if column.codec.text else open_any
    setattr(chosen, OPENS, True)
    return chosen
