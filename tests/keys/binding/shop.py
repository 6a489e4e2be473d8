"""One model, as an application's module has it, and what its factories make over it again and again."""

import gc
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, String, create_engine, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider


class Shop:
    """A module with one base and one model; a test makes engines and keyrings as it likes."""

    def __init__(self, folder: Path) -> None:
        class Base(DeclarativeBase):
            pass

        class Order(Base):
            __tablename__ = "orders"
            __cmk_tenant__ = "shop"
            id: Mapped[int] = mapped_column(primary_key=True)
            shop: Mapped[str] = mapped_column(String(40))
            card: Mapped[str | None] = mapped_column(EncryptedType(String(40), deterministic=True))

        self.base, self.order, self.folder = Base, Order, folder

    def engine(self, name: str) -> Engine:
        """An engine to a database file of its own."""
        return create_engine(f"sqlite:///{self.folder / name}.db")

    def keyring(self, *engines: Engine, **options: Any) -> Keyring:
        """A keyring of any number of engines, whose tables are made, that protects the model.

        It does not look for locks: that would take a connection while a test counts them.
        """
        provider = LocalKeyProvider(self.folder / "keys.json")
        options = {"lock_check": 3600, **options}
        keyring = Keyring(platform_key="local:pmk", providers=[provider], **options)
        for engine in engines:
            keyring.init_engine(engine)
        gc.collect()
        keyring.protect(self.base)
        for engine in engines:
            self.base.metadata.create_all(engine)
        return keyring

    def write(self, bind: Any, *cards: str, shop: str = "acme") -> None:
        with Session(bind) as session:
            session.add_all([self.order(shop=shop, card=card) for card in cards])
            session.commit()

    def read(self, bind: Any) -> list[str | None]:
        with Session(bind) as session:
            return [one.card for one in session.scalars(select(self.order).order_by(self.order.id))]


def deks(engine: Engine) -> set[bytes]:
    """The ids of the DEKs that are stored beside an engine's rows."""
    with engine.connect() as connection:
        return {bytes(one) for one in connection.execute(text("SELECT id FROM cmk_deks")).scalars()}


def named(engine: Engine) -> set[bytes]:
    """The ids of the DEKs under which an engine's rows are sealed."""
    with engine.connect() as connection:
        stored = connection.execute(text("SELECT card FROM orders WHERE card IS NOT NULL")).scalars()
        return {bytes(one)[1:9] for one in stored}
