"""Roles of PostgreSQL that are no superusers, for tests of what a role may see."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import create_engine, make_url, text

from tests.support.databases import Database


@contextmanager
def owner_of(database: Database) -> Iterator[str]:
    """The URL of a role that owns a database of PostgreSQL and its schema; both are given back at the end."""
    url, role = make_url(database.url), f"cmk_owner_{secrets.token_hex(6)}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")

    def run(*statements: str) -> None:
        with engine.connect() as connection:
            for one in statements:
                connection.execute(text(one))

    run(f"CREATE ROLE {role} LOGIN", f"ALTER DATABASE {url.database} OWNER TO {role}")
    run(f"GRANT ALL ON SCHEMA public TO {role}")
    try:
        yield url.set(username=role).render_as_string(hide_password=False)
    finally:
        run(f"REASSIGN OWNED BY {role} TO CURRENT_USER", f"DROP OWNED BY {role}", f"DROP ROLE {role}")
        engine.dispose()


def isolate(table: str, tenant_column: str) -> list[str]:
    """The statements that hide a table's rows by the usual policy, from its owner too."""
    return [
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY isolation ON {table} USING ({tenant_column} = current_setting('app.tenant', true))",
    ]
