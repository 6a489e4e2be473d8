"""Sealed values on their way to the driver are told from a user's bytes, and cost the collector nothing."""

import gc

from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, create_engine, select, text

from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.marked import MARK, MARK_BYTES, is_marked
from sqlalchemy_cmk.providers import LocalKeyProvider
from tests.support.databases import Database


def test_a_value_that_looks_sealed_is_sealed_like_any_other(sqlite_database: Database, tmp_path) -> None:
    engine, metadata = create_engine(sqlite_database.url), MetaData()
    column = Column("data", EncryptedType(LargeBinary(200), deterministic=True))
    table = Table("files", metadata, Column("id", Integer, primary_key=True), column)
    keyring = Keyring(engine, platform_key="local:pmk", providers=[LocalKeyProvider(tmp_path / "keys.json")])
    keyring.protect(metadata)
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(table.insert(), [{"id": 1, "data": b"first"}])
        stored = connection.execute(text("SELECT data FROM files")).scalar_one()
        assert MARK not in stored
        connection.execute(table.insert(), [{"id": 2, "data": stored}])
        again = connection.execute(text("SELECT data FROM files WHERE id = 2")).scalar_one()
        assert stored not in again
        assert connection.execute(select(table.c.id).where(table.c.data == stored)).scalar_one() == 2
        assert connection.execute(select(table.c.data).where(table.c.id == 2)).scalar_one() == stored
    sealed = column.type.place.sealer("")(b"first")
    assert is_marked(sealed) and sealed[MARK_BYTES:] == stored and not gc.is_tracked(sealed)
    keyring.close()
