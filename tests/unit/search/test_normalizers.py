"""Normalizers: which texts an index takes for equal, the same in every release of Python."""

import pickle
import runpy
import unicodedata
from copy import deepcopy
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqlalchemy_cmk import ConfigurationError, InvalidValue
from sqlalchemy_cmk.search.normalizers import (
    Normalizer,
    find_normalizer,
    fold,
    identity,
    normalizer_of,
    register_normalizer,
    unicode14,
)
from sqlalchemy_cmk.search.normalizers import base as registry

unhurried = settings(deadline=None)

ROOT = Path(__file__).parent.parent.parent.parent
# Every character that is neither in the planes 4 to 13, which are empty, nor for private use; some of those.
EVERY = [chr(one) for one in [*range(0x40000), *range(0xE0000, 0xE1000), *range(0x40000, 0x110000, 0x7FF)]]


@pytest.fixture(autouse=True)
def own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Müller", "MÜLLER"),
        ("Zoë", "Zoe\u0308"),
        ("straße", "STRASSE"),
        ("\uff21\uff22\uff11", "ab1"),
        ("ﬁn", "FIN"),
        ("ΟΔΟΣ", "οδος"),
        ("Ⓐ", "a"),
        ("\u1e9e", "ss"),
    ],
)
def test_fold_takes_texts_for_equal_that_differ_in_case_width_or_composition(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"), [("a", "ä"), ("I", "\u0131"), ("o", "ø"), ("a b", "ab"), (" a", "a")]
)
def test_fold_keeps_accents_and_spaces(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@unhurried
@given(st.text(st.characters(codec=None)) | st.text("aΐᾳ\u0345\u0323\u0308İẞ\u0378ﬃ\U0001fae8"))
def test_to_fold_again_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


def test_what_fold_makes_of_every_character_is_fixed() -> None:
    """Fails on a Python whose Unicode tables give another result for any of them."""
    # Nothing is composed across the end of a line.
    once = fold("\n".join(EVERY))
    assert once.count("\n") == len(EVERY)
    digest = sha256(once.encode(errors="surrogatepass")).hexdigest()
    assert digest == "57e33c6fb8f9672fa9895caf720b2651e107c52f4debc5c4cbea2e3c1a9b67b1"
    assert fold(once) == once


def test_a_character_that_unicode_14_did_not_assign_is_left_alone_and_divides_the_text() -> None:
    assigned_in_15_with_a_case = "\ua7dc"
    assert fold(assigned_in_15_with_a_case) == assigned_in_15_with_a_case
    for later in ("\u0378", "\U0001fae8"):
        assert fold(f"A{later}\u0308B") == f"a{later}\u0308b"
        assert fold(f"{later}A") == f"{later}a"
        assert fold(f"A{later}{later}") == f"a{later}{later}"


@pytest.mark.skipif(unicodedata.unidata_version != "14.0.0", reason="the table is of this version")
def test_the_table_is_that_of_unicode_14() -> None:
    made = runpy.run_path(str(ROOT / "tools/make_unicode_table.py"))["text"]()
    assert Path(unicode14.__file__).read_text(encoding="utf-8") == made


def test_the_table_holds_every_character_that_is_unassigned_today() -> None:
    """What a later version assigns is still in it, and what version 14.0 assigned never was."""
    left_alone = sum(
        int(last or first, 16) - int(first, 16) + 1
        for words in (unicode14.FIRST_PLANE, unicode14.OTHER_PLANES)
        for first, _, last in (word.partition("-") for word in words.split())
    )
    # 144,697 characters, 137,468 for private use, 65 controls and 2,048 surrogates are assigned.
    assert left_alone == 0x110000 - 144_697 - 137_468 - 65 - 2_048
    unassigned = [one for one in EVERY if unicodedata.category(one) == "Cn"]
    lines = "\n".join(f"A{one}\u0301" for one in unassigned)
    assert fold(lines) == lines.lower()


def test_identity_changes_nothing() -> None:
    assert identity("Zoë\u0308 ") == "Zoë\u0308 "
    assert normalizer_of(None) is identity


def test_a_normalizer_is_found_by_its_name() -> None:
    assert normalizer_of("fold") is fold is normalizer_of(fold) is find_normalizer("fold", 1)
    digits = register_normalizer("digits", 1, lambda text: "".join(filter(str.isdecimal, text)))
    assert normalizer_of("digits") is digits and digits("+41 44 123") == "4144123"
    assert (digits.identifier, fold.identifier, identity.identifier) == ("digits/1", "fold/1", "identity/1")
    newer = register_normalizer("digits", 10, str.strip)
    assert find_normalizer("digits") is newer and find_normalizer("digits", 1) is digits
    assert digits != newer


def test_a_normalizer_that_nobody_registered_is_an_error() -> None:
    for name, version, said in (("gone", None, "'gone'"), ("fold", 2, "'fold/2'")):
        with pytest.raises(ConfigurationError, match=f"{said}: call register_normalizer"):
            find_normalizer(name, version)


def test_a_name_and_version_stand_for_one_function() -> None:
    def trimmed(text: str) -> str:
        return text.strip()

    register_normalizer("trimmed", 1, trimmed)
    register_normalizer("trimmed", 1, trimmed)  # as a module that is imported again does
    with pytest.raises(ConfigurationError, match=r"trimmed/1 is another function.*version 2"):
        register_normalizer("trimmed", 1, lambda text: text)
    with pytest.raises(ConfigurationError, match="fold/1 is another function"):
        register_normalizer("fold", 1, str.casefold)
    register_normalizer("first", 1, lambda text: text[:1])
    with pytest.raises(ConfigurationError, match="another function"):
        register_normalizer("first", 1, lambda text: text[:2])


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("", 1),
        ("Fold", 1),
        ("a/1", 1),
        ("a b", 1),
        ("ä", 1),
        ("a" * 64, 1),
        ("a", 0),
        ("a", True),
        ("a", "1"),
    ],
)
def test_names_and_versions_have_a_form(name: str, version: int) -> None:
    with pytest.raises(ConfigurationError, match="register_normalizer"):
        register_normalizer(name, version, str.strip)


