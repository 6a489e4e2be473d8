"""What a vault's answers and a key's state mean, also those that no emulator gives."""

from dataclasses import replace

import pytest

from sqlalchemy_cmk import (
    CmkError,
    ConfigurationError,
    CredentialError,
    KeyRevoked,
    KeyUnavailable,
    TamperedError,
)
from sqlalchemy_cmk.providers.azure.answers import REMEDIES, Answer, refuse
from sqlalchemy_cmk.providers.azure.keys import NEEDED, VaultKey, refuse_unfit

KEK = "https://acme.vault.azure.net/keys/clinic-kek"
KEY = VaultKey("1", "RSA", 2048, NEEDED, True, None, None, "Recoverable", {})


def answer(status: int, code: str = "", inner: str = "") -> Answer:
    error: dict[str, object] = {"code": code, "message": "Caller: appid=0000, oid=1111"}
    return Answer(status, {"error": {**error, "innererror": {"code": inner}} if inner else error})


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (answer(401, "Unauthorized"), CredentialError),
        *(
            (answer(403, "Forbidden", inner), KeyRevoked)
            for inner in REMEDIES
            if inner.startswith("Forbidden")
        ),
        (answer(403, "Forbidden", "KeyDisabled"), KeyRevoked),
        (answer(403, "Forbidden", "SomethingNew"), KeyRevoked),
        (answer(403, "AccessDenied"), KeyRevoked),
        (answer(403), KeyUnavailable),
        (answer(403, "WafBlocked"), KeyUnavailable),
        (answer(403, "", "KeyDisabled"), KeyUnavailable),
        (answer(404, "ResourceNotFound"), KeyUnavailable),
        (answer(400, "InvalidRequest"), KeyUnavailable),
        (answer(401), KeyUnavailable),
        (answer(409, "Conflict"), KeyUnavailable),
        *(
            (answer(status, "Forbidden"), KeyUnavailable)
            for status in (200, 204, 302, 402, 405, 410, 418, 451)
        ),
        (answer(404, "KeyNotFound"), KeyRevoked),
        (answer(409, "Conflict", "ObjectIsDeletedButRecoverable"), KeyRevoked),
        (answer(400, "BadParameter"), TamperedError),
        *((answer(status), KeyUnavailable) for status in (408, 429, 500, 502, 503, 504, 599)),
        (Answer(503, {}), KeyUnavailable),
        (Answer(403, {"error": "no object"}), KeyUnavailable),
        (Answer(403, {"error": {"code": 403, "message": "Forbidden"}}), KeyUnavailable),
        (Answer(403, {"error": {"code": ["Forbidden"]}}), KeyUnavailable),
        (Answer(403, {"code": "Forbidden", "message": "Forbidden"}), KeyUnavailable),
        (Answer(404, {"error": {"code": "KeyNotFound\n"}}), KeyUnavailable),
    ],
)
def test_an_answer_means_one_error_that_names_the_key(given: Answer, error: type[CmkError]) -> None:
    with pytest.raises(CmkError) as caught:
        refuse(given, KEK, "unwrapKey")
    assert type(caught.value) is error and KEK in str(caught.value) and str(given.status) in str(caught.value)
    assert "appid" not in str(caught.value)


def test_the_inner_code_is_read_in_both_of_its_spellings() -> None:
    body = {"error": {"code": "Forbidden", "innerError": {"code": "KeyDisabled"}}}
    assert Answer(403, body).code == answer(403, "Forbidden", "KeyDisabled").code == "KeyDisabled"


def test_an_answer_does_not_show_what_was_unwrapped() -> None:
    given = Answer(200, {"value": "c2VjcmV0c2VjcmV0"})
    assert "c2VjcmV0" not in repr(given) + repr(given.value())


def test_every_refusal_with_a_code_says_who_mends_it() -> None:
    for code, remedy in REMEDIES.items():
        with pytest.raises(KeyRevoked, match="its owner") as caught:
            refuse(answer(403, "Forbidden", code), KEK, "unwrapKey")
        assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        (replace(KEY, kty="EC"), "make a KEK of type RSA, RSA-HSM, or oct-HSM"),
        (replace(KEY, kty="oct"), "make a KEK of type RSA, RSA-HSM, or oct-HSM"),
        (replace(KEY, bits=1024), "make one of 2048 or more"),
        (replace(KEY, operations=frozenset({"sign"})), "lacks the operation unwrapKey and wrapKey: add it"),
        (replace(KEY, operations=frozenset({"unwrapKey"})), "lacks the operation wrapKey: add it"),
    ],
)
def test_a_key_that_cannot_be_a_kek_is_refused_with_the_mend(key: VaultKey, remedy: str) -> None:
    refuse_unfit(KEY, KEK, 0)
    with pytest.raises(ConfigurationError, match=remedy) as caught:
        refuse_unfit(key, KEK, 0)
    assert KEK in str(caught.value)
