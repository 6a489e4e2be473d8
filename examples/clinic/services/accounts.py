"""Who may sign in, and who is signed in.

- Passwords are kept as scrypt hashes. An unknown address costs as much time as a wrong password.
- A browser keeps a random secret, the database its hash: signing out ends it, also for anyone who copied it.
- Failures are counted by account and by address, under a key, so that the table tells nobody who tried.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from functools import cache
from hashlib import sha256

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session
from werkzeug.security import check_password_hash, generate_password_hash

from examples.clinic.models import Failure, SignIn, Staff
from sqlalchemy_cmk.search import fold

LASTS = 8 * 3600
# Failures within WINDOW seconds after which nobody is let in: of one account, and from one address.
WINDOW, PER_ACCOUNT, PER_ADDRESS = 900, 5, 30


@dataclass(frozen=True)
class Identity:
    """Who is signed in."""

    staff_id: int
    clinic: str
    officer: bool


class TooManyFailures(Exception):
    """Nobody is let in for now. ``seconds``: when to try again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"try again in {seconds} s")
        self.seconds = seconds


class Accounts:
    """Signs people in and out.

    Args:
        key: the application's own secret, under which failures are counted.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign_in(self, db: Session, email: str, password: str, address: str, now: float) -> str | None:
        """Return the secret for the browser, or ``None`` if address and password do not fit.

        Raises:
            TooManyFailures: there were too many failures of this account, or from this address.
        """
        account = self._hidden("account", fold(email.strip()))
        browser = self._hidden("address", address)
        tried = self._count(db, {account: PER_ACCOUNT, browser: PER_ADDRESS}, now)
        # What is sealed is not asked for: staff whose clinic has switched its key off may sign in.
        query = select(Staff.id, Staff.password).where(Staff.email.iequals(email.strip()))
        found = db.execute(query).one_or_none() if 0 < len(email) <= 120 else None
        fits = check_password_hash(_decoy() if found is None else found.password, password[:200])
        if found is None or not fits:
            return None
        secret = secrets.token_urlsafe(32)
        db.execute(delete(Failure).where(Failure.id.in_(tried)))
        db.execute(delete(SignIn).where(SignIn.expires_at <= now))
        db.add(SignIn(secret_hash=_hash(secret), staff_id=found.id, expires_at=now + LASTS))
        db.commit()
        return secret

    def who(self, db: Session, secret: str, now: float) -> Identity | None:
        """Return whose browser keeps this secret."""
        query = select(Staff.id, Staff.clinic, Staff.officer).join(SignIn, SignIn.staff_id == Staff.id)
        here = (SignIn.secret_hash == _hash(secret), SignIn.expires_at > now)
        found = db.execute(query.where(*here)).one_or_none()
        return None if found is None else Identity(*found)

    def sign_out(self, db: Session, secret: str) -> None:
        db.execute(delete(SignIn).where(SignIn.secret_hash == _hash(secret)))
        db.commit()

    def _count(self, db: Session, limits: dict[str, int], now: float) -> list[int]:
        """Note an attempt as a failure before it is made: of many at once none is left out.

        Returns:
            The ids of what was noted, to be deleted where the attempt was none.
        """
        db.execute(delete(Failure).where(Failure.at <= now - WINDOW))
        noted = [Failure(who=one, at=now) for one in limits]
        db.add_all(noted)
        db.flush()
        ids = [one.id for one in noted]
        db.commit()
        counted = select(Failure.who, func.count(), func.min(Failure.at)).where(Failure.who.in_(limits))
        rows = db.execute(counted.group_by(Failure.who)).all()
        waits = [first + WINDOW - now for who, count, first in rows if count > limits[who]]
        if waits:
            # It was not tried, and does not make the wait longer.
            db.execute(delete(Failure).where(Failure.id.in_(ids)))
            db.commit()
            raise TooManyFailures(max(1, round(max(waits))))
        return ids

    def _hidden(self, kind: str, text: str) -> str:
        return hmac.new(self._key, f"{kind}:{text}".encode(), sha256).hexdigest()


def _hash(secret: str) -> bytes:
    return sha256(secret.encode()).digest()


@cache
def _decoy() -> str:
    return generate_password_hash(secrets.token_urlsafe(16))