def test_a_bare_function_is_refused_with_what_to_write() -> None:
    with pytest.raises(ConfigurationError, match=r"str\.casefold differs.*write normalize=fold"):
        normalizer_of(str.casefold)
    with pytest.raises(ConfigurationError, match=r'write normalize=register_normalizer\("NAME", 1'):
        normalizer_of(lambda text: text)
    with pytest.raises(ConfigurationError, match="not int"):
        normalizer_of(7)
    with pytest.raises(ConfigurationError, match="not a function"):
        register_normalizer("nothing", 1, "strip")  # type: ignore[arg-type]


def test_an_error_of_a_normalizer_does_not_show_the_text() -> None:
    def failing(text: str) -> str:
        raise ValueError(text)

    for function in (failing, lambda text: None):
        with pytest.raises(InvalidValue, match="broken/1 does not take the text") as caught:
            Normalizer("broken", 1, function)("secret")  # type: ignore[arg-type]
        assert "secret" not in str(caught.value)
        assert caught.value.__cause__ is None and caught.value.__context__ is None


def test_a_normalizer_is_copied_and_pickled_by_its_name() -> None:
    for copy in (deepcopy(fold), pickle.loads(pickle.dumps(fold))):
        assert copy is fold
    assert repr(fold) == "Normalizer(name='fold', version=1)"


def test_only_the_librarys_own_functions_are_called_without_a_guard() -> None:
    assert fold.trusted is fold.function and identity.trusted is identity.function
    ours = register_normalizer("guarded", 1, lambda text: text)
    assert ours.trusted is ours
