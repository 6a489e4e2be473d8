"""People and their accounts, with columns sealed in every way, for tests of what may be asked of them."""

from typing import Any

import pytest
from sqlalchemy import String
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType
from tests.support.vault import Vault


def sealed(**options: Any) -> Any:
    return mapped_column(EncryptedType(String(40), **options), nullable=True)


def declare(vault: Vault) -> Any:
    """Declare the models, and fill their tables with rows of acme's."""

    class Person(vault.base):
        __tablename__ = "people"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
        clinic: Mapped[str] = mapped_column(String(40))
        name: Mapped[str | None] = mapped_column(String(40))
        secret: Mapped[str | None] = sealed()
        other: Mapped[str | None] = sealed()
        bound: Mapped[str | None] = sealed(row_bound=True)
        email: Mapped[str | None] = sealed(deterministic=True, context="email")
        second: Mapped[str | None] = sealed(deterministic=True, context="email")
        city: Mapped[str | None] = sealed(deterministic=True)
        login: Mapped[str | None] = sealed(deterministic=True, context="email", owner="platform")
        mixed: Mapped[str | None] = sealed(context="email")

    class Account(vault.base):
        __tablename__ = "accounts"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
        clinic: Mapped[str] = mapped_column(String(40))
        email: Mapped[str | None] = sealed(deterministic=True, context="email")
        note: Mapped[str | None] = sealed(context="note")
        memo: Mapped[str | None] = sealed(context="note")

    Person.account = Account
    vault.create()
    with vault.session() as session:
        for n, who in enumerate(("ann", "bob")):
            session.add(
                Person(
                    id=n,
                    clinic="acme",
                    name=who,
                    secret=f"secret of {who}",
                    bound=f"bound to {who}",
                    email=f"{who}@x",
                    second="bob@x",
                    city="Bern",
                    login=f"{who}@x",
                )
            )
        session.add(Account(id=0, clinic="acme", email="bob@x", note=None, memo="memo"))
        session.commit()
    return Person


def distinct_on(statement: Any, *columns: Any) -> Any:
    """Return a SELECT DISTINCT ON, as each release of SQLAlchemy has it."""
    clause = getattr(postgresql, "distinct_on", None)
    return statement.distinct(*columns) if clause is None else statement.ext(clause(*columns))


@pytest.fixture
def people(vault: Vault) -> Any:
    return declare(vault)
