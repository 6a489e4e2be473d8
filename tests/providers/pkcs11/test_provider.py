"""Tokens of several makes run the contract of every provider."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sqlalchemy_cmk import ConfigurationError
from sqlalchemy_cmk.findings import Level
from sqlalchemy_cmk.providers.pkcs11.module import module_at
from sqlalchemy_cmk.providers.pkcs11.profiles import PROFILES
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.testing.provider_contract import ProviderContract
from tests.keys.processes import in_fork
from tests.providers.token_places import SharedPlace, TokenPlace
from tests.support.hsm.nss import Nss
from tests.support.hsm.opencryptoki import OpenCryptoki
from tests.support.hsm.p11_kit import P11Kit
from tests.support.hsm.softhsm import SoftHsm
from tests.support.hsm.tpm import Tpm


class TestSoftHsm(ProviderContract):
    @pytest.fixture
    def kek_place(self, softhsm: SoftHsm, tmp_path: Path) -> Iterator[TokenPlace]:
        place = TokenPlace(softhsm, tmp_path)
        yield place
        place.close()


class TestNss(ProviderContract):
    @pytest.fixture
    def kek_place(self, nss: Nss, tmp_path: Path) -> Iterator[TokenPlace]:
        place = TokenPlace(nss, tmp_path)
        yield place
        place.close()


class TestOpenCryptoki(ProviderContract):
    @pytest.fixture
    def kek_place(self, opencryptoki: OpenCryptoki) -> Iterator[SharedPlace]:
        place = SharedPlace(opencryptoki)
        yield place
        place.close()


class TestP11KitRemoting(ProviderContract):
    @pytest.fixture
    def kek_place(self, p11_kit: P11Kit) -> Iterator[SharedPlace]:
        place = SharedPlace(p11_kit)
        yield place
        place.close()


class TpmPlace(SharedPlace):
    """Its owner's acts take effect when the module is restarted, as it is every minute."""

    def revoke(self) -> None:
        super().revoke()
        module_at(self.hsm.module)._began -= PROFILES["tpm2"].fresh_for


class TestTpm(ProviderContract):
    @pytest.fixture
    def kek_place(self, tpm: Tpm) -> Iterator[SharedPlace]:
        place = TpmPlace(tpm)
        yield place
        place.close()

    def test_the_module_is_started_anew_every_minute(
        self, kek_place: SharedPlace, tpm: Tpm, dek: Secret
    ) -> None:
        module = module_at(tpm.module)
        assert module.fresh_for == PROFILES["tpm2"].fresh_for == 60
        wrapped = kek_place.provider.wrap(kek_place.kek_uri, dek)
        before = module.generation
        assert kek_place.provider.unwrap(wrapped) == dek and module.generation == before
        module._began -= 60
        assert kek_place.provider.unwrap(wrapped) == dek and module.generation == before + 1

    def test_a_forked_child_uses_it_beside_its_parent(self, kek_place: SharedPlace, dek: Secret) -> None:
        # The child's connection to tpm2-abrmd would hang, and is refused at once; the parent's goes on.
        wrapped = kek_place.provider.wrap(kek_place.kek_uri, dek)

        def is_refused() -> bool:
            with pytest.raises(ConfigurationError, match=r"tabrmd, which hangs in a child.*/dev/tpmrm0"):
                kek_place.provider.unwrap(wrapped)
            return True

        assert in_fork(is_refused)
        assert kek_place.provider.unwrap(wrapped) == dek


@pytest.mark.parametrize(
    ("token", "algorithm"),
    [("opencryptoki", "RSA-OAEP-SHA256"), ("tpm", "RSA-OAEP-SHA256"), ("p11_kit", "RSA-OAEP")],
)
def test_a_token_that_lists_no_aes_key_wrap_makes_rsa_keys(
    request: pytest.FixtureRequest, token: str, algorithm: str
) -> None:
    place = SharedPlace(request.getfixturevalue(token))
    assert place.provider.wrap(place.kek_uri, Secret(bytes(32))).algorithm == algorithm
    found = {one.what for one in place.provider.health_checks(place.kek_uri) if one.level is not Level.OK}
    # p11-kit is given SoftHSM's, which has no SHA-256 for OAEP.
    assert found == ({"RSA of 2048 bits, wraps with RSA-OAEP and SHA-1"} if token == "p11_kit" else set())
    place.close()
