"""Keys of an account of AWS, and what their owner can do with them."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from sqlalchemy_cmk.providers import AwsKmsProvider
from tests.support.aws import REGION, Kms, keys, running

QUICK = {"retries": 0, "retry_bound": 30}
NEW = ("", "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT", "", None)


@pytest.fixture(scope="module")
def kms() -> Iterator[Kms]:
    with running() as server:
        yield server


class AwsPlace:
    """Two aliases of an account, each with a key, and what the account's owner can do with the first."""

    def __init__(self, kms: Kms, name: str) -> None:
        self.kms = kms
        self.name = f"alias/{name}"
        self.kek_uri = self._make(self.name)
        self.other_kek_uri = self._make(f"{self.name}-other")
        self.made: list[AwsKmsProvider] = []
        self.provider = self.new_provider()

    def _make(self, alias: str) -> str:
        key = keys().create_key(*NEW)
        keys().create_alias(key.id, alias)
        return key.arn.replace(f"key/{key.id}", alias)

    @property
    def key(self) -> Any:
        return keys().keys[keys().get_key_id_from_alias(self.name)]

    def rotate(self) -> None:
        """Let the alias lead to a new key, as AWS calls rotating by hand."""
        keys().update_alias(keys().create_key(*NEW).id, self.name)

    def revoke(self) -> None:
        keys().disable_key(self.key.id)

    def restore(self) -> None:
        keys().enable_key(self.key.id)

    def new_provider(self, **options: Any) -> AwsKmsProvider:
        session = boto3.Session("testing", "testing", region_name=REGION)
        self.made.append(AwsKmsProvider(session, endpoint_url=self.kms.url, **{**QUICK, **options}))
        return self.made[-1]

    def close(self) -> None:
        self.kms.fault = None
        for one in self.made:
            one.close()


@pytest.fixture
def place(kms: Kms, request: pytest.FixtureRequest) -> Iterator[AwsPlace]:
    kms.requests.clear()
    place = AwsPlace(kms, "clinic-kek")
    yield place
    place.close()
    keys().reset()
