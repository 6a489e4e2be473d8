"""A patient's documents: taken, given out part by part, deleted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, abort, flash, redirect, request, url_for
from sqlalchemy.orm import Session

from examples.clinic.services import documents, patients
from examples.clinic.web.current import clinic, db, signed_in, storage

pages = Blueprint("documents", __name__)


@pages.post("/patients/<int:number>/documents")
@signed_in
def keep(number: int) -> Any:
    patient = patients.one(db(), clinic(), number) or abort(404)
    file = request.files.get("file")
    try:
        if file is None:
            raise patients.NotValid("Choose a file.")
        title = request.form.get("title", "") or (file.filename or "")
        documents.keep(db(), patient, title, file.stream)
        flash("The document was sealed and stored.")
    except patients.NotValid as error:
        flash(str(error), "problem")
    return redirect(url_for("patients.show", number=number), 303)


@pages.get("/documents/<int:number>")
@signed_in
def download(number: int) -> Response:
    owner, engine = clinic(), storage().engine
    # A session of its own: the request's ends before its answer does.
    session = Session(engine)
    try:
        document = documents.one(session, owner, number) or abort(404)
        parts = documents.parts(session, document)
        # Where the key is missing, that is a page, and not an answer that breaks off.
        first = next(parts)
    except BaseException:
        session.close()
        raise

    def body() -> Iterator[bytes]:
        with session:
            yield first
            yield from parts

    ending = documents.ENDINGS[document.kind]
    headers = {
        "Content-Disposition": f'attachment; filename="document-{document.id}.{ending}"',
        "Content-Length": str(document.size),
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    return Response(body(), mimetype=document.kind, headers=headers)


@pages.post("/documents/<int:number>/delete")
@signed_in
def remove(number: int) -> Any:
    document = documents.one(db(), clinic(), number) or abort(404)
    patient_id = document.patient_id
    documents.remove(db(), document)
    flash("The document was deleted.")
    return redirect(url_for("patients.show", number=patient_id), 303)
