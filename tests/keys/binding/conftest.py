import gc
from pathlib import Path

import pytest

from tests.keys.binding.shop import Shop


@pytest.fixture(scope="module", autouse=True)
def _only_what_these_tests_make_is_looked_at() -> None:
    """Each keyring of a shop has the garbage collected, which would look through all of the process."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)
