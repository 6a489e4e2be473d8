"""`cmk check`: what will happen, before anything is sealed."""

from tests.cli.conftest import Application


def test_it_reports_columns_and_lines_and_ends_with_1(app: Application) -> None:
    (app.folder / "queries.py").write_text("select(Patient).order_by(Patient.ssn)\n")
    done = app.run("check", "patients.clinic", "patients.ssn", "--source", str(app.folder))
    assert done.exit_code == 1, done.output
    assert "patients.clinic" in done.stdout and "queries.py:1: ORDER BY patients.ssn" in done.stdout
    assert "answered by index=[Ordered(" in done.stdout
    assert "2 columns" in done.stdout and "pytest --cmk-check" in done.stderr


def test_it_ends_with_0_where_nothing_stands_in_the_way(app: Application) -> None:
    (column,) = app.json("check", "patients.ssn", "--no-source")["columns"]
    assert column["column"] == "patients.ssn" and column["obstacles"] == []


def test_a_mistyped_column_is_named(app: Application) -> None:
    assert "did you mean patients.ssn" in app.run("check", "patients.snn").stderr
