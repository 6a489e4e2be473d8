"""Receives what Azure Event Grid says of keys in Key Vault: new versions are followed, expiries announced.

:class:`EventGridReceiver` answers requests, whatever brings them: :func:`wsgi_app`, :func:`asgi_app`, or
``sqlalchemy_cmk.flask.event_grid``.
"""

from sqlalchemy_cmk.eventgrid.asgi import asgi_app
from sqlalchemy_cmk.eventgrid.receiver import Answer, EventGridReceiver
from sqlalchemy_cmk.eventgrid.wsgi import wsgi_app

__all__ = ["Answer", "EventGridReceiver", "asgi_app", "wsgi_app"]
