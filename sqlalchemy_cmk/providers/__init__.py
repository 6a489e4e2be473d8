"""Key providers: each talks to one kind of place where KEKs live.

Derive from :class:`KeyProvider` for a place of your own; this library's own providers call a service by
:class:`Retries`, which have a :class:`CircuitBreaker`.
"""

from typing import TYPE_CHECKING

from sqlalchemy_cmk.providers._breaker import CircuitBreaker
from sqlalchemy_cmk.providers._installed import installed_providers, load_provider
from sqlalchemy_cmk.providers._retries import Retries, Throttled
from sqlalchemy_cmk.providers.base import KekExpiry, KeyProvider, Wrapped, foreign_algorithm, foreign_version
from sqlalchemy_cmk.providers.local import LocalKeyProvider
from sqlalchemy_cmk.providers.onboarding import (
    KekOnboarding,
    OnboardingFormat,
    OnboardingProblem,
    OnboardingRequest,
    OnboardingStep,
    StepState,
)
from sqlalchemy_cmk.providers.owners import Owners
from sqlalchemy_cmk.runtime.lazy import lazy_names
from sqlalchemy_cmk.runtime.secret import Secret

if TYPE_CHECKING:
    from sqlalchemy_cmk.providers.aws import AwsKmsProvider
    from sqlalchemy_cmk.providers.azure import AzureKeyVaultProvider
    from sqlalchemy_cmk.providers.pkcs11 import Pkcs11KeyProvider

__all__ = [
    "AwsKmsProvider",
    "AzureKeyVaultProvider",
    "CircuitBreaker",
    "KekExpiry",
    "KekOnboarding",
    "KeyProvider",
    "LocalKeyProvider",
    "OnboardingFormat",
    "OnboardingProblem",
    "OnboardingRequest",
    "OnboardingStep",
    "Owners",
    "Pkcs11KeyProvider",
    "Retries",
    "Secret",
    "StepState",
    "Throttled",
    "Wrapped",
    "foreign_algorithm",
    "foreign_version",
    "installed_providers",
    "load_provider",
]

# Each of these needs an extra, which is imported only where the provider is used.
_HOMES = {"AwsKmsProvider": "aws", "AzureKeyVaultProvider": "azure", "Pkcs11KeyProvider": "pkcs11"}
__getattr__ = lazy_names(__name__, _HOMES, extras=_HOMES)
