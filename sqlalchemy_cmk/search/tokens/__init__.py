"""What a search index stores for a value: pure functions of a key and a value.

One class for each kind of index, made with the key of one index of one tenant (:func:`index_key`):

============================  =====================  ====================================================
class                         stored                 answers
============================  =====================  ====================================================
:class:`ExactTokens`          up to 32 bytes         is it equal
:class:`CompoundTokens`       16 bytes               are several columns equal together
:class:`PrefixTokens`         some bytes a prefix    does it begin with: one interval of tokens
:class:`RangeTokens`          a number               is it between: a few intervals of tokens
:class:`OrderedTokens`        a byte a bit           is it less, and ``ORDER BY``
:class:`NGramTokens`          a set of numbers       may it contain: candidates
============================  =====================  ====================================================

``docs/search-format.md`` states each construction so that it can be computed elsewhere, and reviewed;
``docs/search.md`` says what each gives away. Tokens are made of normalized values: :mod:`..normalizers` for
text, :mod:`..domains` for numbers, dates and moments.
"""

from sqlalchemy_cmk.search.tokens.compound import CompoundTokens
from sqlalchemy_cmk.search.tokens.exact import ExactTokens
from sqlalchemy_cmk.search.tokens.keys import KEY_BYTES, index_info, index_key
from sqlalchemy_cmk.search.tokens.ngrams import NGramTokens
from sqlalchemy_cmk.search.tokens.ordered import OrderedTokens
from sqlalchemy_cmk.search.tokens.prefix import PrefixTokens
from sqlalchemy_cmk.search.tokens.ranges import RangeTokens, slots

__all__ = [
    "KEY_BYTES",
    "CompoundTokens",
    "ExactTokens",
    "NGramTokens",
    "OrderedTokens",
    "PrefixTokens",
    "RangeTokens",
    "index_info",
    "index_key",
    "slots",
]
