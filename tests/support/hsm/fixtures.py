"""One SoftHSM and one NSS for a test process: their modules are started once a process."""

import pytest

from tests.support.hsm import TokenSoftwareMissing
from tests.support.hsm.nss import Nss
from tests.support.hsm.softhsm import SoftHsm
from tests.support.skips import unavailable

TOKENS = ["acme", "globex", "pins", "away", "twin", "twin", *(f"stress-{number}" for number in range(8))]


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    try:
        return SoftHsm(tmp_path_factory.mktemp("softhsm"), TOKENS)
    except TokenSoftwareMissing as error:
        reason = str(error)
    unavailable(reason)


@pytest.fixture(scope="session")
def nss(tmp_path_factory: pytest.TempPathFactory) -> Nss:
    try:
        return Nss(tmp_path_factory.mktemp("nss"))
    except TokenSoftwareMissing as error:
        reason = str(error)
    unavailable(reason)
