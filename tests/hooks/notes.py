"""Models with row-bound columns, and what somebody who writes to the database does to their rows."""

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import JSON, ForeignKey, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from sqlalchemy_cmk import EncryptedType
from tests.support.vault import Vault


def bound(type_: Any = None, **options: Any) -> Any:
    return EncryptedType(type_ or String(60), row_bound=True, **options)


class Notes:
    """The models, on a vault's base."""

    def __init__(self, vault: Vault) -> None:
        class Note(vault.base):
            __tablename__ = "notes"
            __cmk_tenant__ = "clinic"
            id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
            clinic: Mapped[str] = mapped_column(String(20))
            title: Mapped[str | None] = mapped_column(String(20))
            text: Mapped[str | None] = mapped_column(bound())
            data: Mapped[Any | None] = mapped_column(bound(JSON))
            parent_id: Mapped[int | None] = mapped_column(ForeignKey("notes.id"))
            parent: Mapped["Note | None"] = relationship("Note", remote_side="Note.id")

        class Letter(vault.base):
            __tablename__ = "letters"
            __cmk_tenant__ = None
            key: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
            text: Mapped[str | None] = mapped_column(bound())

        class Visit(vault.base):
            __tablename__ = "visits"
            __cmk_tenant__ = "clinic"
            __cmk_row__ = ("public_id",)
            id: Mapped[int] = mapped_column(primary_key=True)
            public_id: Mapped[UUID] = mapped_column(unique=True, default=uuid4)
            clinic: Mapped[str] = mapped_column(String(20))
            title: Mapped[str | None] = mapped_column(String(20))
            text: Mapped[str | None] = mapped_column(bound())
            ssn: Mapped[str | None] = mapped_column(EncryptedType(String(20)))

        class Counted(vault.base):
            __tablename__ = "counted"
            __cmk_tenant__ = None
            id: Mapped[int] = mapped_column(primary_key=True)
            title: Mapped[str | None] = mapped_column(String(20))
            text: Mapped[str | None] = mapped_column(bound())

        class Entry(vault.base):
            __tablename__ = "entries"
            __cmk_tenant__ = None
            book: Mapped[str] = mapped_column(String(20), primary_key=True)
            line: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
            text: Mapped[str | None] = mapped_column(bound())

        self.vault = vault
        self.Note: Any = Note
        self.Letter: Any = Letter
        self.Visit: Any = Visit
        self.Counted: Any = Counted
        self.Entry: Any = Entry
        vault.create()
        vault.keyring.warm(
            ["", "acme", "globex"], new=True
        )  # SQLite has one writer: no key is made meanwhile

    @property
    def has_returning(self) -> bool:
        return self.vault.engine.dialect.name in ("sqlite", "postgresql")

    def fill(self) -> None:
        """Write notes 1 and 2 of acme and 3 of globex."""
        with self.vault.session() as session:
            session.add_all(
                [
                    self.Note(id=i, clinic=c, text=f"text {i}")
                    for i, c in ((1, "acme"), (2, "acme"), (3, "globex"))
                ]
            )
            session.commit()

    def run(self, statement: Any, params: Any = None) -> None:
        """Run one statement of the ORM in a transaction of its own."""
        with self.vault.session() as session:
            session.execute(statement, params)
            session.commit()

    def sql(self, statement: str) -> None:
        """Do what somebody does who can write to the database."""
        with self.vault.engine.begin() as connection:
            connection.execute(text(statement))

    def move(
        self, column: str = "text", table: str = "notes", to: str = "id = 1", source: str = "id = 2"
    ) -> None:
        """Copy a sealed value to another row."""
        value = f"SELECT x.{column} FROM (SELECT * FROM {table}) x WHERE {source}"
        self.sql(f"UPDATE {table} SET {column} = ({value}) WHERE {to}")

    def count(self, table: str) -> int:
        return int(self.vault.raw(f"SELECT count(*) FROM {table}")[0][0])
