"""What depends on a column: see :class:`Structure`, and :func:`structure_of`, which reads it or refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module

from alembic.operations import Operations
from sqlalchemy import Connection, Dialect

from sqlalchemy_cmk.alembic.conversion.plan import Plan
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.databases.quoting import Quoting
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.runtime.printable import printable


@dataclass(frozen=True)
class Structure:
    """What has to be put back on the column that takes the place of another.

    Attributes:
        nullable: whether the column takes NULL.
        options: what its definition ends with.
        place: where it stands among the columns, where the database can place it.
        removed: what removes that which cannot stay while the column is replaced.
        restored: what puts it back; statements, or on MariaDB the clauses of one.
        attributes: statements that give the column its own attributes, comment and grants, and mark its
            indexes: what also a change of its type takes away.
    """

    nullable: bool = True
    options: str = ""
    place: str = ""
    removed: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subject:
    """The column whose dependents are read.

    Attributes:
        connection: the migration's.
        plan: the conversion.
        obstacles: what would not come back, each in words; the reader of the catalogue adds to them.
    """

    connection: Connection
    plan: Plan
    obstacles: list[str] = field(default_factory=list)

    def found(self, obstacles: Iterable[str]) -> None:
        """Add to what stands in the way."""
        self.obstacles.extend(obstacles)

    @property
    def dialect(self) -> Dialect:
        """The database's."""
        return self.connection.dialect

    @property
    def table(self) -> str:
        """The table's name, quoted."""
        return Quoting(self.dialect).table(self.plan.table, self.plan.schema)

    @property
    def is_plain(self) -> bool:
        """Whether the column holds plain values."""
        return not isinstance(self.plan.opens, EncryptedType)

    @property
    def type_before(self) -> str:
        """The column's type as the migration says it, in the database's words."""
        return Quoting(self.dialect).compiled(self.plan.opens)

    @property
    def type_after(self) -> str:
        """The type of what replaces it."""
        return Quoting(self.dialect).compiled(self.plan.seals)

    def default_obstacle(self, default: str | None) -> Iterator[str]:
        """Return whether the column's default would not come back when the column is opened again."""
        if default is not None and self.is_plain and self.plan.existing_default is None:
            yield f"its default is {default}, and the migration names none: write existing_server_default"

    def refuse(self) -> None:
        """Raise where something stands in the way.

        Raises:
            ConfigurationError: something does.
        """
        if self.obstacles:
            found = "; ".join(map(printable, dict.fromkeys(self.obstacles)))
            raise ConfigurationError(
                f"{self.plan.where} was not converted, and nothing has changed: {found}. Drop what stands in "
                "the way in a migration before this one, and create it again in one after it"
            )


Read = Callable[[Subject], Structure]


def structure_of(operations: Operations, plan: Plan) -> Structure:
    """Return what depends on a plan's column, once it is known that all of it comes back.

    Raises:
        ConfigurationError: something would not come back as it is; every such thing is named.
    """
    subject = Subject(operations.get_bind(), plan)
    read: Read = import_module(f"{__package__}.{database_of(subject.dialect).key}").read
    structure = read(subject)
    subject.refuse()
    return structure
