"""What sqlalchemy_private takes from sessions without a public way; a changed release fails here."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ForeignKey, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, PassiveFlag, Session, mapped_column, relationship

from sqlalchemy_cmk.databases import sqlalchemy_private as private


class Base(DeclarativeBase):
    pass


class Node(Base):
    __tablename__ = "nodes"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("nodes.id"))
    parent: Mapped["Node | None"] = relationship(remote_side=[id])


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    engine = create_engine(f"sqlite:///{tmp_path / 'nodes'}")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Node(id=1), Node(id=2, parent_id=1)])
        session.commit()
        yield session
    engine.dispose()


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is checked, by hooks that this test alone puts into sessions."""
    noted: list[Any] = []
    for name in ("_identity_lookup", "_merge"):
        monkeypatch.setattr(Session, name, getattr(Session, name))  # put back after the test

    def note(state: Any, may_load: bool) -> None:
        noted.append((state.obj(), may_load))

    private.watch_lookups(note)
    private.watch_merges(note, lambda state: noted.append(state.obj()))
    return noted


def test_an_object_that_a_lookup_finds_is_checked(session: Session, noted: list[Any]) -> None:
    parent, child = session.get_one(Node, 1), session.get_one(Node, 2)
    assert noted == []
    assert session.get(Node, 1) is parent and session.get_one(Node, 2) is child
    assert noted == [(parent, True), (child, True)]


def test_an_object_that_a_relationship_finds_is_checked(session: Session, noted: list[Any]) -> None:
    parent, child = session.get_one(Node, 1), session.get_one(Node, 2)
    assert child.parent is parent
    assert noted == [(parent, True)]


def test_what_a_check_must_not_load_is_said(session: Session, noted: list[Any]) -> None:
    parent = session.get_one(Node, 1)
    session._identity_lookup(Node.__mapper__, (1,), passive=PassiveFlag.PASSIVE_NO_FETCH)
    assert noted == [(parent, False)]


def test_objects_on_both_sides_of_a_merge_are_checked(session: Session, noted: list[Any]) -> None:
    held = session.get_one(Node, 1)
    given = Node(id=1)
    assert session.merge(given) is held
    assert noted == [given, (held, True)]
    noted.clear()
    relative = Node(id=3, parent=given)
    session.merge(relative)
    assert noted == [relative, given, (held, True)]


def test_a_merge_of_what_no_session_has_is_not_a_find(session: Session, noted: list[Any]) -> None:
    given = Node()
    session.merge(given)
    assert noted == [given]
