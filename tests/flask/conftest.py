"""An application whose clinic is named by a header, as a signed-in user would name it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import request

from sqlalchemy_cmk.flask import CMK
from tests.flask.clinics import Clinics, keyring


def clinic_of_request() -> str | None:
    return request.headers.get("X-Clinic") or None


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Clinics]]:
    """Makes applications that are not served yet, with arguments of the extension and settings."""
    made: list[Clinics] = []

    def make(tenant: Any = clinic_of_request, config: Any = None, **options: Any) -> Clinics:
        options.setdefault("keyring", keyring(tmp_path))
        made.append(Clinics(tmp_path, CMK(tenant=tenant, **options), **(config or {})))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def clinics(make: Callable[..., Clinics]) -> Clinics:
    """An application that is not served yet."""
    return make()
