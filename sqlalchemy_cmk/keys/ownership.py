"""Whether a KEK's owner has said whose it is: asked before a tenant is put under it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlalchemy_cmk.errors import ConfigurationError, KekNotOwned
from sqlalchemy_cmk.keys.opening.flows import Flow
from sqlalchemy_cmk.keys.opening.wrapper import Wrapper
from sqlalchemy_cmk.providers.owners import TENANT_TAG, tag_word
from sqlalchemy_cmk.providers.uris import shown
from sqlalchemy_cmk.runtime.blocking import off_the_loop
from sqlalchemy_cmk.runtime.kinds import named
from sqlalchemy_cmk.scope import PLATFORM_TENANT

TenantTag = str | Callable[[str, str], bool] | None


class Ownership:
    """Refuses a KEK that does not name the tenant: a tenant could name a KEK of somebody else's.

    The platform's KEK serves everybody, and the platform's own keys may be under any KEK. KEKs of a provider
    that cannot say whose they are, such as those of a key file, are not refused.

    Args:
        tenant_tag: the name of the tag in which a KEK names its tenants; or a function that is given a
            tenant's name and a KEK's URI, and returns whether the KEK is theirs; or ``None``: every KEK is.
        platform_key: the platform's KEK.
        wrapper: calls the providers.
    """

    def __init__(self, tenant_tag: TenantTag, platform_key: str, wrapper: Wrapper) -> None:
        self._tag = tenant_tag
        self._platform_key = platform_key
        self._wrapper = wrapper

    def require(self, tenant: str, kek_uri: str) -> None:
        """Refuse a KEK that does not name the tenant.

        Raises:
            KekNotOwned: it names another, or nobody.
            KeyRevoked, KeyUnavailable: the KEK cannot be asked.
        """
        for error in self.refusals([tenant], kek_uri).values():
            raise error

    def refusals(self, tenants: Iterable[str], kek_uri: str) -> dict[str, KekNotOwned]:
        """Follow :meth:`asking`."""
        return self._wrapper.calls.follow(self.asking(tenants, kek_uri))

    def asking(self, tenants: Iterable[str], kek_uri: str) -> Flow[dict[str, KekNotOwned]]:
        """Return the error for each of these tenants that a KEK does not name."""
        tag = self._tag
        if tag is None or kek_uri == self._platform_key:
            return {}
        asked = [tenant for tenant in tenants if tenant != PLATFORM_TENANT]
        if callable(tag):
            return {
                one: _refused_in_code(one, kek_uri) for one in asked if not says_theirs(tag, one, kek_uri)
            }
        owners = yield from self._wrapper.asking_owners(asked, kek_uri, tag)
        return {
            tenant: _refused_by_tag(tag, tenant, kek_uri)
            for tenant, named in owners.items()
            if named is not None and not named.include(tenant)
        }


def check_tenant_tag(tenant_tag: TenantTag) -> TenantTag:
    """Return what says whose a KEK is.

    Raises:
        ConfigurationError: it is neither a tag's name, nor a function, nor ``None``.
    """
    if tenant_tag is None or callable(tenant_tag) or (isinstance(tenant_tag, str) and tenant_tag):
        return tenant_tag
    raise ConfigurationError(
        f"tenant_tag is the name of a tag, such as {TENANT_TAG!r}, a function, or None, "
        f"not {named(tenant_tag)}"
    )


def says_theirs(tag: Callable[[str, str], bool], tenant: str, kek_uri: str) -> bool:
    """Return whether the application says in code that a KEK is a tenant's.

    Raises:
        ConfigurationError: its answer is not a bool.
    """
    answer = off_the_loop(lambda: tag(tenant, kek_uri), place="policy")
    if not isinstance(answer, bool):
        # A coroutine of an async function would be true for everyone.
        raise ConfigurationError(f"tenant_tag returns a bool, not {type(answer).__name__}")
    return answer


def _refused_by_tag(tag: str, tenant: str, kek_uri: str) -> KekNotOwned:
    # Whose it is instead is nothing that the tenant should learn.
    return KekNotOwned(
        f"{shown(kek_uri)} does not say that it may serve tenant {tenant!r}: if it is theirs, they let it "
        f"say so, in Azure by the tag {tag}={tag_word(tenant)}; cmk onboard shows how"
    )


def _refused_in_code(tenant: str, kek_uri: str) -> KekNotOwned:
    return KekNotOwned(
        f"{shown(kek_uri)} is not tenant {tenant!r}'s: Keyring(tenant_tag=...) refuses it; if the tenant has "
        "a new KEK, add it there first"
    )
