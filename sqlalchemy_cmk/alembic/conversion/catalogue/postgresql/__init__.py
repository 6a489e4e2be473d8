"""PostgreSQL's catalogue, ``pg_depend`` above all: what DROP COLUMN takes along, and what it stops at."""

from __future__ import annotations

from sqlalchemy_cmk.alembic.conversion.catalogue.postgresql.columns import Columns
from sqlalchemy_cmk.alembic.conversion.catalogue.postgresql.dependents import Dependents
from sqlalchemy_cmk.alembic.conversion.catalogue.postgresql.indexes import indexes_restored
from sqlalchemy_cmk.alembic.conversion.catalogue.postgresql.statistics import statistics_restored
from sqlalchemy_cmk.alembic.conversion.catalogue.structure import Structure, Subject


def read(subject: Subject) -> Structure:
    """Return what comes back, and note what stands in the way."""
    columns = Columns(subject)
    dependents = Dependents(subject, columns)
    indexes, index_marks = indexes_restored(subject, dependents)
    statistics, statistics_marks = statistics_restored(subject, dependents)
    return Structure(
        nullable=columns.nullable,
        restored=(*columns.not_null, *indexes, *statistics),
        attributes=(*index_marks, *statistics_marks, *columns.attributes()),
    )
