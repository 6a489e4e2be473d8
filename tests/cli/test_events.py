"""`cmk events`: what waits for webhooks is sent, shown, and tried again."""

from collections.abc import Iterator

import pytest

from tests.cli.conftest import Application
from tests.support.receiver import SECRET, Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def told(app: Application, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Application:
    """The application, with a webhook that nobody posts to in the background."""
    monkeypatch.setattr("sqlalchemy_cmk.keys.events.courier.Courier.look", lambda self, at_once: None)
    module = app.folder / "clinic_app.py"
    hook = f"Webhook('siem', {receiver.url!r}, {SECRET!r}, local=True)"
    hook = f"from sqlalchemy_cmk import Webhook\nHOOK = {hook}\n"
    code = module.read_text().replace("Keyring(engine(), ", "Keyring(engine(), webhooks=[HOOK], ")
    module.write_text(hook + code)
    return app


def test_what_waits_is_shown_and_sent(told: Application, receiver: Receiver) -> None:
    told.json("lock", "acme")
    (waits,) = told.json("events", "list")
    assert (waits["tenant"], waits["webhook"], waits["attempts"]) == ("acme", "", 0)
    assert told.json("events", "list", "--tenant", "globex") == []
    assert told.json("events", "send") == {"sent": 1, "failed": 0, "dead": 0, "waiting": 0}
    assert receiver.kinds() == ["locked"]
    assert told.run("events", "list").stderr == "No event waits for a webhook.\n"


def test_what_fails_is_exit_code_1_and_stays(told: Application, receiver: Receiver) -> None:
    receiver.answer = lambda number: 503
    told.json("lock", "acme")
    assert told.json("events", "send", code=1)["failed"] == 1
    shown = told.run("events", "list")
    assert "acme" in shown.stdout and "siem" in shown.stdout and "HTTP 503" in shown.stdout
    assert "1 failed" not in told.run("events", "send").stdout, "it is not due yet"


def test_what_was_given_up_is_found_by_the_doctor_and_can_be_tried_again(
    told: Application, receiver: Receiver
) -> None:
    receiver.answer = lambda number: 200 if number else 410
    told.json("lock", "globex")
    assert told.json("events", "send", code=1)["dead"] == 1
    assert told.run("events", "list").stdout == ""
    assert "HTTP 410" in told.run("events", "list", "--dead").stdout
    doctor = told.run("doctor")
    assert "1 were not delivered" in doctor.stdout and "siem of globex" in doctor.stdout
    assert told.run("events", "retry").stdout == "1 event will be sent again\n"
    assert told.json("events", "send")["sent"] == 1
    assert "were not delivered" not in told.run("doctor").stdout
