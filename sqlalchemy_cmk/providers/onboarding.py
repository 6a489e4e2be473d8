"""What a customer has to do for a KEK, and whether they have done it: the words that providers answer in."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy_cmk.errors import CmkError, ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.providers.owners import tag_word
from sqlalchemy_cmk.providers.uris import shown
from sqlalchemy_cmk.runtime.kinds import text

WRAPS = "wraps and unwraps"

_APPLICATION = re.compile(r"[0-9A-Za-z:/._+=@,-]{1,256}", re.ASCII)


class OnboardingFormat(StrEnum):
    """How instructions are written."""

    TEXT = "text"
    AZ = "az"
    BICEP = "bicep"
    TERRAFORM = "terraform"


class StepState(StrEnum):
    """How a step of the check has ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    NOT_REACHED = "not reached"


class OnboardingProblem(StrEnum):
    """What is wrong with a KEK that a customer has made."""

    NOT_SERVED = "no provider handles the URI"
    NOT_ALLOWED = "the application does not allow this KEK for this tenant"
    UNREACHABLE = "the vault cannot be reached"
    NETWORK_BLOCKED = "the vault's network rules refuse the application"
    SIGN_IN = "the application cannot sign in to the customer's directory"
    NO_SUCH_KEY = "there is no such key"
    DELETED = "the key is deleted"
    MAY_NOT_GET = "the application may not read the key"
    NOT_OWNED = "the key does not name the tenant"
    DISABLED = "the key is disabled"
    EXPIRED = "the key has expired"
    NOT_YET_VALID = "the key is not valid yet"
    WRONG_KIND = "the key is of the wrong type"
    WRONG_SIZE = "the key is too short"
    WRONG_OPERATIONS = "the key lacks an operation"
    EXTRA_OPERATIONS = "the key may be used for more than it needs to be"
    MAY_NOT_WRAP = "the application may not wrap"
    MAY_NOT_UNWRAP = "the application may not unwrap"
    EXTRA_PERMISSIONS = "the application may do more than it needs to"
    NO_SOFT_DELETE = "a deleted key is gone"
    NO_PURGE_PROTECTION = "a deleted key can be purged"
    CANNOT_SERVE = "the KEK cannot serve"


@dataclass(frozen=True, slots=True)
class OnboardingStep:
    """One step of the check, in the order in which they are made.

    Attributes:
        name: what is checked.
        state: how it has ended.
        seen: what was seen.
        do: what to do: where possible a command, ready to paste; empty if nothing has to be done.
        problem: what is wrong; ``None`` if nothing is, or it was not reached.
    """

    name: str
    state: StepState
    seen: str = ""
    do: str = ""
    problem: OnboardingProblem | None = None


@dataclass(frozen=True, slots=True)
class OnboardingRequest:
    """Who is to be put under a KEK, and who will use it.

    Attributes:
        tenant: the tenant's name.
        tag: the tag by which the KEK has to name the tenant; ``None`` if it need not.
        application: by what the customer knows the application: in Azure its client id, in AWS the ARN of its
            role. Without one, instructions have a placeholder.
        other_directory: whether the customer's directory is another than the application's.
    """

    tenant: str
    tag: str | None
    application: str | None = None
    other_directory: bool = False

    def __post_init__(self) -> None:
        """Refuse what must not stand in a command that a customer pastes."""
        text("a client id, or the ARN of a role").or_none.require("application", self.application)
        if self.application is not None and not _APPLICATION.fullmatch(self.application):
            raise ConfigurationError(
                "application is a client id, or the ARN of a role: give it without spaces and quotes"
            )

    @property
    def tag_value(self) -> str:
        """What the tag has to hold."""
        return tag_word(self.tenant)


class KekOnboarding(ABC):
    """What the owner of a KEK has to do for one tenant, and whether it was done.

    Attributes:
        formats: the formats of its instructions.
    """

    formats: tuple[OnboardingFormat, ...] = (OnboardingFormat.TEXT,)

    @abstractmethod
    def instructions(self, format: OnboardingFormat) -> str:
        """Return what the owner has to do, in one of :attr:`formats`; no KEK is asked."""

    @abstractmethod
    def steps(self) -> list[OnboardingStep]:
        """Check the KEK step by step; nothing is changed by it. What fails is said by a step."""


class AnyKek(KekOnboarding):
    """A KEK of which no more is known than that it wraps and unwraps.

    Args:
        kek_uri: its URI.
        check: refuses a KEK that cannot serve.
    """

    def __init__(self, kek_uri: str, check: Callable[[], None]) -> None:
        self._kek_uri = shown(kek_uri)
        self._check = check

    def instructions(self, format: OnboardingFormat) -> str:
        """Return a sentence."""
        return f"Make {self._kek_uri}, and let the application wrap and unwrap by it, and do nothing else.\n"

    def steps(self) -> list[OnboardingStep]:
        """Try the KEK."""
        try:
            self._check()
        except CmkError as error:
            problem = OnboardingProblem.CANNOT_SERVE
            if isinstance(error, KeyUnavailable):
                problem = OnboardingProblem.UNREACHABLE
            return [failed(WRAPS, problem, str(error), "do what the error says, and try again")]
        return [passed(WRAPS, "a random value was wrapped and unwrapped")]


def failed(name: str, problem: OnboardingProblem, seen: str, do: str) -> OnboardingStep:
    """Return a step that has failed."""
    return OnboardingStep(name, StepState.FAILED, seen, do, problem)


def warning(name: str, problem: OnboardingProblem, seen: str, do: str) -> OnboardingStep:
    """Return a step that was passed, though something should be changed."""
    return OnboardingStep(name, StepState.WARNING, seen, do, problem)


def passed(name: str, seen: str) -> OnboardingStep:
    """Return a step that was passed."""
    return OnboardingStep(name, StepState.OK, seen)


def not_reached(names: Iterable[str]) -> list[OnboardingStep]:
    """Return the steps that an earlier one has kept from being made."""
    return [OnboardingStep(name, StepState.NOT_REACHED) for name in names]
