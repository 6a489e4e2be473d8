"""What every key provider has to do, as tests for anyone's provider. See :class:`ProviderContract`."""

from __future__ import annotations

import os
import signal
import traceback
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from threading import Barrier
from typing import Protocol

import pytest

from sqlalchemy_cmk.errors import CmkError, KeyRevoked, TamperedError
from sqlalchemy_cmk.providers import KeyProvider, Secret

SECONDS = 240
URIS = [
    "local:acme",
    "https://acme.vault.azure.net/keys/clinic-kek",
    "https://acme.managedhsm.azure.net/keys/clinic-kek",
    "pkcs11:token=T;object=NAME",
    "arn:aws:kms:eu-west-1:111122223333:alias/clinic-kek",
    "file:///etc/passwd",
]
NONSENSE = ["", "acme", "local", "local:", "https://", "https://example.org/", "pkcs11", "pkcs11:"]


ODD_WORDS = ["", "x" * 300, "a b", "a\x00", "é", "../../secrets/db-password", "a/decrypt?x=", "*", "%2e%2e"]


class KekPlace(Protocol):
    """A place with two KEKs, and what their owner can do there to the first one.

    The fixture ``kek_place`` gives one. What is done takes effect before the method returns: make a provider
    that remembers a KEK's newest version for a while so that it does not here.
    """

    @property
    def provider(self) -> KeyProvider:
        """The provider under test."""

    @property
    def kek_uri(self) -> str:
        """The KEK whose owner acts."""

    @property
    def other_kek_uri(self) -> str:
        """A second KEK of the same place, which nobody touches."""

    def rotate(self) -> None:
        """Add a version to the KEK."""

    def revoke(self) -> None:
        """Take access to the KEK away."""

    def restore(self) -> None:
        """Give access to the KEK back."""

    def new_provider(self) -> KeyProvider:
        """The provider as another process makes it."""


