"""The keyring's connections of an asynchronous driver, which many threads open at once."""

import threading
from pathlib import Path

from sqlalchemy import Connection, select
from sqlalchemy.ext.asyncio import create_async_engine

from sqlalchemy_cmk.keys.storage.connections import Connections
from sqlalchemy_cmk.runtime.threads import Threads

AT_ONCE = 8


def test_threads_that_open_the_first_connections_at_once_do_not_hang(tmp_path: Path) -> None:
    connections = Connections(create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'app.db'}"))
    begin = threading.Barrier(AT_ONCE)

    def one(connection: Connection) -> int:
        return connection.execute(select(1)).scalar_one()

    def work() -> int:
        begin.wait(60)
        return connections.run(one)

    threads = Threads("test", AT_ONCE)
    futures = [threads.submit("", work) for _ in range(AT_ONCE)]
    assert [future.result(60) for future in futures] == [1] * AT_ONCE
