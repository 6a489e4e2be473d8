"""No statement of a grammar stores a plaintext, opens another tenant's value, or changes a plain result."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sqlalchemy_cmk import CmkError, tenant_scope
from sqlalchemy_cmk.format import is_header
from tests.dbapi.conftest import Clinic

SECRET = "secret of "
OWN = {
    "patients": ["id", "clinic", "ssn", "email", "title"],
    "notes": ["id", "text"],
    "places": ["id", "name"],
}
WRONG = ["ssn", "email", "text", "name", "*", "p.ssn", "p.*", "q.text", "NULL", "patients"]
SPELLED = {
    "patients": ["patients", "patients", "patients p", '"patients"', "main.patients p", "PATIENTS"],
    "notes": ["notes", "notes q", "[notes]"],
    "places": ["places", "places p"],
}
FORMS = ["{}"] * 6 + [
    "{} AS x",
    "({})",
    "UPPER({})",
    "COUNT({})",
    "MAX({})",
    "{} || 'x'",
    "COALESCE({}, ?)",
    "COALESCE(ssn, {})",
]
OTHER_VALUES = [f"'{SECRET}text'", "NULL", "1", "'acme'", "'globex'", "UPPER(?)", "ssn", "title"]
ORDERS = [""] * 4 + [" ORDER BY 1", " ORDER BY ssn", " GROUP BY email", " GROUP BY 1", " LIMIT 2"]
RETURNINGS = [""] * 4 + [" ON CONFLICT DO NOTHING", " RETURNING *", " RETURNING ssn, clinic"]

names = st.sampled_from(sorted(OWN))
values = st.one_of(st.just("?"), st.just("?"), st.sampled_from(OTHER_VALUES))


def spelled(name: str) -> st.SearchStrategy[str]:
    return st.sampled_from(SPELLED[name])


def columns(name: str) -> st.SearchStrategy[str]:
    return st.one_of(st.sampled_from(OWN[name]), st.sampled_from(OWN[name]), st.sampled_from(WRONG))


@st.composite
def criteria(draw: Any, name: str) -> str:
    column, other = columns(name), draw(names)
    one = st.one_of(
        st.builds("{} = {}".format, column, values),
        st.builds("{} IN ({}, {})".format, column, values, values),
        st.builds("{} IS NOT NULL".format, column),
        st.builds("{} LIKE {}".format, column, values),
        st.builds("EXISTS (SELECT {} FROM {})".format, columns(other), spelled(other)),
        st.just("clinic = 'acme'"),
        st.just("id < 3"),
    )
    parts = draw(st.lists(one, max_size=2))
    joined = draw(st.sampled_from([" AND ", " AND ", " OR "])).join(parts)
    return f" WHERE {joined}" if parts else ""


@st.composite
def selects(draw: Any, depth: int = 2) -> str:
    name = draw(names)
    terms = st.builds(str.format, st.sampled_from(FORMS), columns(name))
    listed = ", ".join(draw(st.lists(terms, min_size=1, max_size=3)))
    source = draw(spelled(name))
    which = draw(st.integers(0, 5)) if depth else 5
    if which == 0:
        source = f"({draw(selects(depth=depth - 1))}) AS p"
    elif which == 1:
        on = draw(st.sampled_from(["1 = 1", "p.id = q.id", "ssn = text"]))
        source = f"{source} JOIN {draw(spelled(draw(names)))} ON {on}"
    start = draw(st.sampled_from(["SELECT ", "SELECT ", "SELECT DISTINCT "]))
    found = f"{start}{listed} FROM {source}{draw(criteria(name))}{draw(st.sampled_from(ORDERS))}"
    if which == 2:
        found += f" UNION {draw(st.sampled_from(['', 'ALL ']))}{draw(selects(depth=0))}"
    if which == 3:
        name = draw(st.sampled_from(["patients", "p", "w"]))
        found = f"WITH {name} AS ({draw(selects(depth=0))}) {found}"
    return found


@st.composite
def inserts(draw: Any) -> str:
    name = draw(names)
    start = {"patients": ["id", "clinic"], "notes": ["id"], "places": ["id"]}[name]
    listed = start + draw(st.lists(columns(name), min_size=1, max_size=2))
    first = {"id": str(draw(st.integers(0, 9))), "clinic": draw(st.sampled_from(["'acme'", "?", "'globex'"]))}
    rows = [[first.get(one) or draw(values) for one in listed] for _ in range(draw(st.integers(1, 2)))]
    cells = ", ".join(f"({', '.join(row)})" for row in rows)
    source = draw(st.sampled_from([f"VALUES {cells}"] * 4 + [draw(selects(depth=0))]))
    head = draw(st.sampled_from(["INSERT INTO"] * 3 + ["INSERT OR IGNORE INTO", "REPLACE INTO"]))
    list_ = draw(st.sampled_from([f" ({', '.join(listed)})"] * 4 + [""]))
    return f"{head} {draw(spelled(name)).split()[0]}{list_} {source}{draw(st.sampled_from(RETURNINGS))}"


@st.composite
def updates(draw: Any) -> str:
    name = draw(names)
    assigned = st.builds("{} = {}".format, columns(name), values)
    listed = ", ".join(draw(st.lists(assigned, min_size=1, max_size=2)))
    ending = draw(st.sampled_from(["", "", " RETURNING *", " RETURNING ssn"]))
    return f"UPDATE {draw(spelled(name))} SET {listed}{draw(criteria(name))}{ending}"


@st.composite
def deletes(draw: Any) -> str:
    name = draw(names)
    return f"DELETE FROM {draw(spelled(name))}{draw(criteria(name))}"


statements = st.one_of(selects(), inserts(), updates(), deletes())


# How the grammar's SQLite is written elsewhere.
DIALECTS: dict[str, dict[str, str]] = {
    "sqlite": {},
    "postgresql": {"main.": "public.", "[notes]": '"notes"', "INSERT OR IGNORE": "INSERT"},
    "mariadb": {
        '"patients"': "`patients`",
        "[notes]": "`notes`",
        "INSERT OR IGNORE": "INSERT IGNORE",
        " ON CONFLICT DO NOTHING": "",
    },
}
EXAMPLES = {"sqlite": 200, "postgresql": 100, "mariadb": 100}


@pytest.fixture
def filled(clinic: Clinic) -> Clinic:
    cursor = clinic.wrapped().cursor()
    insert = clinic.mark("INSERT INTO patients (id, clinic, ssn, email, title) VALUES (?, ?, ?, ?, ?)")
    for number, tenant in enumerate(("acme", "acme", "globex")):
        cursor.execute(insert, (number, tenant, f"{SECRET}{tenant}", f"{SECRET}{tenant}", "title"))
    cursor.execute(clinic.mark("INSERT INTO notes (id, text) VALUES (1, ?)"), (f"{SECRET}nobody",))
    cursor.execute("INSERT INTO places (id, name) VALUES (1, 'here'), (2, 'there')")
    cursor.connection.commit()
    return clinic


def test_no_statement_leaks(filled: Clinic) -> None:
    engine = filled.vault.engine
    words = {**DIALECTS[engine.name]}
    if engine.name == "mariadb":
        words["main."] = f"{engine.url.database}."
    raw, wrapped = filled.connect(), filled.wrapped()
    stored = (
        "SELECT clinic, ssn FROM patients UNION ALL SELECT clinic, email FROM patients "
        "UNION ALL SELECT '', text FROM notes"
    )
    counts = {"run": 0}

    @settings(
        max_examples=EXAMPLES[engine.name],
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(statements, st.booleans())
    def run(written: str, scoped: bool) -> None:
        for word, other in words.items():
            written = written.replace(word, other)
        parameters = (f"{SECRET}parameter",) * written.count("?")
        statement = filled.mark(written)
        rows: list[Any] = []
        try:
            with tenant_scope("acme" if scoped else None):
                cursor = wrapped.cursor()
                cursor.execute(statement, parameters)
                rows = cursor.fetchall() if cursor.description else []
            counts["run"] += 1
        except (CmkError, engine.dialect.loaded_dbapi.Error):
            wrapped.rollback()  # PostgreSQL takes no other statement
        if scoped:
            assert not any(value == f"{SECRET}globex" for row in rows for value in row)
        look = wrapped._raw.cursor()
        look.execute(stored)
        for owner, value in look.fetchall():
            assert value is None or (isinstance(value, bytes) and is_header(value[:9])), statement
            assert value is None or filled.vault.owner(value) == owner, statement
        wrapped.rollback()
        if not any(name in statement.lower() for name in ("patients", "notes")):
            assert plain(raw, statement, parameters) == plain(wrapped, statement, parameters)

    run()
    assert counts["run"] > 0


def plain(connection: Any, statement: str, parameters: Any) -> Any:
    try:
        cursor = connection.cursor()
        cursor.execute(statement, parameters)
        return cursor.fetchall()
    except Exception as error:
        return str(error)
    finally:
        connection.rollback()
