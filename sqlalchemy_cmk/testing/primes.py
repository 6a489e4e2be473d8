"""Makes many RSA keys quickly and insecurely, by pairing the primes of a few.

Making an RSA key of 2048 bits takes a large part of a second, too long for two hundred vaults. The
primes of one generated key are paired with those of all before it, so that 11 generated keys give 231
different ones, none handed out twice in a process. Anyone who has two public keys of this kind can factor
them: they are good for an emulator and for nothing else.
"""

from __future__ import annotations

import threading
from collections import deque

from cryptography.hazmat.primitives.asymmetric import rsa

EXPONENT = 65537


class PrimePool:
    """Makes different RSA keys of one size."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._primes: list[int] = []
        self._pairs: deque[tuple[int, int]] = deque()

    def key(self) -> rsa.RSAPrivateKey:
        """Return a key that this pool has not returned before."""
        with self._lock:
            while not self._pairs:
                self._extend()
            p, q = self._pairs.popleft()
        d = rsa.rsa_recover_private_exponent(EXPONENT, p, q)
        return rsa.RSAPrivateNumbers(
            p=p,
            q=q,
            d=d,
            dmp1=rsa.rsa_crt_dmp1(d, p),
            dmq1=rsa.rsa_crt_dmq1(d, q),
            iqmp=rsa.rsa_crt_iqmp(p, q),
            public_numbers=rsa.RSAPublicNumbers(EXPONENT, p * q),
        ).private_key(unsafe_skip_rsa_key_validation=True)

    def _extend(self) -> None:
        made = rsa.generate_private_key(EXPONENT, self._size).private_numbers()
        for prime in (made.p, made.q):
            # A product of two primes of the right length may be one bit short.
            fitting = [other for other in self._primes if (other * prime).bit_length() == self._size]
            self._pairs.extend((max(prime, other), min(prime, other)) for other in fitting)
            self._primes.append(prime)


_pools = {size: PrimePool(size) for size in (2048, 3072, 4096)}


def rsa_key(size: int) -> rsa.RSAPrivateKey:
    """Return an RSA key of 2048, 3072 or 4096 bits that this process has not seen before."""
    return _pools[size].key()
