"""`cmk audit`: the trail for people and programs, and whether it is whole."""

import pytest

from tests.cli.conftest import Application


def events(app: Application, *arguments: str) -> list[str]:
    return [row["event"] for row in app.json("audit", "show", *arguments)]


def test_the_trail_is_shown_in_order_with_everything_that_was_written(app: Application) -> None:
    app.run("rotate-dek", "acme")
    rows = app.json("audit", "show")
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert (rows[0]["event"], rows[0]["tenant"], rows[0]["kek_uri"]) == ("assign", "acme", "local:acme")
    assert rows[-1]["event"] == "rotate" and rows[-1]["previous"] == rows[-2]["hash"]


def test_the_trail_is_cut_to_a_tenant_and_to_its_end(app: Application) -> None:
    assert {row["tenant"] for row in app.json("audit", "show", "--tenant", "globex")} == {"globex"}
    app.run("rotate-dek", "acme")
    app.run("rotate-dek", "globex")
    assert events(app, "--last", "2") == ["rotate", "rotate"]
    assert events(app, "--last", "1", "--tenant", "acme") == ["rotate"]


def test_the_last_fifty_are_shown_unless_all_are_asked_for(app: Application) -> None:
    for _ in range(30):
        app.keyring.lifecycle.rotate_dek("acme")
        app.keyring.lifecycle.rotate_dek("globex")
    assert len(events(app)) == 50 and len(events(app, "--last", "0")) > 60


def test_people_read_a_table_that_fits_100_columns(app: Application) -> None:
    shown = app.run("audit", "show").stdout
    assert max(map(len, shown.splitlines())) <= 100
    line = next(one for one in shown.splitlines() if "assign" in one)
    assert "acme" in line and "local:acme" in line and "from local:acme" in line
    assert "holds no such event" in app.run("audit", "show", "--tenant", "nobody").stderr


def test_a_whole_trail_verifies_and_tells_its_head(app: Application) -> None:
    verdict = app.json("audit", "verify")
    last = app.json("audit", "show")[-1]
    assert verdict == {"rows": last["seq"], "head": last["hash"], "problems": []}
    shown = app.run("audit", "verify").stdout
    assert last["hash"] in shown and "every link holds" in shown


def test_a_changed_row_is_found(app: Application) -> None:
    app.execute("UPDATE cmk_audit SET actor = 'nobody' WHERE seq = 2")
    assert app.json("audit", "verify", code=1)["problems"] == ["row 2 was changed"]
    result = app.run("audit", "verify")
    assert result.exit_code == 1 and "row 2 was changed" in result.stdout


def test_a_head_that_was_noted_is_looked_for(app: Application) -> None:
    head = app.json("audit", "verify")["head"]
    app.run("rotate-dek", "acme")
    assert app.json("audit", "verify", "--noted", head.upper())["problems"] == []
    (problem,) = app.json("audit", "verify", "--noted", "0" * 63 + "1", code=1)["problems"]
    assert "noted earlier" in problem


@pytest.mark.parametrize("noted", ["abc", "g" * 64, "é" * 64])
def test_what_is_no_hash_is_wrong_usage(app: Application, noted: str) -> None:
    result = app.run("audit", "verify", "--noted", noted)
    assert result.exit_code == 2 and "64 hexadecimal" in result.stderr
