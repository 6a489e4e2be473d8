"""What makes tokens is kept for the DEKs in use, and leaves memory with them."""

import gc
from weakref import WeakSet

from sqlalchemy_cmk.columns.hot_tokens import MAX_HOT, HotTokens
from sqlalchemy_cmk.keys.model import OpenedDek, Proof, Purpose
from sqlalchemy_cmk.runtime.secret import Secret

made: "WeakSet[Made]" = WeakSet()


class Made:
    """In place of tokens."""

    def __init__(self, dek: OpenedDek) -> None:
        self.dek_id = dek.id
        made.add(self)


def dek(number: int) -> OpenedDek:
    proof = Proof(0.0, ("local:pmk", "1"), 1.0, 0.0)
    return OpenedDek(number.to_bytes(8), "acme", Purpose.SEARCH, Secret(bytes(32)), proof)


def test_it_is_made_once_for_a_dek_and_anew_for_one_that_was_opened_anew() -> None:
    hot, one = HotTokens(Made), dek(1)  # type: ignore[arg-type]
    first = hot.under(one)
    assert hot.under(one) is first
    again = dek(1)
    assert hot.under(again) is not first


def test_it_leaves_memory_with_its_dek() -> None:
    hot, one = HotTokens(Made), dek(1)  # type: ignore[arg-type]
    hot.under(one)
    del one
    gc.collect()
    assert not made


def test_only_so_many_are_kept() -> None:
    hot, deks = HotTokens(Made), [dek(number) for number in range(3 * MAX_HOT)]  # type: ignore[arg-type]
    for one in deks:
        assert hot.under(one).dek_id == one.id  # type: ignore[attr-defined]
    gc.collect()
    assert len(made) <= MAX_HOT
