"""Makes the tokens of a search index from the sealed values that are there. See :func:`token_maker`.

``joint_tokens.py`` makes those of an index over several columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy_cmk.codec import NO_VALUE
from sqlalchemy_cmk.columns.hot_tokens import HotTokens
from sqlalchemy_cmk.columns.indexes import Tokens
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases import Database
from sqlalchemy_cmk.errors import InvalidValue, TamperedError
from sqlalchemy_cmk.format import Context
from sqlalchemy_cmk.keys.binding.held_keys import Deks
from sqlalchemy_cmk.rekey.ciphers import Ciphers
from sqlalchemy_cmk.rekey.converters import BoundTo, Converter
from sqlalchemy_cmk.rekey.token_type import TokensOf
from sqlalchemy_cmk.scope import PLATFORM_TENANT


def token_maker(
    keys: Deks, database: Database, opens: EncryptedType, context: Context, wanted: TokensOf
) -> Callable[[str, Any], Converter]:
    """Return what makes the converter of a tenant's values, and of others of the same header."""
    old, index, info = Ciphers(keys, opens), wanted.index, wanted.index.info(context)
    hot = HotTokens(lambda dek: index.tokens(dek.index_key(info), opens))
    is_tenants = opens.scheme.owner == "row" and not index.across_tenants
    bind = database.bind_grams if index.stores_grams else None

    def make(tenant: str, stored: Any) -> Converter:
        cipher = old.opening(tenant, stored)
        made = hot.under(keys.active(tenant if is_tenants else PLATFORM_TENANT, wanted.purpose))

        def together(values: Sequence[Any], openings: BoundTo, _: BoundTo) -> list[Any]:
            tokens = _tokens(made, opens, cipher.open_all(values, openings))
            return tokens if bind is None else list(map(bind, tokens))

        def one(stored: Any, nonce: bytes, opening: bytes, sealing: bytes) -> Any:
            token = _tokens(made, opens, [cipher.open(stored, opening)])[0]
            return token if bind is None else bind(token)

        return Converter(one, together)

    return make


def _tokens(made: Tokens, opens: EncryptedType, plaintexts: Iterable[bytes]) -> list[Any]:
    kind = ""
    try:
        return list(made.of_values([opens.codec.decode(one) for one in plaintexts]))
    except InvalidValue:
        raise
    except NO_VALUE as error:
        kind = type(error).__name__
    raise TamperedError(f"the opened bytes are not a value of the declared type ({kind})")
