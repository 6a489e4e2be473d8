"""An application's settings: ``app.config["CMK_..."]``, and the keyring that they describe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from flask import Flask

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys import KekPolicy, Keyring
from sqlalchemy_cmk.providers import KeyProvider, LocalKeyProvider

PREFIX = "CMK_"
PLATFORM_KEY, KEK_ALLOWED = "CMK_PLATFORM_KEY", "CMK_KEK_ALLOWED"
LOCAL_KEYS, AZURE, PKCS11, PROVIDERS = "CMK_LOCAL_KEYS", "CMK_AZURE", "CMK_PKCS11", "CMK_PROVIDERS"
ERROR_PAGES, REPLICAS = "CMK_ERROR_PAGES", "CMK_REPLICAS"

# A text such as "false", as it comes from the environment, would be true.
SWITCHES = (
    "CMK_REFRESH_AHEAD",
    "CMK_LOCK_NOTIFY",
    "CMK_READS_WITHOUT_TENANT",
    "CMK_RECORD_EXCEPTIONS",
    "CMK_DRY_RUN",
)
NUMBERS = ("CMK_REVALIDATION_JITTER", "CMK_MAX_OPEN_KEYS")
OTHERS = (
    "CMK_REVALIDATE_AFTER",
    "CMK_OUTAGE_GRACE",
    "CMK_RETRY_AFTER",
    "CMK_LOCK_CHECK",
    "CMK_LOCK_GRACE",
    "CMK_REASON_FOR",
    "CMK_RECORD_KEY",
    "CMK_CERTIFICATE_KEY",
    "CMK_ACTOR",
    "CMK_TENANT_TAG",
    "CMK_TWO_PEOPLE",
    "CMK_REQUEST_EXPIRY",
    "CMK_TABLE_PREFIX",
    "CMK_WEBHOOKS",
)
OF_KEYRING = (PLATFORM_KEY, KEK_ALLOWED, LOCAL_KEYS, AZURE, PKCS11, PROVIDERS, *SWITCHES, *NUMBERS, *OTHERS)
KNOWN = (*OF_KEYRING, ERROR_PAGES, REPLICAS)


class Configuration:
    """Reads an application's settings.

    Args:
        app: the application.

    Raises:
        ConfigurationError: a setting begins with ``CMK_`` and is not known, or is of the wrong kind.
    """

    def __init__(self, app: Flask) -> None:
        self._config = {name: app.config[name] for name in app.config if name.startswith(PREFIX)}
        self._instance = Path(app.instance_path)
        for name, value in self._config.items():
            _refuse_unknown(name)
            if name in (*SWITCHES, ERROR_PAGES) and not isinstance(value, bool):
                raise ConfigurationError(f"{name} is True or False, not {value!r}")
            if name in NUMBERS and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise ConfigurationError(f"{name} is a number, not {value!r}")

    @property
    def error_pages(self) -> bool:
        """Whether errors of the library are answered by pages of the extension."""
        return bool(self._config.get(ERROR_PAGES, True))

    def replicas(self, engines: Mapping[str | None, object]) -> dict[str | None, str | None]:
        """Return which bind keys are of engines that read a copy, each with that of its primary."""
        found: dict[str | None, str | None] = dict(self._config.get(REPLICAS) or {})
        for key in (*found, *found.values()):
            if key not in engines:
                raise ConfigurationError(
                    f"{REPLICAS} names the bind key {key!r}, of which there is no engine: give "
                    '{"REPLICA": None} for a copy of the default database'
                )
        return found

    def refuse_settings_of_a_keyring(self) -> None:
        """Refuse settings that would go unread, because the keyring was made elsewhere.

        Raises:
            ConfigurationError: there are such.
        """
        unread = [name for name in OF_KEYRING if name in self._config]
        if unread:
            raise ConfigurationError(
                f"CMK was given a keyring, and would not read {', '.join(unread)}: give these to the "
                "Keyring, or leave the keyring out"
            )

    def keyring(self) -> Keyring:
        """Make the keyring that the settings describe.

        Raises:
            ConfigurationError: a setting is missing or wrong.
        """
        platform_key, providers = self._config.get(PLATFORM_KEY), self._providers()
        if platform_key is None or not providers:
            raise ConfigurationError(
                f"CMK needs a keyring: give one, CMK(app, keyring), or set {PLATFORM_KEY} and where KEKs "
                f"live, {LOCAL_KEYS}, {AZURE}, {PKCS11} or {PROVIDERS}"
            )
        options = {
            name.removeprefix(PREFIX).lower(): self._config[name]
            for name in (*SWITCHES, *NUMBERS, *OTHERS)
            if name in self._config
        }
        return Keyring(
            platform_key=platform_key,
            providers=providers,
            kek_allowed=_policy(self._config.get(KEK_ALLOWED), platform_key),
            **options,
        )

    def _providers(self) -> list[KeyProvider]:
        providers: list[KeyProvider] = list(self._config.get(PROVIDERS) or ())
        if (place := self._config.get(LOCAL_KEYS)) is not None:
            providers.append(self._local(place))
        if azure := self._config.get(AZURE):
            providers.append(_azure({} if azure is True else azure))
        modules = self._config.get(PKCS11) or ()
        for options in (modules,) if isinstance(modules, Mapping) else modules:
            providers.append(_pkcs11(options))
        return providers

    def _local(self, place: Any) -> KeyProvider:
        if isinstance(place, str) and place.startswith("env:"):
            return LocalKeyProvider.from_environment(place.removeprefix("env:"))
        if isinstance(place, str) and not Path(place).is_absolute():
            self._instance.mkdir(parents=True, exist_ok=True)
            return LocalKeyProvider(self._instance / place)
        return LocalKeyProvider(place)


def _refuse_unknown(name: str) -> None:
    if name in KNOWN:
        return
    near = get_close_matches(name, KNOWN, 1)
    hint = f"did you mean {near[0]}?" if near else f"the settings are {', '.join(KNOWN)}"
    raise ConfigurationError(f"there is no setting {name}: {hint}")


def _azure(options: Any) -> KeyProvider:
    # Each of these needs an extra.
    from sqlalchemy_cmk.providers import AzureKeyVaultProvider

    if isinstance(options, Mapping) and not {"credential", "credential_for"} & options.keys():
        from azure.identity import DefaultAzureCredential

        options = {"credential": DefaultAzureCredential, **options}
    return _made(AZURE, AzureKeyVaultProvider, options)


def _pkcs11(options: Any) -> KeyProvider:
    from sqlalchemy_cmk.providers import Pkcs11KeyProvider

    return _made(PKCS11, Pkcs11KeyProvider, options)


def _made(name: str, provider: Callable[..., KeyProvider], options: Any) -> KeyProvider:
    if not isinstance(options, Mapping):
        raise ConfigurationError(
            f"{name} holds the arguments of {provider.__name__} by their names, not {type(options).__name__}"
        )
    try:
        return provider(**options)
    except TypeError as error:
        raise ConfigurationError(f"{name}: {error}") from None


def _policy(given: Any, platform_key: str) -> Callable[[str, str], bool] | None:
    """Return who may be served by which KEK; the platform's serves everyone."""
    if given is None or callable(given):
        return given  # type: ignore[no-any-return]
    return KekPolicy(given, everyone=[platform_key])
