"""What candidates are compared with once they are opened: :class:`IsEqual` and :class:`IsLike`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy_cmk.codec import codec_for
from sqlalchemy_cmk.columns.candidates import Recheck
from sqlalchemy_cmk.search.normalizers import Normalizer, identity

if TYPE_CHECKING:
    from sqlalchemy_cmk.columns.type import EncryptedType


@dataclass(frozen=True)
class IsEqual(Recheck):
    """Values that are equal: to one, or to one of a list.

    Args:
        normalize: how texts are normalized before they are compared.
    """

    exact = "declare an index that answers it exactly, index=[Exact()]"

    normalize: Normalizer = identity

    def predicate(self, sealed: EncryptedType, asked: Any) -> Callable[[Any], bool]:
        """Compare as tokens of whole values would be: by the canonical form of the declared type."""
        encode = codec_for(sealed.type_, canonical=True).encode
        normalize = None if self.normalize == identity else self.normalize

        def form(value: Any) -> Any:
            return encode(value if normalize is None else normalize(value))

        several = asked if isinstance(asked, list) else [asked]
        forms = {form(one) for one in several if one is not None}
        return lambda value: form(value) in forms
