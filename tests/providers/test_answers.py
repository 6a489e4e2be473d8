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
from sqlalchemy_cmk.providers.azure.answers import MENDS, Answer, refuse
from sqlalchemy_cmk.providers.azure.keys import NEEDED, VaultKey, refuse_unfit

KEK = "https://acme.vault.azure.net/keys/clinic-kek"
KEY = VaultKey("1", "RSA", 2048, NEEDED, True, None, None, "Recoverable")


def answer(status: int, code: str = "", inner: str = "") -> Answer:
    error: dict[str, object] = {"code": code, "message": "Caller: appid=0000, oid=1111"}
    return Answer(status, {"error": {**error, "innererror": {"code": inner}} if inner else error})


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (answer(401, "Unauthorized"), CredentialError),
        *((answer(403, "Forbidden", inner), KeyRevoked) for inner in MENDS if inner.startswith("Forbidden")),
        (answer(403, "Forbidden", "KeyDisabled"), KeyRevoked),
        (answer(403, "Forbidden", "SomethingNew"), KeyRevoked),
        (answer(403), KeyRevoked),
        (answer(404, "KeyNotFound"), KeyRevoked),
        (answer(409, "Conflict", "ObjectIsDeletedButRecoverable"), KeyRevoked),
        (answer(400, "BadParameter"), TamperedError),
        *((answer(status), KeyUnavailable) for status in (408, 429, 500, 502, 503, 504, 599)),
        (Answer(503, {}), KeyUnavailable),
        (Answer(403, {"error": "no object"}), KeyRevoked),
    ],
)
def test_an_answer_means_one_error_that_names_the_key(given: Answer, error: type[CmkError]) -> None:
    with pytest.raises(CmkError) as caught:
        refuse(given, KEK, "unwrapKey")
    assert type(caught.value) is error and KEK in str(caught.value) and str(given.status) in str(caught.value)
    assert "appid" not in str(caught.value)


def test_every_refusal_with_a_code_says_who_mends_it() -> None:
    for code, mend in MENDS.items():
        with pytest.raises(KeyRevoked, match="its owner") as caught:
            refuse(answer(403, "Forbidden", code), KEK, "unwrapKey")
        assert mend in str(caught.value)


@pytest.mark.parametrize(
    ("key", "mend"),
    [
        (replace(KEY, kty="EC"), "a KEK is RSA, RSA-HSM, or oct-HSM"),
        (replace(KEY, kty="oct"), "a KEK is RSA, RSA-HSM, or oct-HSM"),
        (replace(KEY, bits=1024), "make one of 2048 or more"),
        (replace(KEY, operations=frozenset({"sign"})), "lacks the operation unwrapKey and wrapKey: add it"),
        (replace(KEY, operations=frozenset({"unwrapKey"})), "lacks the operation wrapKey: add it"),
    ],
)
def test_a_key_that_cannot_be_a_kek_is_refused_with_the_mend(key: VaultKey, mend: str) -> None:
    refuse_unfit(KEY, KEK, 0)
    with pytest.raises(ConfigurationError, match=mend) as caught:
        refuse_unfit(key, KEK, 0)
    assert KEK in str(caught.value)
