"""Which URIs are key identifiers in trusted vaults; every other one is refused before anything is sent."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlalchemy_cmk import ConfigurationError
from sqlalchemy_cmk.providers import AzureKeyVaultProvider, Wrapped
from sqlalchemy_cmk.providers.azure.hosts import AZURE_HOSTS
from sqlalchemy_cmk.providers.azure.identifiers import parse_identifier
from sqlalchemy_cmk.providers.uris import shown
from sqlalchemy_cmk.runtime.secret import Secret

VERSION = "0123456789abcdef" * 2
VAULT = "https://acme.vault.azure.net"
EMULATOR = "127.0.1.1:8443"
DEK = Secret(bytes(range(32)))

_looked_up: list[Any] = []
_watching = False


def _watch(event: str, arguments: Any) -> None:
    if _watching and event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        _looked_up.append(arguments)


sys.addaudithook(_watch)


@contextmanager
def nothing_is_sent() -> Iterator[None]:
    """Python itself tells of every name that is looked up and every connection that is begun."""
    global _watching
    _looked_up.clear()
    _watching = True
    try:
        yield
    finally:
        _watching = False
    assert _looked_up == []


class Untouched:
    """A credential that nobody may ask."""

    def get_token(self, *scopes: str, **options: Any) -> Any:
        pytest.fail("a token was asked for")


PROVIDER = AzureKeyVaultProvider(
    Untouched(), trusted_hosts=["kv.example", "*.corp.example", EMULATOR], retries=0
)


def refused(uri: str) -> None:
    with nothing_is_sent():
        assert not PROVIDER.handles(uri), uri
        wrapped = Wrapped(uri, VERSION, "RSA-OAEP-256", bytes(256))
        for use in (
            lambda: PROVIDER.wrap(uri, DEK),
            lambda: PROVIDER.unwrap(wrapped),
            lambda: PROVIDER.check(uri),
            lambda: PROVIDER.newest_version(uri),
            lambda: PROVIDER.check_wrapping(wrapped),
        ):
            with pytest.raises(ConfigurationError) as caught:
                use()
            assert str(caught.value).isprintable()


@pytest.mark.parametrize("host", [host.replace("*", "acme-2") for host in AZURE_HOSTS])
def test_the_vaults_of_azures_clouds_are_known(host: str) -> None:
    for uri in (f"https://{host}/keys/k", f"https://{host}/keys/K-1/{VERSION}", f"https://{host}:443/keys/k"):
        assert PROVIDER.handles(uri)
        key = parse_identifier(uri)
        assert key is not None and key.vault_url == f"https://{host}"


def test_hosts_that_the_application_names_are_known_as_they_are_named() -> None:
    for known in ("kv.example", "a.corp.example", EMULATOR):
        assert PROVIDER.handles(f"https://{known}/keys/k")
    for unknown in (
        "a.kv.example",
        "corp.example",
        "a.b.corp.example",
        "kv.example:8443",
        "127.0.1.1",
        "127.0.1.1:8444",
        "127.0.1.2:8443",
        "kv.example.evil.example",
    ):
        refused(f"https://{unknown}/keys/k")


@pytest.mark.parametrize(
    "uri",
    [
        r"https://evil.example\.vault.azure.net/keys/k",
        r"https://evil.example\@acme.vault.azure.net/keys/k",
        r"https:\\acme.vault.azure.net\keys\k",
        "https://evil.example%2f.vault.azure.net/keys/k",
        "https://evil.example%00.vault.azure.net/keys/k",
        "https://evil.example#.vault.azure.net/keys/k",
        "https://evil.example?.vault.azure.net/keys/k",
        "https://evil.example;.vault.azure.net/keys/k",
        "https://evil.example/.vault.azure.net/keys/k",
        "https://evil.example:443@acme.vault.azure.net/keys/k",
        "https://user:password@acme.vault.azure.net/keys/k",
        "https://acme.vault.azure.net.evil.example/keys/k",
        "https://acme.vault.azure.net@evil.example/keys/k",
        "https://evilvault.azure.net/keys/k",
        "https://.vault.azure.net/keys/k",
        "https://vault.azure.net/keys/k",
        "https://*.vault.azure.net/keys/k",
        "https://a.b.vault.azure.net/keys/k",
        "https://-a.vault.azure.net/keys/k",
        "https://a-.vault.azure.net/keys/k",
        "https://a_b.vault.azure.net/keys/k",
        "https://xn--80ak6aa92e.vault.azure.net/keys/k",
        "https://\u0430cme.vault.azure.net/keys/k",
        "https://acme\u3002vault.azure.net/keys/k",
        "https://acme.vault.azure.net\u3002/keys/k",
        "https://Acme.vault.azure.net/keys/k",
        "https://acme.vault.azure.NET/keys/k",
        "HTTPS://acme.vault.azure.net/keys/k",
        "http://acme.vault.azure.net/keys/k",
        "https:acme.vault.azure.net/keys/k",
        "https:///acme.vault.azure.net/keys/k",
        "https://acme.vault.azure.net./keys/k",
        f"https://{'a' * 64}.vault.azure.net/keys/k",
        f"{VAULT}:80/keys/k",
        f"{VAULT}:8443/keys/k",
        f"{VAULT}:0443/keys/k",
        f"{VAULT}:/keys/k",
        f"{VAULT}:99999/keys/k",
        f"{VAULT}:\uff14\uff14\uff13/keys/k",
        "https://[::1]/keys/k",
        "https://0x7f000101:8443/keys/k",
        "https://2130706689:8443/keys/k",
        "https://127.0.1.1:08443/keys/k",
        "https://127.0.1.01:8443/keys/k",
        f"{VAULT}/keys",
        f"{VAULT}/keys/",
        f"{VAULT}/keys/k/",
        f"{VAULT}//keys/k",
        f"{VAULT}/keys//k",
        f"{VAULT}/Keys/k",
        f"{VAULT}/secrets/k",
        f"{VAULT}/keys/../secrets/k",
        f"{VAULT}/keys/..",
        f"{VAULT}/keys/k%2f..",
        f"{VAULT}/keys/k k",
        f"{VAULT}/keys/k;x=1",
        f"{VAULT}/keys/k?x=1",
        f"{VAULT}/keys/k#x",
        f"{VAULT}/keys/k\n",
        f"{VAULT}/keys/k\x00",
        f" {VAULT}/keys/k",
        f"\ufeff{VAULT}/keys/k",
        f"{VAULT}/keys/{'k' * 128}",
        f"{VAULT}/keys/k/1",
        f"{VAULT}/keys/k/{VERSION.upper()}",
        f"{VAULT}/keys/k/{VERSION}0",
        f"{VAULT}/keys/k/{VERSION}/decrypt",
        "",
    ],
)
def test_what_only_looks_like_a_key_identifier_is_refused(uri: str) -> None:
    refused(uri)


FOREIGN = st.characters(
    exclude_characters="abcdefghijklmnopqrstuvwxyz0123456789-./:ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)
TRICKS = st.sampled_from(
    [
        "\\",
        "%2f",
        "%5c",
        "%2e",
        "%00",
        "@",
        ":@",
        "?",
        "#",
        ";",
        "*",
        " ",
        "\t",
        "\r\n",
        "//",
        "/../",
        "/./",
        "..",
        ":1",
    ]
)


@st.composite
def near_misses(draw: st.DrawFn) -> str:
    """A key identifier with something in it that no key identifier has."""
    host = draw(st.sampled_from(["acme.vault.azure.net", "kv.example", "x.corp.example", EMULATOR]))
    uri = f"https://{host}/keys/clinic-kek" + draw(st.sampled_from(["", f"/{VERSION}"]))
    place = draw(st.integers(0, len(uri)))
    return uri[:place] + draw(st.one_of(TRICKS, FOREIGN)) + uri[place:]


@st.composite
def foreign_hosts(draw: st.DrawFn) -> str:
    """A well-formed identifier in a host that is near to a trusted one."""
    trusted = draw(st.sampled_from(["acme.vault.azure.net", "kv.example", "x.corp.example"]))
    label = draw(st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True))
    port = draw(st.integers(1, 65535).filter(lambda one: one != 443))
    made = [f"{label}.{trusted}", f"{trusted}.{label}", f"{trusted}{label}", f"{trusted}:{port}"]
    host = draw(st.sampled_from([*made, trusted.replace(".", label), f"{label}.evil.example"]))
    return f"https://{host}/keys/clinic-kek"


@given(near_misses())
def test_a_near_miss_is_not_handled_and_goes_nowhere(uri: str) -> None:
    refused(uri)


@given(foreign_hosts())
def test_a_host_near_to_a_trusted_one_is_not_handled_and_goes_nowhere(uri: str) -> None:
    refused(uri)


@given(st.text())
def test_any_text_is_refused_or_parsed_to_itself(text: str) -> None:
    key = parse_identifier(text)
    assert key is None or text in (
        f"{key.vault_url}/{key.at(key.version)}",
        f"{key.vault_url}/{key.at()}"[:-1],
    )


@pytest.mark.parametrize(
    "entry",
    [
        "127.*",
        "*",
        "*.net",
        "*.*.example",
        "a.*.example",
        "*vault.example",
        "*.0.0.1",
        "*.vault.example:8443",
        "Vault.example",
        "vault.example.",
        "vault.example:0",
        "vault.example:x",
        "https://vault.example",
        "vault.example/keys",
        "user@vault.example",
        "xn--80ak6aa92e.example",
        "vault.example\n",
        "",
        443,
        None,
    ],
)
def test_a_trusted_host_is_named_exactly(entry: Any) -> None:
    with pytest.raises(ConfigurationError, match="trusted_hosts") as caught:
        AzureKeyVaultProvider(Untouched(), trusted_hosts=[entry])
    assert "vault.example:8443" in str(caught.value) and str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "kept", "hidden"),
    [
        ("https://user:hunter2@acme.vault.azure.net/keys/k", "acme.vault.azure.net", "hunter2"),
        ("https://acme.vault.azure.net/keys/k?sig=hunter2", "acme.vault.azure.net", "hunter2"),
        ("https://acme.vault.azure.net/keys/k#hunter2", "acme.vault.azure.net", "hunter2"),
        ("pkcs11:token=T;pin-value=hunter2", "pkcs11:token=T", "hunter2"),
        ("acme\n\x1b[31mkeys", "acme", "\n"),
    ],
)
def test_a_refused_uri_is_shown_without_what_may_be_a_password(text: str, kept: str, hidden: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        PROVIDER.wrap(text, DEK)
    assert kept in str(caught.value) and hidden not in str(caught.value)
    assert len(shown("x" * 10_000)) < 300
