"""A keyring from an application's settings; whatever is not understood is refused."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import create_engine

from sqlalchemy_cmk import ConfigurationError, KekNotAllowed, KekPolicy, Keyring, Webhook
from sqlalchemy_cmk.flask import CMK
from sqlalchemy_cmk.providers import LocalKeyProvider
from tests.flask.clinics import keyring
from tests.support.hsm import PIN
from tests.support.hsm.softhsm import SoftHsm

LOCAL = {"CMK_PLATFORM_KEY": "local:pmk", "CMK_LOCAL_KEYS": "keys.json"}


def made(folder: Path, config: dict[str, Any]) -> Keyring:
    """The keyring of an application with these settings."""
    app = Flask("app", instance_path=str(folder / "instance"))
    app.config.update(config)
    cmk = CMK(app, engine=create_engine("sqlite://"))
    with app.app_context():
        return cmk.keyring


def test_a_key_file_lies_in_the_instance_folder(tmp_path: Path) -> None:
    made(tmp_path, LOCAL).warm(["acme"], new=True)
    assert (tmp_path / "instance" / "keys.json").exists()


def test_a_key_file_may_lie_anywhere_or_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys.json"
    made(tmp_path, LOCAL | {"CMK_LOCAL_KEYS": str(file)}).warm(["acme"], new=True)
    monkeypatch.setenv("THE_KEYS", file.read_text())
    elsewhere = made(tmp_path, LOCAL | {"CMK_LOCAL_KEYS": "env:THE_KEYS"})
    assert elsewhere.provider_of("local:pmk").newest_version("local:pmk")
    assert not (tmp_path / "instance").exists()


def test_the_keyrings_own_options_are_settings(tmp_path: Path) -> None:
    found = made(
        tmp_path,
        LOCAL
        | {
            "CMK_REVALIDATE_AFTER": timedelta(minutes=1),
            "CMK_OUTAGE_GRACE": 0,
            "CMK_RETRY_AFTER": 3,
            "CMK_REVALIDATION_JITTER": 0.5,
            "CMK_REFRESH_AHEAD": False,
            "CMK_MAX_OPEN_KEYS": 7,
            "CMK_TABLE_PREFIX": "keys_",
            "CMK_READS_WITHOUT_TENANT": True,
            "CMK_RECORD_KEY": f"file:{tmp_path}/record-key",
            "CMK_CERTIFICATE_KEY": f"file:{tmp_path}/certificate.pem",
            "CMK_ACTOR": lambda: "somebody",
            "CMK_LOCK_CHECK": timedelta(seconds=1),
            "CMK_LOCK_GRACE": 60,
            "CMK_LOCK_NOTIFY": True,
            "CMK_REASON_FOR": ["shred"],
            "CMK_WEBHOOKS": [Webhook("siem", "https://siem.example", f"whsec_{'A' * 32}")],
        },
    )
    assert (found.revalidate_after, found.retry_after, found.table_prefix) == (60, 3, "keys_")
    assert found.engines.only().courier._sender._webhooks.any
    assert found.reads_without_tenant and found.record_keys is not None
    assert str(tmp_path / "certificate.pem") in repr(found.certificate_key)
    assert str(tmp_path / "record-key") in found.record_keys.origin


def test_settings_come_from_the_environment_as_flask_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**LOCAL, "CMK_RETRY_AFTER": "4", "CMK_READS_WITHOUT_TENANT": "false"}.items():
        monkeypatch.setenv(f"FLASK_{name}", value)
    app = Flask("app", instance_path=str(tmp_path))
    app.config.from_prefixed_env()
    cmk = CMK(app, engine=create_engine("sqlite://"))
    with app.app_context():
        assert cmk.keyring.retry_after == 4 and not cmk.keyring.reads_without_tenant


@pytest.mark.parametrize(
    "allowed",
    [
        {"acme": "local:acme"},
        KekPolicy({"acme": "local:acme"}, everyone=["local:pmk"]),
        lambda tenant, kek: kek in ("local:pmk", f"local:{tenant}"),
    ],
)
def test_whose_kek_may_serve_whom_is_a_setting(tmp_path: Path, allowed: Any) -> None:
    found = made(tmp_path, LOCAL | {"CMK_KEK_ALLOWED": allowed})
    found.assign("acme", "local:acme")
    found.warm(["globex"], new=True)
    with pytest.raises(KekNotAllowed):
        found.assign("globex", "local:acme")


def test_azure_is_configured_by_its_arguments(tmp_path: Path) -> None:
    pytest.importorskip("azure.identity")
    uri = "https://acme.vault.azure.net/keys/kek"
    found = made(tmp_path, LOCAL | {"CMK_AZURE": True, "CMK_TENANT_TAG": "customer"})
    assert type(found.provider_of(uri)).__name__ == "AzureKeyVaultProvider"
    assert "--tags customer=acme" in found.onboarding("acme", uri).instructions()
    theirs = "https://kv.example/keys/kek"
    options = {"credential_for": lambda url: None, "trusted_hosts": ["kv.example"]}
    assert made(tmp_path, {"CMK_PLATFORM_KEY": theirs, "CMK_AZURE": options}).provider_of(theirs)


def test_modules_of_hsms_are_configured_by_their_arguments(
    tmp_path: Path, softhsm: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_PIN", PIN)
    module = {"module": softhsm.module, "pin": "env:ACME_PIN", "profile": "softhsm", "make_keys": True}
    uri = "pkcs11:token=acme;object=flask"
    for modules in (module, [module]):
        found = made(tmp_path, LOCAL | {"CMK_PKCS11": modules})
        found.assign("acme", uri)
        assert [line.kek_uri for line in found.status(["acme"])] == [uri]


def test_other_providers_are_given_as_they_are(tmp_path: Path) -> None:
    provider = LocalKeyProvider(tmp_path / "keys.json")
    found = made(tmp_path, {"CMK_PLATFORM_KEY": "local:pmk", "CMK_PROVIDERS": [provider]})
    assert found.provider_of("local:pmk") is provider


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"CMK_OUTAGE_GRCE": 0}, "did you mean CMK_OUTAGE_GRACE?"),
        ({"CMK_COLOUR_OF_THE_BIKE_SHED": 0}, "the settings are CMK_PLATFORM_KEY"),
        ({"CMK_READS_WITHOUT_TENANT": "false"}, "CMK_READS_WITHOUT_TENANT is True or False, not 'false'"),
        ({"CMK_ERROR_PAGES": 0}, "CMK_ERROR_PAGES is True or False"),
        ({"CMK_MAX_OPEN_KEYS": "many"}, "CMK_MAX_OPEN_KEYS is a number"),
        ({"CMK_REVALIDATE_AFTER": "300"}, "revalidate_after is a duration"),
        ({"CMK_PLATFORM_KEY": None}, "set CMK_PLATFORM_KEY and where KEKs live"),
        ({"CMK_LOCAL_KEYS": None}, "CMK_LOCAL_KEYS, CMK_AZURE, CMK_PKCS11 or CMK_PROVIDERS"),
        ({"CMK_AZURE": "https://acme.vault.azure.net"}, "CMK_AZURE holds the arguments of AzureKeyVault"),
        ({"CMK_PKCS11": {"modul": "/x.so"}}, "CMK_PKCS11: .*'modul'"),
        ({"CMK_REPLICAS": {"reader": None}}, "CMK_REPLICAS names the bind key 'reader'"),
        ({"CMK_RECORD_KEY": "7" * 64}, "says where the record key is kept"),
    ],
)
def test_a_setting_that_is_not_understood_is_refused(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        made(tmp_path, LOCAL | changed)
    assert "7" * 64 not in str(caught.value)


def test_a_pin_in_the_settings_is_refused_and_not_shown(tmp_path: Path) -> None:
    pytest.importorskip("pkcs11")
    module = {"module": "/x.so", "pin": "the-pin-itself"}
    with pytest.raises(ConfigurationError) as caught:
        made(tmp_path, LOCAL | {"CMK_PKCS11": module})
    assert "the-pin-itself" not in str(caught.value)


def test_settings_beside_a_keyring_would_go_unread(tmp_path: Path) -> None:
    app = Flask("app")
    app.config["CMK_OUTAGE_GRACE"] = 0
    with pytest.raises(ConfigurationError, match="would not read CMK_OUTAGE_GRACE"):
        CMK(app, keyring(tmp_path), engine=create_engine("sqlite://"))
