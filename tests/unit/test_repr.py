"""What a debugger or a crash report shows of public objects: what they are, and no secret."""

from pathlib import Path
from typing import Any

from azure.identity import ClientSecretCredential
from sqlalchemy import create_engine

from sqlalchemy_cmk import Keyring
from sqlalchemy_cmk.keys import Webhook
from sqlalchemy_cmk.providers import AwsKmsProvider, AzureKeyVaultProvider, LocalKeyProvider, Secret
from sqlalchemy_cmk.testing import Principal

WORD = "correcthorsebatterystaple4711corr"


def test_public_objects_show_what_they_are_and_no_secret(tmp_path: Path) -> None:
    engine = create_engine(f"postgresql+psycopg://app:{WORD}@db.example/clinic")
    local = LocalKeyProvider(tmp_path / "keys.json")
    keyring = Keyring(
        engine, platform_key="local:pmk", providers=[local], record_key=lambda: WORD.encode()[:32]
    )
    credential = ClientSecretCredential("11111111-2222-3333-4444-555555555555", "clinic", WORD)
    shown: dict[str, Any] = {
        "db.example/clinic": keyring,
        "keys.json": local,
        "AzureKeyVaultProvider(ClientSecretCredential)": AzureKeyVaultProvider(credential),
        "of every account": AwsKmsProvider(),
        "secret of 33 bytes": Secret(WORD.encode()),
        "Webhook(name='acme'": Webhook("acme", "https://hooks.example/cmk", f"whsec_{WORD[:32]}"),
        "clinic-app": Principal("clinic-app", secret=WORD),
    }
    for what, one in shown.items():
        assert what in repr(one) and WORD[:32] not in repr(one) and "object at 0x" not in repr(one)
    keyring.close()
