"""A customer brings a KEK: what they have to do, and whether it was done. See :class:`Onboarding`."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy_cmk.errors import CmkError, ConfigurationError, KekNotAllowed
from sqlalchemy_cmk.keys.binding.settings import Settings
from sqlalchemy_cmk.keys.opening.foreign import guarded
from sqlalchemy_cmk.keys.opening.kek_calls import provider_for
from sqlalchemy_cmk.keys.ownership import says_theirs
from sqlalchemy_cmk.providers.base import KeyProvider
from sqlalchemy_cmk.providers.onboarding import (
    KekOnboarding,
    OnboardingFormat,
    OnboardingProblem,
    OnboardingRequest,
    OnboardingStep,
    StepState,
    failed,
    passed,
)
from sqlalchemy_cmk.runtime.because import kek_call
from sqlalchemy_cmk.runtime.blocking import off_the_loop
from sqlalchemy_cmk.scope import PLATFORM_TENANT, key_owner

SERVED, ALLOWED, THEIRS = "the application has a provider for it", "the application allows it", "it is theirs"


@dataclass(frozen=True, slots=True)
class OnboardingReport:
    """The result of a check.

    Attributes:
        steps: each step, in the order in which they were made.
    """

    steps: tuple[OnboardingStep, ...]

    @property
    def ok(self) -> bool:
        """Whether the tenant can be put under the KEK: no step has failed. Warnings do not count."""
        return all(one.state in (StepState.OK, StepState.WARNING) for one in self.steps)

    @property
    def problems(self) -> tuple[OnboardingProblem, ...]:
        """What is wrong, warnings among it."""
        return tuple(one.problem for one in self.steps if one.problem is not None)


class Onboarding:
    """A tenant's KEK that is not in use yet: what its owner has to do, and whether it was done.

    Nothing is changed, and nothing is made: ``keyring.assign`` does that once :meth:`check` is satisfied. No
    key table is needed.

    Args:
        settings: the keyring's.
        tenant: the tenant's name.
        kek_uri: the URI of the KEK, which need not exist yet.
        application: see :meth:`Keyring.onboarding`.
        other_directory: see :meth:`Keyring.onboarding`.

    Attributes:
        tenant: the tenant's name.
        kek_uri: the KEK's URI.
    """

    def __init__(
        self,
        settings: Settings,
        tenant: object,
        kek_uri: str,
        application: str | None,
        other_directory: bool,
    ) -> None:
        self.tenant = key_owner(tenant)
        self.kek_uri = kek_uri
        self._settings = settings
        exempt = self.tenant == PLATFORM_TENANT or kek_uri == settings.platform_key
        self._tag = None if exempt else settings.tenant_tag
        tag = self._tag if isinstance(self._tag, str) else None
        self._request = OnboardingRequest(self.tenant, tag, application, other_directory)

    @property
    def formats(self) -> tuple[OnboardingFormat, ...]:
        """The formats in which :meth:`instructions` can be had.

        Raises:
            ConfigurationError: no provider handles the URI.
        """
        return self._of(self._provider()).formats

    def instructions(self, format: OnboardingFormat | str = OnboardingFormat.TEXT) -> str:
        """Return what the KEK's owner has to do, ready to paste; no KEK is asked.

        Args:
            format: ``"text"`` to read, or ``"az"``, ``"bicep"`` or ``"terraform"`` for a key in Azure.

        Raises:
            ConfigurationError: no provider handles the URI, or there are no instructions in this format.
        """
        kek = self._of(self._provider())
        if format not in kek.formats:
            raise ConfigurationError(
                f"there are no instructions in the format {str(format)!r} for this KEK: take one of "
                + ", ".join(kek.formats)
            )
        return kek.instructions(OnboardingFormat(format))

    def check(self) -> OnboardingReport:
        """Look, step by step, whether the KEK was made as it has to be; what fails is said by a step.

        A random value is wrapped and unwrapped. Steps after one that they need are not reached.
        """
        return off_the_loop(self._check)

    def _check(self) -> OnboardingReport:
        try:
            provider = self._provider()
        except ConfigurationError as error:
            cure = "correct the URI, or give Keyring(providers=[...]) a provider for it"
            return OnboardingReport((failed(SERVED, OnboardingProblem.NOT_SERVED, str(error), cure),))
        steps = [passed(SERVED, type(provider).__name__), self._allowed(), *self._theirs()]
        if steps[-1].state is StepState.OK:
            steps += self._asked(provider)
        return OnboardingReport(tuple(steps))

    def _allowed(self) -> OnboardingStep:
        try:
            self._settings.policy.require(self.tenant, self.kek_uri)
        except KekNotAllowed as error:
            cure = "add the KEK, or its vault, to Keyring(kek_allowed=...)"
            return failed(ALLOWED, OnboardingProblem.NOT_ALLOWED, str(error), cure)
        return passed(ALLOWED, "")

    def _theirs(self) -> list[OnboardingStep]:
        tag = self._tag
        if not callable(tag):
            return []
        if says_theirs(tag, self.tenant, self.kek_uri):
            return [passed(THEIRS, "by tenant_tag")]
        cure = "add the KEK to Keyring(tenant_tag=...), if it is theirs"
        return [failed(THEIRS, OnboardingProblem.NOT_OWNED, "the function tenant_tag refuses it", cure)]

    def _asked(self, provider: KeyProvider) -> list[OnboardingStep]:
        def ask() -> list[OnboardingStep]:
            with kek_call(self.kek_uri.encode(), "onboarding"):
                return guarded(provider, lambda: self._of(provider).steps())

        try:
            place = guarded(provider, lambda: provider.place_of(self.kek_uri))
            return self._settings.calls.run(place, ask)
        except CmkError as error:
            cure = "do what the error says, and try again"
            return [failed("the KEK was asked", OnboardingProblem.CANNOT_SERVE, str(error), cure)]

    def _of(self, provider: KeyProvider) -> KekOnboarding:
        return guarded(provider, lambda: provider.onboarding(self.kek_uri, self._request))

    def _provider(self) -> KeyProvider:
        provider = provider_for(self._settings.providers, self.kek_uri)
        return guarded(provider, lambda: provider.for_tenant(self.tenant))
