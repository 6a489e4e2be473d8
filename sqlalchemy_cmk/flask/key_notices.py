"""A receiver of Azure Event Grid's events as a blueprint. See :func:`event_grid`."""

from __future__ import annotations

from flask import Blueprint, Response, request

from sqlalchemy_cmk.eventgrid.receiver import LONGEST_BODY, EventGridReceiver


def event_grid(receiver: EventGridReceiver, url_prefix: str = "/cmk/eventgrid") -> Blueprint:
    """Return a blueprint that answers Event Grid, for ``app.register_blueprint(event_grid(receiver))``.

    Where Flask-WTF protects forms, say ``csrf.exempt(blueprint)``: requests bring the receiver's secret.

    Args:
        receiver: answers.
        url_prefix: where it is.
    """
    blueprint = Blueprint("cmk_event_grid", __name__, url_prefix=url_prefix)

    @blueprint.route("", methods=["POST", "OPTIONS"], provide_automatic_options=False)
    def answer() -> Response:
        body = request.stream.read(LONGEST_BODY + 1)
        query = request.query_string.decode("latin-1")
        said = receiver.answer(request.method, dict(request.headers), query, body)
        return Response(said.body, said.status, said.headers)

    return blueprint
