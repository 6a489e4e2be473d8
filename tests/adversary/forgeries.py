"""What an attacker can make: they know the formats, and the public keys of the tenants' KEKs."""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from sqlalchemy_cmk.keys.manifest.check_value import check_value
from sqlalchemy_cmk.providers import Secret
from tests.adversary.town import KEK, Tenant, Town

CHOSEN = bytes(range(32))
PLANTED = b"planted!"
OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


def flipped(value: bytes, place: int) -> bytes:
    """The value with one bit changed in a byte."""
    return value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]


def wrapped_by_its_public_key(tenant: Tenant, dek: bytes) -> bytes:
    """A DEK wrapped by a tenant's KEK: a vault shows the public half to anyone who may read the key."""
    return tenant.vault.versions(KEK)[-1].material.secret.public_key().encrypt(dek, OAEP)


def planted_dek(town: Town, tenant: Tenant) -> None:
    """Make a DEK of the attacker's choice a tenant's active one, with all that fits to it."""
    (active,) = [row for row in town.deks(tenant) if row["active_slot"]]
    (wrapping,) = [row for row in town.wrappings(tenant) if row["dek_id"] == active["id"]]
    town.change("cmk_deks", "id = :key", active["id"], {"state": "retired", "active_slot": None})
    # Anyone who has chosen the DEK can compute its check value.
    fits = check_value(Secret(CHOSEN), PLANTED, "randomized", tenant.name)
    town.insert("cmk_deks", {**active, "id": PLANTED, "check_value": fits})
    data = wrapped_by_its_public_key(tenant, CHOSEN)
    town.insert("cmk_wrappings", {**wrapping, "dek_id": PLANTED, "wrapped": data})
