"""What the database sees, and what becomes of attempts to change it. Of the demonstration only."""

from __future__ import annotations

from flask import Blueprint, abort, current_app, render_template

from examples.clinic.clinics import OPERATIONS
from examples.clinic.services import stored, tampering
from examples.clinic.web.current import identity, signed_in, storage

pages = Blueprint("stored", __name__, url_prefix="/database")

FIRST = "patients"


@pages.get("/", defaults={"name": FIRST})
@pages.get("/<name>")
@signed_in
def show(name: str) -> str:
    return _page(name)


@pages.post("/try/<any(flip, swap, move, take_over, relabel):what>")
@signed_in
def attempt(what: str) -> str:
    who = identity()
    if who is None or who.clinic == OPERATIONS or not current_app.config["DEMONSTRATION"]:
        abort(404)
    return _page(FIRST, tampering.attempt(storage(), who.clinic, what))


def _page(name: str, outcome: tampering.Outcome | None = None) -> str:
    who, engine = identity(), storage().engine
    known = stored.tables(engine)
    if who is None or name not in known or not current_app.config["DEMONSTRATION"]:
        abort(404)
    columns, rows = stored.rows_of(engine, name, who.clinic)
    attempts = {key: words for key, (words, _) in tampering.ATTEMPTS.items()}
    return render_template(
        "stored.html",
        name=name,
        tables=known,
        columns=columns,
        rows=rows,
        sealed=stored.sealed_names(name),
        attempts={} if who.clinic == OPERATIONS else attempts,
        outcome=outcome,
    )
