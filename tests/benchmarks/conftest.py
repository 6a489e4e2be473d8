"""What every timing of these tests needs."""

import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def collected() -> None:
    """Have each timing's garbage collection pass over what other tests have left in this process."""
    gc.collect()
    gc.freeze()
