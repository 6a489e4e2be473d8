"""An application, its database and the vaults of its tenants; its attacker acts from outside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, create_engine, text

from sqlalchemy_cmk import Keyring
from sqlalchemy_cmk.providers.owners import TENANT_TAG
from sqlalchemy_cmk.testing import KeyVaultEmulator, Vault
from tests.adversary.models import Base
from tests.adversary.running import Application, Reply
from tests.adversary.setting import Setting

KEK = "kek"
Row = dict[str, Any]
Copy = dict[str, list[Row]]

# All of Key Vault's cloud, as far as the emulator has addresses: also the vaults that attackers rent.
_NUMBERS = range(1000)
_names = count()


def host(vault: Vault) -> str:
    return vault.url.removeprefix("https://")


@dataclass(frozen=True)
class Tenant:
    """A clinic with a vault of its own."""

    name: str
    vault: Vault
    app: Application

    @property
    def kek_uri(self) -> str:
        return self.vault.key_uri(KEK)

    def add(self, **values: str) -> int:
        """Have the application write a patient."""
        return int(self.app.post(self.name, **values)["id"])

    def read(self, number: int, column: str = "name") -> Reply:
        """Have the application read a patient's value, in the clinic's scope."""
        return self.app.get(self.name, number, column)

    def says(self, number: int, column: str = "name") -> str | None:
        """The value that the application read."""
        value = self.read(number, column)["value"]
        return None if value is None else str(value)


class Town:
    """A running application.

    Args:
        database_url: an empty database.
        folder: an empty folder.
        emulator: the vaults.
        record_key: where the record key is.
        policy: whether the application says in code whose vault serves whom.

    Attributes:
        app: the application.
        setting: what its process knows.
        operator: a keyring of another process of the application's owner.
    """

    def __init__(
        self,
        database_url: str,
        folder: Path,
        emulator: KeyVaultEmulator,
        record_key: str = "",
        policy: bool = False,
    ) -> None:
        self.emulator = emulator
        platform = emulator.vault("platform")
        if not platform_has_key(platform):
            platform.create_key("pmk")
        self.platform = platform
        port = host(platform).rpartition(":")[2]
        hosts = [f"127.{number // 255}.{number % 255 + 1}.1" for number in _NUMBERS]
        login = {"client_id": emulator.app.client_id, "client_secret": emulator.app.secret}
        self.setting = Setting(
            database_url,
            str(folder),
            {"authority": emulator.authority, "tenant_id": emulator.tenant_id, **login},
            str(emulator.ca_file),
            [f"{one}:{port}" for one in hosts],
            platform.key_uri("pmk"),
            record_key,
            policy,
        )
        self._vaults: dict[str, list[str]] = {}
        self.setting.vaults_file.write_text("{}")
        self.engine = create_engine(database_url)
        self.operator = self.keyring()
        self._make_tables()
        self.app = Application(self.setting)

    def keyring(self, setting: Setting | None = None, **changes: Any) -> Keyring:
        """The keyring of another process of the application, or of somebody who has what the setting says."""
        return replace(setting or self.setting, **changes).keyring(self.engine, "the operator")

    def _make_tables(self) -> None:
        keyring = self.keyring()
        keyring.protect(Base)
        Base.metadata.create_all(self.engine)
        keyring.close()

    def close(self) -> None:
        self.app.stop()
        self.operator.close()
        self.engine.dispose()

    def tenant(self, name: str, own_key: bool = True) -> Tenant:
        """A new clinic; its name begins with this one."""
        name = f"{name}-{next(_names)}"
        vault = self.vault(name, name)
        tenant = Tenant(name, vault, self.app)
        self.allow(tenant, vault)
        if own_key:
            self.operator.assign(name, tenant.kek_uri)
        return tenant

    def vault(self, name: str, tenant: str) -> Vault:
        """A new vault with a KEK in it that says it is a tenant's; it may be an attacker's."""
        vault = self.emulator.vault(name)
        vault.create_key(KEK, tags={TENANT_TAG: tenant})
        return vault

    def allow(self, tenant: Tenant, *vaults: Vault) -> None:
        """Have the application's own list say that these vaults may serve a tenant."""
        self._vaults.setdefault(tenant.name, []).extend(host(vault) for vault in vaults)
        self.setting.vaults_file.write_text(json.dumps(self._vaults))

    def sql(self, statement: str, **values: Any) -> list[Row]:
        """Run SQL on the database as somebody who is not the application."""
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return [_plain(row) for row in result.mappings()] if result.returns_rows else []

    def insert(self, table: str, row: Row) -> None:
        names = ", ".join(row)
        self.sql(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{one}' for one in row)})", **row)

    def change(self, table: str, where: str, key: object, cells: Row) -> None:
        """Change cells of the rows that fit `where`, in which `:key` stands for the key."""
        assignments = ", ".join(f"{one} = :{one}_" for one in cells)
        values = {f"{name}_": value for name, value in cells.items()}
        self.sql(f"UPDATE {table} SET {assignments} WHERE {where}", key=key, **values)

    def stored(self, number: int, column: str = "name") -> Any:
        """What the database holds in a patient's column."""
        (row,) = self.sql(f"SELECT {column} AS value FROM patients WHERE id = :id", id=number)
        return row["value"]

    def store(self, number: int, value: Any, column: str = "name") -> None:
        self.sql(f"UPDATE patients SET {column} = :value WHERE id = :id", value=value, id=number)

    def deks(self, tenant: Tenant, purpose: str = "randomized") -> list[Row]:
        return self.sql(
            "SELECT * FROM cmk_deks WHERE tenant = :tenant AND purpose LIKE :purpose ORDER BY created_at, id",
            tenant=tenant.name,
            purpose=purpose,
        )

    def wrappings(self, tenant: Tenant, purpose: str = "%") -> list[Row]:
        return self.sql(
            "SELECT w.* FROM cmk_wrappings w JOIN cmk_deks d ON d.id = w.dek_id"
            " WHERE d.tenant = :tenant AND d.purpose LIKE :purpose ORDER BY d.created_at, d.id",
            tenant=tenant.name,
            purpose=purpose,
        )

    def copy(self) -> Copy:
        """A copy of every table."""
        return self.copy_of(*self.tables())

    def copy_of(self, *tables: str) -> Copy:
        return {one: self.sql(f"SELECT * FROM {one}") for one in tables}

    def put_back(self, copy: Mapping[str, list[Row]]) -> None:
        """Make the tables hold what a copy of them holds."""
        order = [one for one in self.tables() if one in copy]
        with self.engine.begin() as connection:
            for table in reversed(order):
                connection.execute(text(f"DELETE FROM {table}"))
            for table in order:
                for row in copy[table]:
                    names = ", ".join(row)
                    values = ", ".join(f":{one}" for one in row)
                    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)

    def database_files(self) -> list[Path]:
        """The files of an SQLite database: its journal too, where there is one."""
        path = Path(str(self.engine.url.database))
        return list(path.parent.glob(f"{path.name}*"))

    def tables(self) -> list[str]:
        """Every table, those that others refer to first."""
        metadata = MetaData()
        metadata.reflect(self.engine)
        return [table.name for table in metadata.sorted_tables]

    @contextmanager
    def away(self, vault: Vault) -> Iterator[None]:
        """For the block a vault is out of reach."""
        vault.faults.down()
        try:
            yield
        finally:
            vault.faults.clear()


def platform_has_key(vault: Vault) -> bool:
    try:
        return bool(vault.versions("pmk"))
    except Exception:  # the emulator's own error, which says that there is none
        return False


def _plain(row: Mapping[Any, Any]) -> Row:
    return {str(name): bytes(one) if isinstance(one, memoryview) else one for name, one in row.items()}
