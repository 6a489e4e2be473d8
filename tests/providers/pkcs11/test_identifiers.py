"""RFC 7512 URIs as names of KEKs."""

import traceback

import pytest

from sqlalchemy_cmk import ConfigurationError
from sqlalchemy_cmk.providers import Pkcs11KeyProvider
from sqlalchemy_cmk.providers.pkcs11.identifiers import KekIdentifier, parse_identifier

SECRET = "471-secret-1"
WELL_FORMED = {
    "pkcs11:token=acme;object=clinic-kek": KekIdentifier((("token", "acme"),), "clinic-kek", None, None),
    "pkcs11:object=k;token=a%20b%3B%2F": KekIdentifier((("token", "a b;/"),), "k", None, None),
    "PKCS11:token=t;id=%01%ff": KekIdentifier((("token", "t"),), None, b"\x01\xff", None),
    "pkcs11:serial=00ff;object=k;type=private": KekIdentifier((("serial", "00ff"),), "k", None, "private"),
    "pkcs11:model=m;manufacturer=x;token=t;object=k": KekIdentifier(
        (("token", "t"), ("manufacturer", "x"), ("model", "m")), "k", None, None
    ),
    "pkcs11:token=Z%C3%BCrich;object=%E2%82%AC": KekIdentifier((("token", "Zürich"),), "€", None, None),
}
REFUSED = [
    "pkcs11:token=acme",
    "pkcs11:object=kek",
    "pkcs11:manufacturer=x;object=kek",
    "pkcs11:token=acme;object=",
    "pkcs11:token=acme;token=globex;object=kek",
    "pkcs11:token=acme;object=kek;type=cert",
    "pkcs11:slot-id=1;object=kek",
    "pkcs11:token=acme;object=kek;",
    "pkcs11:token=acme;object=%zz",
    "pkcs11:token=acme;object=%ff",
    f"pkcs11:token=acme;object=kek;pin-value={SECRET}",
    f"pkcs11:token=acme;object=kek?pin-value={SECRET}",
    f"PKCS11:token=acme;object=kek?pin-source=file:/{SECRET}",
    f"pkcs11:token=acme;object=kek?module-path=/{SECRET}.so",
    f"pkcs11:{SECRET}",
    f"pkcs11:token=acme;{SECRET}=1;object=kek",
]


@pytest.mark.parametrize("uri", WELL_FORMED)
def test_a_uri_names_a_token_and_a_key(uri: str) -> None:
    assert parse_identifier(uri) == WELL_FORMED[uri]


@pytest.mark.parametrize("uri", REFUSED)
def test_a_uri_that_names_none_or_carries_a_pin_is_refused_and_not_repeated(uri: str) -> None:
    provider = Pkcs11KeyProvider("/nowhere.so", pin="env:CMK_TEST_PIN")
    assert provider.handles(uri)
    for use in (provider.ensure, provider.newest_version, provider.check):
        with pytest.raises(ConfigurationError) as caught:
            use(uri)
        assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_provider_may_be_for_some_tokens_only() -> None:
    provider = Pkcs11KeyProvider("/nowhere.so", pin="env:CMK_TEST_PIN", tokens=["clinic-*", "acme"])
    uris = {label: f"pkcs11:token={label};object=kek" for label in ("acme", "clinic-7", "acme2", "other")}
    assert [label for label, uri in uris.items() if provider.handles(uri)] == ["acme", "clinic-7"]
