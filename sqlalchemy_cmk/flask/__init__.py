"""The Flask extension: an application's keyring, its requests' tenant scope, pages for its errors.

::

    cmk = CMK(tenant=lambda: current_user.clinic_id if current_user.is_authenticated else None)

    def create_app():
        app = Flask(__name__)
        app.config["CMK_PLATFORM_KEY"] = "local:pmk"
        app.config["CMK_LOCAL_KEYS"] = "keys.json"
        db.init_app(app)
        cmk.init_app(app)
        app.register_blueprint(health)
        return app

See :class:`CMK`, and ``docs/flask.md``.
"""

from typing import TYPE_CHECKING

from sqlalchemy_cmk.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from sqlalchemy_cmk.flask.extension import CMK
    from sqlalchemy_cmk.flask.key_notices import event_grid
    from sqlalchemy_cmk.flask.problems import Problem
    from sqlalchemy_cmk.flask.states import health

__all__ = ["CMK", "Problem", "event_grid", "health"]

_HOMES = {"CMK": "extension", "Problem": "problems", "event_grid": "key_notices", "health": "states"}
__getattr__ = lazy_names(__name__, _HOMES, extras=dict.fromkeys(_HOMES, "flask"))
