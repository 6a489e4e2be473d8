"""`cmk status`: what a person sees at a glance, and what a program reads."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.conftest import Application
from tests.support.keys import adopt

VAULT = "https://acme-production.vault.azure.net/keys/clinic-kek"
VERSION = "5f0c12ab5f0c12ab5f0c12ab5f0c12ab"


def test_every_tenant_is_listed_with_its_key(app: Application) -> None:
    acme, globex = app.json("status")["tenants"]
    assert (acme["tenant"], acme["owner"], acme["kek_uri"]) == ("acme", "customer", "local:acme")
    assert (globex["tenant"], globex["owner"], globex["kek_uri"]) == ("globex", "platform", "local:pmk")
    assert acme["deks"] == {"active": 2, "retired": 0} and acme["state"] == "ok"
    assert acme["keks"] == [
        {"kek_uri": "local:acme", "versions": [app.provider.newest_version("local:acme")]}
    ]
    assert abs(datetime.now(UTC) - datetime.fromisoformat(acme["state_since"])) < timedelta(minutes=5)


def test_the_table_shows_the_same(app: Application) -> None:
    app.run("rotate-dek", "acme")
    shown = app.run("status").stdout
    line = next(one for one in shown.splitlines() if one.strip().startswith("acme"))
    version = app.provider.newest_version("local:acme")
    assert line.split()[:5] == ["acme", "customer", "local:acme", version[:8], "2/1"]
    assert "2 tenants: 2 ok" in shown


def test_the_platforms_own_tenant_is_named(app: Application) -> None:
    app.keyring.warm([""])
    assert "(platform)" in app.run("status").stdout
    assert app.status("")["owner"] == "platform"


def test_status_is_filtered_by_tenant_and_by_state(app: Application) -> None:
    app.run("shred", "globex", "--confirm", "globex")
    assert [line["tenant"] for line in app.json("status", "--tenant", "acme")["tenants"]] == ["acme"]
    assert [line["tenant"] for line in app.json("status", "--state", "shredded")["tenants"]] == ["globex"]
    assert app.json("status", "--tenant", "acme", "--state", "shredded")["tenants"] == []
    assert app.run("status", "--state", "lost").exit_code == 2


def test_tenants_are_shown_page_by_page_and_counted_in_the_database(app: Application) -> None:
    app.keyring.warm(["hooli"], new=True)
    first = app.json("status", "--limit", "2")
    assert [line["tenant"] for line in first["tenants"]] == ["acme", "globex"]
    assert (first["states"], first["verified"], first["next"]) == ({"ok": 3}, False, "globex")
    last = app.json("status", "--limit", "2", "--after", "globex")
    assert [line["tenant"] for line in last["tenants"]] == ["hooli"]
    assert (last["states"], last["verified"], last["next"]) == ({"ok": 3}, False, None)
    whole = app.json("status", "--limit", "0")
    assert len(whole["tenants"]) == 3 and whole["verified"] and whole["next"] is None
    shown = app.run("status", "--limit", "1", "--kek", "local:pmk").stdout
    assert "1 of 2 tenants; 2 ok, as stored" in shown and "more: --after globex" in shown


def test_only_the_keks_of_the_page_are_asked(app: Application) -> None:
    app.provider.disable("local:pmk")
    assert app.json("status", "--limit", "1")["states"] == {"ok": 2}
    assert app.json("status", "--state", "revoked")["tenants"] == []
    assert app.json("status")["states"] == {"ok": 1, "revoked": 1}
    app.provider.enable("local:pmk")
    assert app.json("status", "--state", "revoked", "--stored")["states"] == {"revoked": 1}
    assert app.json("status", "--state", "revoked")["tenants"] == []  # it opens again


def test_a_revoked_tenant_is_shown_with_the_reason_and_is_no_error(app: Application) -> None:
    app.provider.disable("local:acme")
    result = app.run("status")
    assert result.exit_code == 0 and "1 ok, 1 revoked" in result.stdout
    assert "revoked for" in result.stdout and "disabled" in result.stdout
    assert "is disabled" in app.status("acme")["reason"]


def test_a_kek_version_that_is_gone_is_named_though_the_kek_serves(app: Application) -> None:
    old = app.provider.newest_version("local:acme")
    app.provider.rotate("local:acme")
    held = json.loads((app.folder / "keys.json").read_text())
    held["keks"]["acme"]["versions"] = held["keks"]["acme"]["versions"][1:]
    (app.folder / "keys.json").write_text(json.dumps(held))
    acme, globex = app.json("status")["tenants"]
    (failure,) = acme["failures"]
    assert (failure["kek_uri"], failure["version"], failure["error"]) == ("local:acme", old, "KeyRevoked")
    assert acme["state"] == "revoked" and old in acme["reason"] and globex["failures"] == []
    assert f"version {old}" in " ".join(app.run("status").stdout.split())


def test_a_kek_that_is_out_of_reach_is_named_and_is_no_error(app: Application) -> None:
    (app.folder / "keys.json").unlink()
    acme, globex = app.json("status")["tenants"]
    assert {one["error"] for one in acme["failures"] + globex["failures"]} == {"KeyUnavailable"}
    assert acme["state"] == "ok" and "does not unwrap" in app.run("status").stdout


def test_stored_asks_no_kek(app: Application) -> None:
    (app.folder / "keys.json").unlink()
    acme, globex = app.json("status", "--stored")["tenants"]
    assert acme["state"] == globex["state"] == "ok" and "failures" not in acme and "newest" not in acme
    assert "does not unwrap" not in app.run("status", "--stored").stdout
    assert app.run("status", "--stored", "--newest").exit_code == 2


def test_newest_marks_who_needs_a_rewrap(app: Application) -> None:
    before = app.provider.newest_version("local:acme")
    app.provider.rotate("local:acme")
    after = app.provider.newest_version("local:acme")
    acme, globex = app.json("status", "--newest")["tenants"]
    assert acme["needs_rewrap"] is True and acme["newest"] == {"local:acme": after}
    assert globex["needs_rewrap"] is False
    shown = app.run("status", "--newest").stdout
    assert before[:8] in shown and after[:8] in shown
    assert shown.count("needs a rewrap") == 1 and "1 to rewrap" in shown


def test_newest_shows_a_question_mark_for_a_kek_that_cannot_tell(app: Application) -> None:
    app.provider.disable("local:acme")
    acme, globex = app.json("status", "--newest")["tenants"]
    assert acme["newest"] == {"local:acme": None} and acme["needs_rewrap"] is None
    assert globex["needs_rewrap"] is False
    line = next(one for one in app.run("status", "--newest").stdout.splitlines() if "local:acme" in one)
    assert line.split()[4] == "?"


def test_newest_is_told_for_each_of_two_keks(app: Application) -> None:
    app.keyring.lifecycle.add_wrapping("acme", "local:second")
    app.provider.rotate("local:second")
    (acme,) = app.json("status", "--newest", "--tenant", "acme")["tenants"]
    assert set(acme["newest"]) == {"local:acme", "local:second"} and acme["needs_rewrap"] is True


def test_every_kek_that_opens_the_data_is_shown_and_finds_its_tenants(app: Application) -> None:
    app.keyring.lifecycle.add_wrapping("acme", "local:second")
    (acme,) = app.json("status", "--kek", "local:second")["tenants"]
    assert [one["kek_uri"] for one in acme["keks"]] == ["local:acme", "local:second"]
    lines = app.run("status").stdout.splitlines()
    second = app.provider.newest_version("local:second")[:8]
    assert [line.split() for line in lines if "local:second" in line] == [["also", "local:second", second]]
    assert app.json("status", "--kek", "local:nope")["tenants"] == []


def test_no_kek_is_asked_for_a_tenant_that_is_locked(app: Application) -> None:
    app.keyring.lock("acme", reason="a stolen laptop")
    app.provider.disable("local:acme")
    acme, globex = app.json("status", "--newest")["tenants"]
    assert (acme["state"], acme["failures"], acme["newest"]) == ("locked", [], {})
    assert globex["failures"] == [] and globex["newest"]
    found = app.json("doctor")["findings"]
    assert "local:acme" not in {one["subject"] for one in found}
    assert any("no KEK was asked for the 1 that are locked" in one["what"] for one in found)


@pytest.mark.parametrize("arguments", [("status",), ("status", "--newest")])
@pytest.mark.parametrize("columns", [80, 100])
def test_typical_names_fit_the_terminal(
    app: Application, monkeypatch: pytest.MonkeyPatch, columns: int, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    app.keyring.warm(["northwind-traders", ""], new=True)
    app.execute("UPDATE cmk_tenants SET kek_uri = :u WHERE tenant = 'acme'", u=VAULT)
    app.execute(
        "UPDATE cmk_wrappings SET kek_uri = :u, kek_version = :v WHERE kek_uri = 'local:acme'",
        u=VAULT,
        v=VERSION,
    )
    hours_ago = (datetime.now(UTC) - timedelta(hours=23)).strftime("%Y-%m-%d %H:%M:%S.000000")
    app.execute("UPDATE cmk_tenants SET seen_at = :t, state_since = :t", t=hours_ago)
    app.execute(
        "UPDATE cmk_tenants SET state = 'revoked', reason = 'the key is disabled' WHERE tenant = 'acme'"
    )
    adopt(app.keyring)
    lines = app.run(*arguments).stdout.splitlines()
    assert max(len(line) for line in lines) <= columns
    header = next(line for line in lines if "tenant" in line)
    for name in ("tenant", "owner", "KEK", "version", "act/ret", "state"):
        assert name in header
    table = "\n".join(lines)
    for cell in ("customer", "(platform)", VERSION[:8], "revoked for", "23 h"):
        assert cell in table
    assert "…" not in table


def test_a_state_is_coloured_on_a_terminal(app: Application) -> None:
    app.run("shred", "globex", "--confirm", "globex")
    shown = app.process("status", FORCE_COLOR="1", TERM="xterm").stdout
    assert "\x1b[32mok\x1b[0m" in shown and "\x1b[35mshredded\x1b[0m" in shown
    assert "\x1b[" not in app.process("status").stdout


def test_a_tenant_that_is_not_there_is_an_error_and_one_that_is_left_out_is_none(app: Application) -> None:
    result = app.run("status", "--tenant", "amce")
    assert (result.exit_code, result.stdout) == (5, "")
    assert "no tenant 'amce' has keys here: did you mean 'acme'?" in result.stderr
    result = app.run("status", "--tenant", "acme", "--state", "revoked")
    assert (result.exit_code, result.stdout) == (0, "") and "No such tenant" in result.stderr


def test_a_tenants_name_cannot_steer_the_terminal(app: Application) -> None:
    app.keyring.warm(["[red]evil\x1b]0;title\x07"], new=True)
    shown = app.run("status").stdout.replace("\n", "")
    assert "\x1b" not in shown and "\x07" not in shown
    assert "[red]" in shown