class ProviderContract:
    """The tests of one provider. Derive a class from it, and give it a fixture ``kek_place``::

        from sqlalchemy_cmk.testing import ProviderContract

        class TestTransit(ProviderContract):
            @pytest.fixture
            def kek_place(self):
                with TransitPlace() as place:  # see KekPlace for what it has
                    yield place

    Attributes:
        errors_of_damage: the errors by which a wrapping that was altered may be refused. Widen it only for a
            service that cannot tell damage from a missing key.
    """

    errors_of_damage: tuple[type[CmkError], ...] = (TamperedError,)

    @pytest.fixture
    def dek(self) -> Secret:
        """A new DEK."""
        return Secret(os.urandom(32))

    def unknown_version(self, version: str) -> str:
        """Return a version of the same form that was never made; by default with other hexadecimal digits."""
        return "".join(
            ("0" if one == "f" else "f") if one.isalnum() and one.isascii() else one for one in version
        )

    def test_it_unwraps_what_it_wrapped(self, kek_place: KekPlace, dek: Secret) -> None:
        wrapped = kek_place.provider.wrap(kek_place.kek_uri, dek)
        assert kek_place.provider.unwrap(wrapped) == dek
        assert dek.reveal() not in wrapped.data

    def test_another_process_unwraps_it(self, kek_place: KekPlace, dek: Secret) -> None:
        wrapped = kek_place.provider.wrap(kek_place.kek_uri, dek)
        assert kek_place.new_provider().unwrap(wrapped) == dek

    def test_a_wrapping_records_its_kek_its_version_and_its_algorithm(
        self, kek_place: KekPlace, dek: Secret
    ) -> None:
        wrapped = kek_place.provider.wrap(kek_place.kek_uri, dek)
        assert wrapped.kek_uri == kek_place.kek_uri
        assert 0 < len(wrapped.kek_version) <= 255 and 0 < len(wrapped.algorithm) <= 50

    def test_a_new_version_wraps_and_the_old_one_still_unwraps(
        self, kek_place: KekPlace, dek: Secret
    ) -> None:
        old = kek_place.provider.wrap(kek_place.kek_uri, dek)
        kek_place.rotate()
        for provider in (kek_place.provider, kek_place.new_provider()):
            new = provider.wrap(kek_place.kek_uri, dek)
            assert new.kek_version != old.kek_version
            assert provider.unwrap(old) == dek and provider.unwrap(new) == dek

    def test_a_revoked_kek_refuses_and_is_named(self, kek_place: KekPlace, dek: Secret) -> None:
        wrapped = kek_place.provider.wrap(kek_place.kek_uri, dek)
        assert kek_place.provider.unwrap(wrapped) == dek
        kek_place.revoke()
        for provider in (kek_place.provider, kek_place.new_provider()):
            with pytest.raises(KeyRevoked) as caught:
                provider.unwrap(wrapped)
            assert kek_place.kek_uri in str(caught.value)
            with pytest.raises(KeyRevoked) as caught:
                provider.wrap(kek_place.kek_uri, dek)
            assert kek_place.kek_uri in str(caught.value)

    def test_revocation_leaves_another_kek_alone(self, kek_place: KekPlace, dek: Secret) -> None:
        wrapped = kek_place.provider.wrap(kek_place.other_kek_uri, dek)
        kek_place.revoke()
        assert kek_place.provider.unwrap(wrapped) == dek

    def test_a_restored_kek_unwraps_again(self, kek_place: KekPlace, dek: Secret) -> None:
        wrapped = kek_place.provider.wrap(kek_place.kek_uri, dek)
        kek_place.revoke()
        with pytest.raises(KeyRevoked):
            kek_place.provider.unwrap(wrapped)
        kek_place.restore()
        assert kek_place.provider.unwrap(wrapped) == dek

    def test_a_damaged_wrapping_does_not_unwrap(self, kek_place: KekPlace, dek: Secret) -> None:
        wrapped = kek_place.provider.wrap(kek_place.kek_uri, dek)
        for data in damaged(wrapped.data):
            with pytest.raises(self.errors_of_damage):
                kek_place.provider.unwrap(replace(wrapped, data=data))
        assert kek_place.provider.unwrap(wrapped) == dek

    def test_the_wrapping_of_another_kek_does_not_unwrap(self, kek_place: KekPlace, dek: Secret) -> None:
        ours = kek_place.provider.wrap(kek_place.kek_uri, dek)
        theirs = kek_place.provider.wrap(kek_place.other_kek_uri, dek)
        with pytest.raises(self.errors_of_damage):
            kek_place.provider.unwrap(replace(ours, data=theirs.data))

    def test_the_wrapping_of_another_version_does_not_unwrap(self, kek_place: KekPlace, dek: Secret) -> None:
        old = kek_place.provider.wrap(kek_place.kek_uri, dek)
        kek_place.rotate()
        new = kek_place.provider.wrap(kek_place.kek_uri, dek)
        with pytest.raises(self.errors_of_damage):
            kek_place.provider.unwrap(replace(new, data=old.data))

    def test_a_version_that_is_gone_is_revoked(self, kek_place: KekPlace, dek: Secret) -> None:
        wrapped = kek_place.provider.wrap(kek_place.kek_uri, dek)
        with pytest.raises(KeyRevoked) as caught:
            kek_place.provider.unwrap(replace(wrapped, kek_version=self.unknown_version(wrapped.kek_version)))
        assert kek_place.kek_uri in str(caught.value)

    def test_a_version_or_an_algorithm_that_it_never_records_was_tampered_with(
        self, kek_place: KekPlace, dek: Secret
    ) -> None:
        wrapped = kek_place.provider.wrap(kek_place.kek_uri, dek)
        kek_place.provider.check_wrapping(wrapped)
        version = wrapped.kek_version
        odd_versions = [
            *ODD_WORDS,
            f"{version}/",
            f"../{version}",
            f"{version}?",
            f"{version}\n",
            f" {version}",
        ]
        changed = [replace(wrapped, kek_version=odd) for odd in odd_versions]
        changed += [
            replace(wrapped, algorithm=odd) for odd in [*ODD_WORDS, "RSA1_5", f"{wrapped.algorithm} "]
        ]
        # Where the KEK refuses everything, only a check before the request gives another error.
        kek_place.revoke()
        for one in changed:
            for refuse in (kek_place.provider.check_wrapping, kek_place.provider.unwrap):
                with pytest.raises(TamperedError) as caught:
                    refuse(one)
                assert str(caught.value).isprintable()

    def test_it_forgets_what_it_remembers_and_serves_on(self, kek_place: KekPlace, dek: Secret) -> None:
        wrapped = kek_place.provider.wrap(kek_place.kek_uri, dek)
        kek_place.provider.forget()
        assert kek_place.provider.unwrap(wrapped) == dek
        kek_place.provider.wrap(kek_place.kek_uri, dek)

    def test_the_newest_version_is_the_one_that_wraps_where_it_can_be_told(
        self, kek_place: KekPlace, dek: Secret
    ) -> None:
        for _ in range(2):
            newest = kek_place.provider.newest_version(kek_place.kek_uri)
            assert newest in (None, kek_place.provider.wrap(kek_place.kek_uri, dek).kek_version)
            kek_place.rotate()

    def test_a_tenant_unwraps_what_was_wrapped_for_it(self, kek_place: KekPlace, dek: Secret) -> None:
        wrapped = kek_place.provider.for_tenant("acme").wrap(kek_place.kek_uri, dek)
        assert kek_place.new_provider().for_tenant("acme").unwrap(wrapped) == dek

    def test_it_handles_its_own_uris_only(self, kek_place: KekPlace) -> None:
        assert kek_place.provider.handles(kek_place.kek_uri)
        assert kek_place.provider.handles(kek_place.other_kek_uri)
        scheme = kek_place.kek_uri.partition(":")[0]
        foreign = [uri for uri in URIS if uri.partition(":")[0] != scheme]
        assert [uri for uri in foreign + NONSENSE if kek_place.provider.handles(uri)] == []

    def test_a_kek_that_exists_is_never_made_anew(self, kek_place: KekPlace, dek: Secret) -> None:
        wrapped = kek_place.provider.wrap(kek_place.kek_uri, dek)
        kek_place.provider.ensure(kek_place.kek_uri)
        assert kek_place.provider.wrap(kek_place.kek_uri, dek).kek_version == wrapped.kek_version
        assert kek_place.provider.unwrap(wrapped) == dek

    def test_sixteen_threads_use_it_at_once(self, kek_place: KekPlace) -> None:
        barrier = Barrier(16)

        def use(_: int) -> bool:
            barrier.wait(60)
            for uri in [kek_place.kek_uri, kek_place.other_kek_uri] * 3:
                dek = Secret(os.urandom(32))
                if kek_place.provider.unwrap(kek_place.provider.wrap(uri, dek)) != dek:
                    return False
            return True

        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(use, range(16))) == [True] * 16

    def test_a_forked_child_uses_it_beside_its_parent(self, kek_place: KekPlace, dek: Secret) -> None:
        wrapped = kek_place.provider.wrap(kek_place.kek_uri, dek)

        def use() -> bool:
            theirs = kek_place.provider.wrap(kek_place.kek_uri, dek)
            return kek_place.provider.unwrap(theirs) == kek_place.provider.unwrap(wrapped) == dek

        assert _in_fork(use)
        assert use() and _in_fork(use)

    def test_no_key_is_shown(self, kek_place: KekPlace, dek: Secret) -> None:
        wrapped = kek_place.provider.wrap(kek_place.kek_uri, dek)
        shown = [repr(kek_place.provider), str(kek_place.provider), repr(wrapped)]
        for bad in (
            replace(wrapped, data=wrapped.data[:-1]),
            replace(wrapped, kek_version=self.unknown_version(wrapped.kek_version)),
        ):
            shown.append(words_of_failure(partial(kek_place.provider.unwrap, bad)))
        kek_place.revoke()
        shown.append(words_of_failure(lambda: kek_place.provider.wrap(kek_place.kek_uri, dek)))
        shown.append(words_of_failure(lambda: kek_place.provider.unwrap(wrapped)))
        for text in shown:
            assert not any(secret in text for secret in spellings(dek.reveal()))


def _in_fork(work: Callable[[], bool]) -> bool:
    """Return whether work went well in a forked copy of this process."""
    child = os.fork()
    if child == 0:
        good = False
        try:
            signal.alarm(SECONDS)
            good = work()
        finally:
            os._exit(0 if good else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def damaged(data: bytes) -> list[bytes]:
    """The data with bits flipped from its beginning to its end, shortened, lengthened and empty."""
    places = {round(part * (len(data) - 1)) for part in (0, 0.1, 0.25, 0.5, 0.75, 0.9, 1)}
    flipped = [
        data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :] for place in places for bit in (1, 0x80)
    ]
    return [*flipped, b"", data[:1], data[: len(data) // 2], data[:-8], data[:-1], data + b"\0", data + data]


def words_of_failure(call: Callable[[], object]) -> str:
    """Everything that a log could hold of the error that a call raises."""
    with pytest.raises(Exception) as caught:
        call()
    error = caught.value
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


def spellings(key: bytes) -> list[str]:
    """The forms in which a key would be seen in a text; its end is left out, which a slice may cut off."""
    return [
        key[:24].hex(),
        b64encode(key[:24]).decode(),
        repr(key[:24])[2:-1],
        str(list(key[:24]))[1:-1],
    ]
