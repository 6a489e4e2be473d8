"""How many bytes of a row each index takes on PostgreSQL: in the table, and in the database's own index."""

from collections.abc import Iterator

from sqlalchemy import text

from benchmarks.search.twins import Twins
from benchmarks.tenants.figure import Figure

# By hidden column. All names are of more than 12 characters: those of the longest tokens.
TARGETS = {"email_exact": 60, "born_range": 20, "name_prefix": 90, "name_ngram": 180}


def sizes(twins: Twins) -> Iterator[Figure]:
    """Yield the bytes of each index that there is."""
    for hidden, target in TARGETS.items():
        if twins.kind == "postgresql" and hidden in twins.Sealed.__table__.c:
            with twins.engine.begin() as connection:
                # Built anew, as pg_restore and op.create_sealed_index do: inserts leave pages a third empty.
                connection.execute(text(f"REINDEX INDEX ix_people_{hidden}"))
                taken = connection.execute(
                    text(
                        f"SELECT avg(pg_column_size({hidden})) + "
                        f"pg_relation_size('ix_people_{hidden}')::float / count(*) FROM people"
                    )
                ).scalar_one()
            yield Figure(f"bytes a row, {hidden}", target, float(taken))
