"""Finding the keyring: what may stand after --keyring, and what is said when it is not there."""

import os
import subprocess
import sys

import pytest

from tests.cli.conftest import PLACE, Application

READY = "from clinic_app import keyring as make\n"


@pytest.mark.parametrize(
    ("module", "attribute"),
    [
        (f"{READY}ring = make()", "ring"),
        (f"{READY}class Storage:\n    keys = make()", "Storage.keys"),
        (f"{READY}class Storage:\n    def keys(self): return make()\nstorage = Storage()", "storage.keys"),
        (f"{READY}ring = lambda url='unused': make()", "ring"),
    ],
    ids=["a keyring", "dotted", "a method", "a function with defaults"],
)
def test_the_attribute_is_a_keyring_or_what_returns_one(
    app: Application, module: str, attribute: str
) -> None:
    (app.folder / "wired.py").write_text(module)
    result = app.run("status", place=f"wired:{attribute}")
    assert result.exit_code == 0 and "acme" in result.stdout, result.stderr


def test_the_module_may_be_in_a_package_of_the_current_directory(app: Application) -> None:
    (app.folder / "shop").mkdir()
    (app.folder / "shop" / "keys.py").write_text("from clinic_app import keyring")
    assert app.run("status", place="shop.keys:keyring").exit_code == 0


def test_the_current_directory_is_looked_into_also_by_the_installed_command(app: Application) -> None:
    # -P keeps Python itself from looking there, as it does for a script in bin.
    code = "import sys; sys.argv = ['cmk', 'status']; from sqlalchemy_cmk.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=app.folder,
        env={**os.environ, "CMK_KEYRING": PLACE},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "acme" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("nowhere:keyring", "there is no module 'nowhere'"),
        ("clinic_app.keys:keyring", "clinic_app.keys"),
        ("clinic_app:keys", "has no attribute 'keys'"),
        ("clinic_app:keyring.made", "has no attribute 'keyring.made'"),
        ("clinic_app:FOLDER", "name a Keyring, or a function that returns it"),
        ("clinic_app:FOLDER.exists", "bool: name a Keyring"),
        ("clinic_app:EncryptedType", "without arguments: missing a required argument"),
    ],
)
def test_what_cannot_be_loaded_is_said_in_a_line(app: Application, place: str, said: str) -> None:
    result = app.run("status", place=place)
    assert (result.exit_code, result.stdout) == (5, "")
    assert said in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("import missing_library", "ModuleNotFoundError: No module named 'missing_library'"),
        ("def keyring(:", "SyntaxError"),
        ("import os\nos.environ['CLINIC_SECRETS_FILE']", "KeyError: 'CLINIC_SECRETS_FILE'"),
        ("raise SystemExit('usage: serve PORT')", "SystemExit: usage: serve PORT"),
        ("def keyring():\n    raise OSError('the disk is full')", "OSError: the disk is full"),
    ],
    ids=["a missing library", "no Python", "a missing setting", "an exit", "a failing function"],
)
def test_an_application_that_fails_is_named_with_its_place_and_no_traceback(
    app: Application, module: str, said: str
) -> None:
    (app.folder / "broken.py").write_text(module)
    result = app.run("status", place="broken:keyring")
    assert result.exit_code == 5 and result.stdout == ""
    assert said in result.stderr and "broken" in result.stderr and "line" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "message",
    [
        "could not parse postgresql://clinic:hunter2@db/clinic",
        "could not parse postgresql://clinic:p@ss/hunter2@db/clinic",
        "refused: password=hunter2 host=db",
        "{'client_secret': 'hunter2'}",
        "first line\\n[parameters: hunter2]",
    ],
)
def test_a_password_in_an_applications_error_is_not_shown(app: Application, message: str) -> None:
    (app.folder / "broken.py").write_text(f'raise ValueError("{message}")')
    result = app.run("status", place="broken:keyring")
    assert result.exit_code == 5 and "hunter2" not in result.stdout + result.stderr
    assert "ValueError" in result.stderr


def test_an_error_of_the_library_keeps_its_own_exit_code(app: Application) -> None:
    (app.folder / "cold.py").write_text(
        "from clinic_app import keyring as make\n"
        "def keyring():\n    ring = make()\n    ring.warm(['acme'], new=True)\n    return ring\n"
    )
    app.provider.disable("local:acme")
    result = app.run("status", place="cold:keyring")
    assert result.exit_code == 3 and result.stderr.startswith("KeyRevoked:")


def test_what_a_module_prints_does_not_reach_stdout(app: Application) -> None:
    (app.folder / "talking.py").write_text("print('hello')\nfrom clinic_app import keyring")
    result = app.process("--keyring", "talking:keyring", "status", "--json")
    assert result.stdout.startswith("{") and "hello" in result.stderr


def test_the_keyring_is_closed_at_the_end(app: Application) -> None:
    (app.folder / "watched.py").write_text(
        "import clinic_app\n"
        "def keyring():\n"
        "    ring = clinic_app.keyring()\n"
        "    close = ring.close\n"
        "    ring.close = lambda: (close(), print('closed', ring.protected))\n"
        "    return ring\n"
    )
    assert app.process("--keyring", "watched:keyring", "status").stdout.endswith("closed ()\n")
    failed = app.process("--keyring", "watched:keyring", "rotate-dek", "nobody")
    assert failed.returncode == 5 and failed.stdout.endswith("closed ()\n")


@pytest.mark.parametrize("place", ["clinic_app", "clinic_app:", ":keyring"])
def test_a_place_without_a_colon_is_wrong_usage(app: Application, place: str) -> None:
    result = app.run("status", place=place)
    assert result.exit_code == 2 and "MODULE:ATTRIBUTE" in result.stderr


def test_without_a_keyring_the_usage_says_how_to_name_it(app: Application) -> None:
    result = app.process("status", CMK_KEYRING="")
    assert result.returncode == 2
    assert "--keyring MODULE:ATTRIBUTE" in result.stderr and "CMK_KEYRING" in result.stderr
