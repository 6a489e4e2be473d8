"""A part of the Chinook sample schema, with rows made by code: an application in a folder of its own.

Tables and columns have Chinook's names and types; the people in it are invented.
"""

import random
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, MetaData, insert

MODELS = """
from datetime import datetime
from decimal import Decimal

from sqlalchemy import DateTime, ForeignKey, Numeric, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider


class Base(DeclarativeBase):
    pass


class Artist(Base):
    __tablename__ = "Artist"
    ArtistId: Mapped[int] = mapped_column(primary_key=True)
    Name: Mapped[str | None] = mapped_column(String(120))


class Album(Base):
    __tablename__ = "Album"
    AlbumId: Mapped[int] = mapped_column(primary_key=True)
    Title: Mapped[str] = mapped_column(String(160))
    ArtistId: Mapped[int] = mapped_column(ForeignKey("Artist.ArtistId"), index=True)


class Track(Base):
    __tablename__ = "Track"
    TrackId: Mapped[int] = mapped_column(primary_key=True)
    Name: Mapped[str] = mapped_column(String(200))
    AlbumId: Mapped[int | None] = mapped_column(ForeignKey("Album.AlbumId"), index=True)
    Composer: Mapped[str | None] = mapped_column(String(220))
    Milliseconds: Mapped[int]
    UnitPrice: Mapped[Decimal] = mapped_column(Numeric(10, 2))


class Customer(Base):
    __tablename__ = "Customer"
    __cmk_tenant__ = "SupportRepId"  # whose customer it is
    CustomerId: Mapped[int] = mapped_column(primary_key=True)
    FirstName: Mapped[str] = mapped_column(String(40))
    LastName: Mapped[str] = mapped_column(String(20))
    Country: Mapped[str | None] = mapped_column(String(40))
    Phone: Mapped[str | None] = mapped_column(PHONE)
    Email: Mapped[str] = mapped_column(EMAIL, unique=True)
    SupportRepId: Mapped[int] = mapped_column(index=True)


class Invoice(Base):
    __tablename__ = "Invoice"
    InvoiceId: Mapped[int] = mapped_column(primary_key=True)
    CustomerId: Mapped[int] = mapped_column(ForeignKey("Customer.CustomerId"), index=True)
    InvoiceDate: Mapped[datetime] = mapped_column(DateTime())
    BillingCity: Mapped[str | None] = mapped_column(String(40))
    Total: Mapped[Decimal] = mapped_column(Numeric(10, 2))
"""
ENGINE = """
from sqlalchemy import create_engine
engine = create_engine("URL")
"""
ASYNC_ENGINE = """
from sqlalchemy.ext.asyncio import create_async_engine
engine = create_async_engine("URL")
"""
KEYRING = """
keyring = Keyring(engine, platform_key="local:pmk", providers=[LocalKeyProvider("keys.json")])
keyring.protect(Base)
"""
PLAIN = {"PHONE": "String(24)", "EMAIL": "String(60)"}
SEALED = {
    "PHONE": "EncryptedType(String(24))",
    "EMAIL": "EncryptedType(String(60), deterministic=True)",
}
NAMES = ("Ana", "Björn", "Chloé", "Dušan", "Eiríkur", "Fátima", "Gonçalo", "Hélène", "İpek", "Jürgen", "李")


def write_models(folder: Path, url: URL, types: dict[str, str], *, keyring: bool) -> None:
    """Write the application's module, as it is before or after a developer adopts sealed columns."""
    engine = ASYNC_ENGINE if url.get_dialect().is_async else ENGINE
    engine = engine.replace('"URL"', repr(url.render_as_string(hide_password=False)))
    text = MODELS + engine + (KEYRING if keyring else "")
    for name, type_ in types.items():
        text = text.replace(f"({name}", f"({type_}")
    (folder / "models.py").write_text(text)


def fill(connection: Connection, metadata: MetaData) -> None:
    """Write a few hundred rows, the same each time."""
    dice = random.Random(2008)
    for name, rows in _rows(dice).items():
        connection.execute(insert(metadata.tables[name]), rows)


def _rows(dice: random.Random) -> dict[str, list[dict[str, Any]]]:
    name = lambda: f"{dice.choice(NAMES)} {dice.choice(NAMES)}"  # noqa: E731
    start = datetime(2009, 1, 1)
    return {
        "Artist": [{"ArtistId": n, "Name": name()} for n in range(1, 41)],
        "Album": [
            {"AlbumId": n, "Title": f"Songs of {name()}", "ArtistId": dice.randint(1, 40)}
            for n in range(1, 81)
        ],
        "Track": [
            {
                "TrackId": n,
                "Name": f"№ {n}",
                "AlbumId": dice.randint(1, 80),
                "Composer": name() if n % 3 else None,
                "Milliseconds": dice.randint(60_000, 600_000),
                "UnitPrice": Decimal("0.99"),
            }
            for n in range(1, 301)
        ],
        "Customer": [
            {
                "CustomerId": n,
                "FirstName": dice.choice(NAMES),
                "LastName": dice.choice(NAMES),
                "Country": dice.choice(("Brazil", "Deutschland", "日本")),
                "Phone": f"+55 (12) 3923-{n:04}" if n % 4 else None,
                "Email": f"customer{n}@example.org",
                "SupportRepId": 3 + n % 3,
            }
            for n in range(1, 201)
        ],
        "Invoice": [
            {
                "InvoiceId": n,
                "CustomerId": dice.randint(1, 200),
                "InvoiceDate": start + timedelta(hours=n),
                "BillingCity": dice.choice((None, "São José dos Campos", "Köln")),
                "Total": Decimal(dice.randint(99, 2500)) / 100,
            }
            for n in range(1, 401)
        ],
    }
