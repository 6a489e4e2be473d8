"""`cmk audit`: the trail for people and programs, and whether it is whole."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Application
from tests.support.trails import authenticate, record_keys

WITHOUT_A_RECORD_KEY = """

keyed = keyring


def keyring():
    from tests.support.trails import authenticate

    made = keyed()
    authenticate(made, None)
    return made
"""


HUGE, SURROGATE = (
    f'{{"at": "{at}", "seq": {seq}, "hash": "{"0" * 64}", "epochs": {{}}, "key_id": "", "mac": ""}}'
    for at, seq in (("", 2**70), ("\\ud800", 1))
)


@pytest.fixture
def unkeyed(app: Application) -> Application:
    """The application with a trail that began without a record key."""
    app.execute("DELETE FROM cmk_audit_head")
    app.execute("DELETE FROM cmk_audit")
    app.keyring.close()
    app.keyring = app.models.keyring()
    authenticate(app.keyring, None)
    module = app.folder / "clinic_app.py"
    module.write_text(module.read_text() + WITHOUT_A_RECORD_KEY)
    for tenant in ("acme", "globex"):
        app.keyring.lifecycle.rotate_dek(tenant)
    return app


def noted(app: Application) -> Path:
    """Heads in a file, as somebody keeps them outside."""
    path = app.folder / "heads.json"
    path.write_text(app.run("audit", "heads").stdout)
    assert set(app.json("audit", "heads")) == {"at", "seq", "hash", "epochs", "key_id", "mac"}
    return path


def compared(app: Application, path: Path, code: int = 1) -> list[str]:
    found: list[str] = app.json("audit", "verify", "--heads", str(path), code=code)["problems"]
    return found


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


def test_a_trail_without_a_record_key_has_links_only(unkeyed: Application) -> None:
    verdict = unkeyed.json("audit", "verify")
    last = unkeyed.json("audit", "show")[-1]
    whole = {"rows": last["seq"], "head": last["hash"], "problems": []}
    assert verdict == {**whole, "authenticated": False}
    shown = unkeyed.run("audit", "verify")
    assert last["hash"] in shown.stdout and "every link holds" in shown.stdout
    assert "Without a record key" in shown.stderr


def test_under_a_record_key_every_mac_is_verified(app: Application) -> None:
    assert app.json("audit", "verify")["authenticated"]
    shown = app.run("audit", "verify")
    assert "every link and every MAC holds" in shown.stdout and shown.stderr == ""
    app.execute("UPDATE cmk_audit SET mac = '00' WHERE seq = 1")
    (problem,) = app.json("audit", "verify", code=1)["problems"]
    assert problem.startswith("row 1 was not authenticated")


def test_a_changed_row_is_found(app: Application) -> None:
    app.execute("UPDATE cmk_audit SET actor = 'nobody' WHERE seq = 2")
    assert app.json("audit", "verify", code=1)["problems"] == ["row 2 was changed"]
    result = app.run("audit", "verify")
    assert result.exit_code == 1 and "row 2 was changed" in result.stdout


def test_the_doctor_verifies_macs_and_links(app: Application) -> None:
    assert "every link and every MAC holds" in app.run("doctor").stdout
    app.execute("UPDATE cmk_audit_head SET mac = ''")
    result = app.run("doctor")
    assert result.exit_code == 1 and "the head of the trail is not authentic" in " ".join(
        result.stdout.split()
    )


def test_heads_say_where_the_trail_and_each_tenant_s_keys_stand(app: Application) -> None:
    heads = json.loads(noted(app).read_text())
    last = app.json("audit", "show")[-1]
    assert (heads["seq"], heads["hash"]) == (last["seq"], last["hash"])
    assert heads["epochs"] == dict(app.raw("SELECT tenant, epoch FROM cmk_tenants"))
    assert heads["key_id"] == record_keys(app.folder).current().id and len(heads["mac"]) == 64


def test_heads_hold_while_the_trail_goes_on(app: Application) -> None:
    path = noted(app)
    app.run("rotate-dek", "acme")
    assert compared(app, path, 0) == []
    shown = app.run("audit", "verify", "--heads", "-")
    assert shown.exit_code == 5 and "cmk audit heads" in shown.stderr


def test_an_old_copy_of_the_whole_database_is_found(app: Application) -> None:
    app.engine.dispose()
    app.keyring.close()
    database = app.folder / "database.sqlite"
    old = database.read_bytes()
    app.run("rotate-dek", "acme")
    path = noted(app)
    database.write_bytes(old)
    assert app.json("audit", "verify")["problems"] == []
    cut, older = compared(app, path)
    assert "cut back" in cut and older == "keys were put back to an older state: tenant 'acme'"


def test_a_tenant_that_vanished_is_found(app: Application) -> None:
    path = noted(app)
    app.execute("UPDATE cmk_deks SET tenant = 'acme', active_slot = NULL WHERE tenant = 'globex'")
    app.execute("DELETE FROM cmk_tenants WHERE tenant = 'globex'")
    by_the_trail, by_the_heads = compared(app, path)
    assert "tenant 'globex'" in by_the_trail and "nothing is left" in by_the_trail
    assert "tenant 'globex'" in by_the_heads and "holds nothing" in by_the_heads


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("seq", 1, "altered"),
        ("hash", "0" * 64, "altered"),
        ("at", "2020-01-01T00:00:00+00:00", "altered"),
        ("epochs", {}, "altered"),
        ("mac", "", "altered"),
        ("mac", "zz", "altered"),
        ("key_id", "0" * 16, "not known here"),
    ],
)
def test_heads_that_were_altered_are_found(app: Application, name: str, value: object, said: str) -> None:
    path = noted(app)
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    assert any(said in one for one in compared(app, path))


def test_heads_without_a_mac_are_no_proof_where_there_is_a_record_key(app: Application) -> None:
    path = noted(app)
    path.write_text(json.dumps({**json.loads(path.read_text()), "mac": "", "key_id": ""}))
    (problem,) = compared(app, path)
    assert "not authenticated" in problem


def test_heads_of_a_trail_without_a_record_key_compare_too(unkeyed: Application) -> None:
    path = noted(unkeyed)
    unkeyed.run("rotate-dek", "acme")
    assert compared(unkeyed, path, 0) == []
    unkeyed.execute("DELETE FROM cmk_audit")
    unkeyed.execute("DELETE FROM cmk_audit_head")
    unkeyed.execute("UPDATE cmk_tenants SET epoch = 0")
    assert any("noted" in one for one in compared(unkeyed, path))


def test_a_forged_end_is_not_put_into_heads(app: Application) -> None:
    app.execute("UPDATE cmk_audit_head SET mac = ''")
    result = app.run("audit", "heads")
    assert result.exit_code == 6 and result.stdout == "" and "cmk audit verify" in result.stderr


@pytest.mark.parametrize("text", ["", "abc", "[]", "{}", '{"seq": "1"}', HUGE, SURROGATE])
def test_what_is_no_heads_is_refused_and_not_quoted(app: Application, text: str) -> None:
    path = app.folder / "heads.json"
    path.write_text(text)
    result = app.run("audit", "verify", "--heads", str(path))
    assert result.exit_code == 5 and "these are not heads" in result.stderr
    assert app.run("audit", "verify", "--heads", str(app.folder / "missing")).exit_code == 2


def test_a_trail_that_began_without_a_record_key_is_adopted(unkeyed: Application) -> None:
    module = unkeyed.folder / "clinic_app.py"
    assert unkeyed.run("audit", "adopt", "--reason", "new").exit_code == 5
    module.write_text(module.read_text().replace(WITHOUT_A_RECORD_KEY, ""))
    assert unkeyed.json("audit", "verify", code=1)["problems"]
    assert "from row" in unkeyed.run("audit", "adopt", "--reason", "the record key is new").stdout
    assert unkeyed.json("audit", "verify")["problems"] == []
    last = unkeyed.json("audit", "show")[-1]
    assert (last["event"], last["detail"]) == ("trail_adopted", "the record key is new")


def test_an_export_of_ocsf_is_checked_without_the_database(app: Application) -> None:
    app.run("rotate-dek", "acme")
    exported = app.run("audit", "export", "--tenant", "acme", "--format", "ocsf").stdout
    assert {json.loads(line)["class_uid"] for line in exported.splitlines()} == {6003}
    path = app.folder / "acme.jsonl"
    path.write_text(exported)
    assert app.json("audit", "check-export", str(path))["problems"] == []
    path.write_text(exported.replace('"severity_id":1', '"severity_id":2', 1))
    assert len(app.json("audit", "check-export", str(path), code=1)["problems"]) == 1
