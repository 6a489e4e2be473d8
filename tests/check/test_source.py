"""Lines of source code that sealed columns would refuse, and SQL text that names them."""

import textwrap
from pathlib import Path

import pytest

from sqlalchemy_cmk import ConfigurationError, Keyring
from sqlalchemy_cmk.check import Use, subjects_of, uses_in

MODEL = """
class Patient(Base):
    __tablename__ = "patients"
"""


def found(keyring: Keyring, folder: Path, *lines: str) -> list[Use]:
    (folder / "models.py").write_text(MODEL)
    (folder / "queries.py").write_text("\n".join(textwrap.dedent(line) for line in lines))
    return uses_in([folder], subjects_of(keyring))


@pytest.mark.parametrize(
    ("line", "index"),
    [
        ("select(Patient).where(Patient.ssn.like('078%'))", "Prefix()"),
        ("select(Patient).where(models.Patient.ssn.ilike(f'%{part}%'))", "where the % stands"),
        ("select(Patient).where(Patient.ssn == ssn)", "deterministic=True"),
        ("select(Patient).where(ssn == Patient.ssn)", "deterministic=True"),
        ("select(Patient).where(Patient.ssn.in_(some))", "deterministic=True"),
        ("select(Patient).where(Patient.born > today)", "Range("),
        ("select(Patient).where(Patient.born.between(first, last))", "Range("),
        ("select(Patient).order_by(Patient.email)", "Ordered("),
        ("select(Patient).order_by(Patient.email.desc())", "Ordered("),
        ("select(func.lower(Patient.email))", "Exact(normalize=fold)"),
        ("select(func.max(patients.c.born))", "Ordered("),
        ("select(Patient.ssn + Patient.email)", None),
        ("select(func.count()).group_by(Patient.ssn)", "deterministic=True"),
        (
            "session.query(Patient).order_by(Patient.id).filter_by(ssn=ssn, phone='1', email='x')",
            "deterministic=True",
        ),
        ("select(Patient).where(col(Patient.ssn).startswith(part))", "Prefix()"),
    ],
)
def test_a_line_is_found_with_the_index_that_would_answer_it(
    plain: Keyring, tmp_path: Path, line: str, index: str | None
) -> None:
    (use,) = found(plain, tmp_path, "import models", line)
    assert (Path(use.place.file).name, use.place.line) == ("queries.py", 2)
    assert use.index == index or (index is not None and use.index is not None and index in use.index)


@pytest.mark.parametrize(
    "line",
    [
        "select(Patient).where(Patient.email == 'x', Patient.email.in_(some), Patient.ssn.is_(None))",
        "select(Patient.ssn).order_by(Patient.id).group_by(Patient.email)",
        "patient.ssn.startswith('078') and order_by(other.ssn)",
        "select(func.count(Patient.ssn)).where(Patient.phone.like('0%'))",
        "text('SELECT id, clinic FROM patients WHERE clinic = 1')",
        "'SELECT ssn FROM others'",
        "'SELECT count(*) FROM patients'",
        "log('ssn')",
    ],
)
def test_what_sealed_columns_answer_is_left_alone(plain: Keyring, tmp_path: Path, line: str) -> None:
    assert found(plain, tmp_path, line) == []


@pytest.mark.parametrize(
    "line",
    [
        "session.execute(text('SELECT p.ssn FROM patients p WHERE p.id = :id'))",
        "SQL = 'update patients set ssn = :ssn'",
        "connection.exec_driver_sql('INSERT INTO patients (id, ssn) VALUES (1, 2)')",
        "select(Patient).where(text('ssn LIKE :part'))",
        "'DELETE FROM patients WHERE lower(ssn) = %s'",
        "text('SELECT p.* FROM patients p')",
        "'SELECT id FROM `patients` WHERE `ssn` = %s'",
        "'SELECT id FROM patients WHERE ssn = %(ssn)s::VARCHAR'",
    ],
)
def test_sql_text_that_names_a_column_is_found(plain: Keyring, tmp_path: Path, line: str) -> None:
    assert any("SQL text names patients.ssn" in use.message for use in found(plain, tmp_path, line))


def test_aliases_are_followed_and_other_files_names_too(plain: Keyring, tmp_path: Path) -> None:
    lines = (
        "from models import Patient as P",
        "other = aliased(Patient)",
        "P.ssn.like('x')",
        "other.ssn < 1",
    )
    assert [use.place.line for use in found(plain, tmp_path, *lines)] == [3, 4]


def test_a_class_whose_declaration_does_not_name_its_table_is_known_from_the_models(
    plain: Keyring, tmp_path: Path
) -> None:
    """As those of Flask-SQLAlchemy and SQLModel, and those of files that are not among the sources."""
    (tmp_path / "queries.py").write_text("select(Patient).order_by(Patient.ssn)")
    assert [use.place.line for use in uses_in([tmp_path], subjects_of(plain))] == [1]


def test_virtual_environments_hidden_folders_and_broken_files_are_not_read(
    plain: Keyring, tmp_path: Path
) -> None:
    for folder in (".hidden", "venv", "app"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.py").write_text("select(Patient).order_by(Patient.ssn)")
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    (tmp_path / "app" / "broken.py").write_text("def (")
    (use,) = found(plain, tmp_path)
    assert use.place.file == str((tmp_path / "app" / "one.py").resolve())


def test_without_sqlglot_it_says_what_to_install(
    plain: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sqlglot", None)
    with pytest.raises(ConfigurationError, match="pip install"):
        found(plain, tmp_path, "'SELECT ssn FROM patients WHERE 1 = 1'")  # which no other test has read
