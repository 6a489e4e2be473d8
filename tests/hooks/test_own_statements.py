"""Statements of a class of the application's own, such as SQLModel's."""

from typing import Any

import pytest
from sqlalchemy import Select, String
from sqlalchemy.orm import Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType, UnsupportedOperation
from tests.support.vault import Vault


class Own(Select[Any]):
    inherit_cache = True


def things(make_vault: Any) -> tuple[Vault, Any]:
    vault = make_vault()

    class Thing(vault.base):
        __tablename__ = "things"
        id: Mapped[int] = mapped_column(primary_key=True)
        a: Mapped[str] = mapped_column(EncryptedType(String(40)))

    vault.create()
    return vault, Thing


def test_a_select_of_an_own_class_selects_sealed_columns(make_vault: Any) -> None:
    vault, model = things(make_vault)
    with vault.session() as session:
        session.add(model(a="x"))
        session.commit()
        assert [one.a for one in session.scalars(Own(model).where(model.id == 1))] == ["x"]
        assert session.scalars(Own(model.a)).all() == ["x"]


def test_it_is_refused_what_any_select_is_refused(make_vault: Any) -> None:
    vault, model = things(make_vault)
    for statement in (
        Own(model).order_by(model.a),
        Own(model).where(model.a == "x"),
        Own(model.a).distinct(),
    ):
        with vault.session() as session, pytest.raises(UnsupportedOperation):
            session.execute(statement)
