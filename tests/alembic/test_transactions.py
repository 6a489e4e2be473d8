"""A migration commits its steps, whatever transaction has begun on its connection."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sqlalchemy_cmk import ConfigurationError
from tests.alembic.adopting import Adoption, adoption
from tests.support.databases import Database


@pytest.fixture
def adopted(database: Database, tmp_path: Path) -> Iterator[Adoption]:
    """A table of four plain values on each database."""
    with adoption(database.url, tmp_path) as made:
        made.create()
        made.fill(4)
        yield made


def in_autocommit(step: Callable[[Any], None]) -> Callable[[Any], None]:
    """A migration as advanced-alchemy's template writes it, with every statement committed by itself."""

    def run(op: Any) -> None:
        with op.get_context().autocommit_block():
            step(op)

    return run


def test_a_column_is_sealed_and_opened_in_an_autocommit_block(adopted: Adoption) -> None:
    plain = adopted.stored()
    adopted.migrate(in_autocommit(adopted.sealing))
    assert adopted.opened() == plain
    assert adopted.stored() != plain
    adopted.migrate(in_autocommit(adopted.opening))
    assert adopted.stored() == plain


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_where_alembic_begins_no_transaction_the_option_that_has_it_begin_one_is_named(
    adopted: Adoption,
) -> None:
    plain = adopted.stored()
    with pytest.raises(ConfigurationError, match=r"transaction_per_migration=True"):
        adopted.migrate(adopted.sealing, transaction_per_migration=False)
    assert adopted.stored() == plain
    adopted.seal()
    assert adopted.opened() == plain
