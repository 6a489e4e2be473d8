"""A column's options: what they may be, what follows from them, and how they are shown."""

import dataclasses
import pickle
from typing import Any

import pytest

from sqlalchemy_cmk import ConfigurationError
from sqlalchemy_cmk.columns.scheme import Scheme, context_named, name_of
from sqlalchemy_cmk.format import Context, Suite
from sqlalchemy_cmk.keys.model import Purpose

CONTEXTS: dict[Any, Context] = {
    "a name": Context.of_name("a name"),
    "patients.ssn": Context.of_name("patients.ssn"),
    ("patients", "ssn"): Context.of_column(None, "patients", "ssn"),
    ("ward", "patients", "ssn"): Context.of_column("ward", "patients", "ssn"),
}


def test_the_suite_and_the_purpose_follow_from_the_option() -> None:
    assert (Scheme().suite, Scheme().purpose) == (Suite.GCM, Purpose.RANDOMIZED)
    fixed = Scheme(deterministic=True)
    assert (fixed.suite, fixed.purpose) == (Suite.SIV, Purpose.DETERMINISTIC)


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_context_is_named_by_the_application_or_by_an_old_column(name: Any) -> None:
    assert context_named(name) == CONTEXTS[name]
    assert name_of(CONTEXTS[name]) == name
    assert Scheme(context=name).bound_to("other", "than", "this") == CONTEXTS[name]


def test_no_two_names_of_a_context_mean_the_same() -> None:
    assert len({context.data for context in CONTEXTS.values()}) == len(CONTEXTS)


@pytest.mark.parametrize("schema", [None, "ward"])
def test_without_a_context_values_are_bound_to_their_column(schema: str | None) -> None:
    context = Scheme().bound_to(schema, "patients", "ssn")
    assert context == Context.of_column(schema, "patients", "ssn")
    pinned = Scheme(row_bound=True).pinned(context)
    assert pinned == Scheme(row_bound=True, context=(*filter(None, (schema, "patients", "ssn")),))
    assert pinned.bound_to(None, "renamed", "too") == context


@pytest.mark.parametrize(
    "context",
    [
        "",
        (),
        ("ssn",),
        ("a", "b", "c", "d"),
        ("patients", None),
        ["patients", "ssn"],
        b"name",
        7,
        True,
        "x" * 70_000,
        ("patients", "x" * 70_000),
        "\ud800",
    ],
    ids=lambda one: repr(one)[:20],
)
def test_what_names_no_context_is_refused(context: Any) -> None:
    with pytest.raises(ConfigurationError, match="context is a name, or a tuple"):
        Scheme(context=context)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"deterministic": 1}, "deterministic is True or False"),
        ({"deterministic": "local:pmk"}, "Keyring"),
        ({"accept_plaintext": None}, "accept_plaintext is True or False"),
        ({"row_bound": "id"}, "row_bound is True or False"),
        ({"on_revoked": "null"}, '"raise" or "seal"'),
        ({"on_revoked": None}, '"raise" or "seal"'),
        ({"on_revoked": True}, '"raise" or "seal"'),
        ({"owner": "acme"}, '"row" or "platform"'),
        ({"owner": ""}, '"row" or "platform"'),
        ({"deterministic": True, "row_bound": True}, "choose one"),
    ],
    ids=lambda one: str(one)[:40],
)
def test_an_option_that_is_none_is_refused_and_its_value_is_not_shown(options: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        Scheme(**options)
    assert "local:pmk" not in str(caught.value)


def test_options_are_those_that_differ_from_their_defaults() -> None:
    assert Scheme().options() == {}
    given = {"context": ("patients", "ssn"), "on_revoked": "seal", "owner": "platform", "row_bound": True}
    assert Scheme(**given).options() == given
    assert Scheme(**Scheme(**given).options()) == Scheme(**given)
    every = {field.name for field in dataclasses.fields(Scheme)} - {"index"}
    assert every == {*given, "deterministic", "accept_plaintext", "accept_legacy"}


def test_a_scheme_is_a_value_that_cannot_change() -> None:
    one = Scheme(deterministic=True, context="x")
    assert one == Scheme(deterministic=True, context="x") == pickle.loads(pickle.dumps(one))
    assert len({one, Scheme(deterministic=True, context="x"), Scheme()}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.deterministic = False  # type: ignore[misc]
