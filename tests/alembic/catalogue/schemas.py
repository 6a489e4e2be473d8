"""A database's schema as text, with what belongs to this library left out."""

import re
import subprocess
from collections.abc import Callable

from sqlalchemy import Engine, text

from tests.support.servers import postgresql_programs


def schema_of(engine: Engine) -> list[str]:
    """Every line of the schema, in an order that does not depend on the order of columns."""
    return sorted(line.strip().rstrip(",") for line in DUMPS[engine.dialect.name](engine) if line.strip())


def _postgresql(engine: Engine) -> list[str]:
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    command = [str(postgresql_programs() / "pg_dump"), "--schema-only", "--exclude-table=cmk_*", url]
    dumped = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in dumped if not line.startswith(("--", "\\"))]


def _mariadb(engine: Engine) -> list[str]:
    columns = text(
        "SELECT table_name, ordinal_position, column_name, column_type, is_nullable, extra, column_comment, "
        "privileges FROM information_schema.columns WHERE table_schema = database()"
    )
    with engine.connect() as connection:
        lines = [repr(tuple(row)) for row in connection.execute(columns) if not row[0].startswith("cmk_")]
        for name, kind in connection.execute(text("SHOW FULL TABLES")).all():
            if not name.startswith("cmk_"):
                what = "VIEW" if kind == "VIEW" else "TABLE"
                lines += connection.exec_driver_sql(f"SHOW CREATE {what} `{name}`").one()[1].splitlines()
        lines += [repr(tuple(row)) for row in connection.exec_driver_sql("SHOW TRIGGERS")]
    return [re.sub(r"AUTO_INCREMENT=\d+ ", "", line) for line in lines]


def _sqlite(engine: Engine) -> list[str]:
    query = "SELECT sql FROM sqlite_master WHERE tbl_name NOT LIKE 'cmk_%' AND sql IS NOT NULL"
    with engine.connect() as connection:
        return [str(one) for one in connection.exec_driver_sql(query).scalars()]


DUMPS: dict[str, Callable[[Engine], list[str]]] = {
    "postgresql": _postgresql,
    "mysql": _mariadb,
    "mariadb": _mariadb,
    "sqlite": _sqlite,
}
