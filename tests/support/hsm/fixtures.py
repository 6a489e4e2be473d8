"""One token of each kind for a test process: their modules are started once a process."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.hsm import TokenSoftwareMissing
from tests.support.hsm.nss import Nss
from tests.support.hsm.opencryptoki import OpenCryptoki
from tests.support.hsm.p11_kit import P11Kit
from tests.support.hsm.softhsm import SoftHsm
from tests.support.hsm.tpm import Tpm
from tests.support.skips import unavailable

TOKENS = [
    "acme",
    "globex",
    "pins",
    "away",
    "remote",
    "twin",
    "twin",
    *(f"stress-{number}" for number in range(8)),
]


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    return _made(lambda: SoftHsm(tmp_path_factory.mktemp("softhsm"), TOKENS))


@pytest.fixture(scope="session")
def nss(tmp_path_factory: pytest.TempPathFactory) -> Nss:
    return _made(lambda: Nss(tmp_path_factory.mktemp("nss")))


@pytest.fixture(scope="session")
def opencryptoki() -> Iterator[OpenCryptoki]:
    yield from _closed(_made(OpenCryptoki))


@pytest.fixture(scope="session")
def tpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tpm]:
    yield from _closed(_made(lambda: Tpm(tmp_path_factory.mktemp("tpm"))))


@pytest.fixture(scope="session")
def p11_kit(softhsm: SoftHsm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[P11Kit]:
    yield from _closed(_made(lambda: P11Kit(softhsm, tmp_path_factory.mktemp("p11"), "remote")))


def _made(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except TokenSoftwareMissing as error:
        reason = str(error)
    unavailable(reason)


def _closed(token: Any) -> Iterator[Any]:
    yield token
    token.close()
