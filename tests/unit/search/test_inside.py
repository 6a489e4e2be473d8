"""What a folded text contains for certain, whatever stands around the needle in the text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqlalchemy_cmk.search import fold, identity, register_normalizer
from sqlalchemy_cmk.search.normalizers.inside import certain

# Letters and what composes with them: accents, Hangul, kana marks, ligatures, Turkish i, unassigned ones.
CHARACTERS = "aeE1 sqkI中がが가ᅡᆨ각ㅏㄱ"
CHARACTERS += "\u017f\u00df\u0130\u0131\ufb01\u0390\u03b9\uff9e"
CHARACTERS += "\u1100\u0149\ufdfa\u0301\u0308\u0323\u0345\u0307\u0327\u0378\U0001f600"
TEXTS = st.text(st.sampled_from(CHARACTERS) | st.characters(exclude_categories=["Cs"]), max_size=6)


@settings(max_examples=400, deadline=None)
@given(before=TEXTS, needle=TEXTS, behind=TEXTS)
def test_every_folded_text_with_the_needle_has_the_certain_part(
    before: str, needle: str, behind: str
) -> None:
    assert certain(needle, fold) in fold(before + needle + behind)  # type: ignore[operator]
    assert fold(needle + behind).startswith(certain(needle, fold, at_start=True))  # type: ignore[arg-type]
    assert fold(before + needle).endswith(certain(needle, fold, at_end=True))  # type: ignore[arg-type]
    assert certain(needle, fold, at_start=True, at_end=True) == fold(needle)


def test_each_character_of_the_first_plane_is_certain_where_it_is_said_to_be() -> None:
    # Of the rest, those that compose are near the letters of their scripts.
    for point in (
        *range(0xA0, 0x3400),
        *range(0xAC00, 0xAC40),
        *range(0xF900, 0xFFFE),
        *range(0x11080, 0x11A00),
    ):
        part = certain(chr(point), fold)
        for behind in "\u0301\u0323\u3099ᆨ" if part else ():
            assert part in fold(f"e{chr(point)}{behind}"), hex(point)


@pytest.mark.parametrize(
    ("needle", "found"),
    [("Cafe", "caf"), ("2024", "2024"), ("Ann 1", "ann 1"), ("中文", "中文"), ("e", ""), ("", "")],
)
def test_only_what_may_compose_is_left_out(needle: str, found: str) -> None:
    assert certain(needle, fold) == found


def test_other_normalizers_tell_nothing_but_identity_which_tells_all() -> None:
    assert certain("Cafe", identity) == "Cafe"
    assert certain("12", register_normalizer("inside_digits", 1, lambda text: text)) is None
