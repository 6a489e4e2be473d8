"""Private files on the real file system: whose they are, where they are, and links in their place."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import pytest

from sqlalchemy_cmk import ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.providers import LocalKeyProvider, Secret
from sqlalchemy_cmk.providers._files import read_private, write_private
from tests.keys.processes import in_fork

NOBODY, SOMEBODY = 65534, 12345
DEK = Secret(bytes(range(32)))

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to other users")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "keys.json"
    path.parent.mkdir(0o700)
    LocalKeyProvider(path).ensure("local:pmk")
    return path


def uses(path: Path) -> dict[str, Callable[[], object]]:
    provider = LocalKeyProvider(path)
    return {
        "wrap": lambda: provider.wrap("local:pmk", DEK),
        "rotate": lambda: provider.rotate("local:pmk"),
        "make": lambda: provider.ensure("local:new"),
    }


def versions(path: Path) -> int:
    return len(json.loads(path.read_text())["keks"]["pmk"]["versions"])


@as_root
@pytest.mark.parametrize("use", ["wrap", "rotate", "make"])
def test_a_file_of_another_user_is_refused(path: Path, use: str) -> None:
    os.chown(path, SOMEBODY, SOMEBODY)
    with pytest.raises(ConfigurationError, match=rf"{path} belongs to user {SOMEBODY}.*chown"):
        uses(path)[use]()
    assert path.stat().st_uid == SOMEBODY and versions(path) == 1


@as_root
@pytest.mark.parametrize("use", ["wrap", "rotate", "make"])
def test_a_folder_of_another_user_is_refused(path: Path, use: str) -> None:
    os.chown(path.parent, SOMEBODY, SOMEBODY)
    with pytest.raises(ConfigurationError, match=rf"{path.parent} belongs to user {SOMEBODY}"):
        uses(path)[use]()
    assert versions(path) == 1


@pytest.mark.parametrize("mode", [0o777, 0o702, 0o757])
@pytest.mark.parametrize("use", ["wrap", "rotate", "make"])
def test_a_folder_that_everybody_may_write_to_is_refused(path: Path, mode: int, use: str) -> None:
    path.parent.chmod(mode)
    with pytest.raises(
        ConfigurationError, match=rf"everybody may replace files in .*chmod o-w {path.parent}"
    ):
        uses(path)[use]()
    path.parent.chmod(mode | stat.S_ISVTX)
    uses(path)[use]()


def test_no_file_is_made_in_a_folder_that_everybody_may_write_to(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigurationError, match="everybody may replace"):
        LocalKeyProvider(folder / "keys.json").ensure("local:pmk")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("use", ["rotate", "make"])
def test_a_link_is_read_and_never_replaced(path: Path, use: str) -> None:
    link = path.with_name("link.json")
    link.symlink_to(path)
    uses(link)["wrap"]()
    with pytest.raises(ConfigurationError, match=f"{link} is a symbolic link, which is read and not written"):
        uses(link)[use]()
    assert link.is_symlink() and versions(path) == 1
    assert {one.name for one in path.parent.iterdir()} == {path.name, link.name, f".{path.name}.lock"}


def test_a_link_to_nothing_makes_no_file(path: Path) -> None:
    link = path.with_name("link.json")
    link.symlink_to(path.with_name("nothing.json"))
    with pytest.raises(ConfigurationError, match="symbolic link"):
        LocalKeyProvider(link).ensure("local:pmk")
    with pytest.raises(KeyUnavailable, match="does not exist"):
        LocalKeyProvider(link).wrap("local:pmk", DEK)
    assert not path.with_name("nothing.json").exists()


@as_root
def test_a_link_that_another_user_planted_is_not_followed(path: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    link = shared / "keys.json"
    link.symlink_to(path)
    os.chown(link, SOMEBODY, SOMEBODY, follow_symlinks=False)
    with pytest.raises(ConfigurationError, match=f"{link} belongs to user {SOMEBODY}"):
        uses(link)["wrap"]()


def test_a_link_into_an_open_folder_is_not_followed(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(path)
    path.parent.chmod(0o777)
    with pytest.raises(ConfigurationError, match="everybody may replace"):
        uses(link)["wrap"]()


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(ConfigurationError, match="name the file itself"):
        read_private(tmp_path / "a")


@pytest.mark.parametrize("use", ["rotate", "make"])
def test_a_planted_lock_is_not_followed(path: Path, use: str) -> None:
    victim = path.with_name("victim")
    lock = path.with_name(f".{path.name}.lock")
    lock.unlink()
    lock.symlink_to(victim)
    with pytest.raises(ConfigurationError, match=f"{lock} is a symbolic link"):
        uses(path)[use]()
    assert not victim.exists() and versions(path) == 1


@as_root
def test_a_lock_of_another_user_is_refused(path: Path) -> None:
    lock = path.with_name(f".{path.name}.lock")
    os.chown(lock, SOMEBODY, SOMEBODY)
    with pytest.raises(ConfigurationError, match=f"{lock} belongs to user {SOMEBODY}"):
        uses(path)["rotate"]()


def test_a_named_pipe_holds_nobody_up(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(KeyUnavailable, match="it is not a file"):
        uses(path)["wrap"]()
    lock = path.with_name(f".{path.name}.lock")
    lock.unlink()
    os.mkfifo(lock, 0o600)
    path.unlink()
    with pytest.raises(ConfigurationError, match="as a lock has to be"):
        uses(path)["make"]()


def mounted(folder: Path, keys: bytes) -> Path:
    """A secret as Kubernetes mounts it: a link, through a link to a folder that is turned at each renewal."""
    folder.mkdir()
    folder.chmod(0o1777)
    renew(folder, "..2026_01", keys)
    (folder / "keys.json").symlink_to("..data/keys.json")
    return folder / "keys.json"


def renew(folder: Path, name: str, keys: bytes) -> None:
    made = folder / name
    made.mkdir(0o755)
    (made / "keys.json").write_bytes(keys)
    (made / "keys.json").chmod(0o400)
    (folder / "..new").symlink_to(name)
    (folder / "..new").rename(folder / "..data")


def test_a_secret_that_kubernetes_mounts_is_read_also_when_it_is_renewed(path: Path, tmp_path: Path) -> None:
    link = mounted(tmp_path / "mount", path.read_bytes())
    provider = LocalKeyProvider(link)
    provider.ensure("local:pmk")
    wrapped = provider.wrap("local:pmk", DEK)
    LocalKeyProvider(path).rotate("local:pmk")
    renew(link.parent, "..2026_02", path.read_bytes())
    assert provider.unwrap(wrapped) == DEK
    assert provider.wrap("local:pmk", DEK).kek_version != wrapped.kek_version
    with pytest.raises(ConfigurationError, match="its secret where it is mounted from"):
        provider.rotate("local:pmk")
    assert not (link.parent / ".keys.json.lock").exists()


@as_root
@pytest.mark.parametrize(("folders_owner", "served"), [(NOBODY, True), (0, True), (SOMEBODY, False)])
def test_a_user_without_rights_reads_a_file_in_a_folder_of_theirs_or_roots(
    folders_owner: int, served: bool
) -> None:
    # Not in tmp_path, into which only root gets.
    folder = Path(mkdtemp())
    folder.chmod(0o755)
    LocalKeyProvider(folder / "keys.json").ensure("local:pmk")
    os.chown(folder / "keys.json", NOBODY, NOBODY)
    os.chown(folder, folders_owner, folders_owner)

    def is_read() -> bool:
        os.seteuid(NOBODY)
        try:
            return bool(LocalKeyProvider(folder / "keys.json").wrap("local:pmk", DEK))
        except ConfigurationError as error:
            assert f"belongs to user {SOMEBODY}" in str(error)
            return False

    assert in_fork(lambda: is_read() is served)
    rmtree(folder)


def test_a_file_is_replaced_whole_or_not_at_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(KeyUnavailable, match="cannot be written: No space left"):
        write_private(path, Secret(b"half"))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert {one.name for one in path.parent.iterdir()} == {path.name, f".{path.name}.lock"}
