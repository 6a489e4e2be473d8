"""Search indexes of sealed columns: what a column may be asked besides ``is_(None)``.

Usage::

    email: Mapped[str] = mapped_column(EncryptedType(String(254), index=[Exact(unique=True)]))
    select(Patient).where(Patient.clinic_id == "acme", Patient.email == "a@example.org")

``docs/search.md`` says which index answers what, and what a reader of the database learns from it.
"""

from sqlalchemy_cmk.columns.indexes import SearchIndex
from sqlalchemy_cmk.search.indexes.compound import Compound
from sqlalchemy_cmk.search.indexes.exact import Exact
from sqlalchemy_cmk.search.indexes.ngram import NGram
from sqlalchemy_cmk.search.indexes.ordered import Ordered
from sqlalchemy_cmk.search.indexes.prefix import Prefix, Suffix
from sqlalchemy_cmk.search.indexes.range import Range
from sqlalchemy_cmk.search.normalizers import Normalizer, fold, identity, register_normalizer

__all__ = [
    "Compound",
    "Exact",
    "NGram",
    "Normalizer",
    "Ordered",
    "Prefix",
    "Range",
    "SearchIndex",
    "Suffix",
    "fold",
    "identity",
    "register_normalizer",
]
