"""The extension itself. See :class:`CMK`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask
from sqlalchemy import MetaData

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.flask.commands import AppCommands
from sqlalchemy_cmk.flask.configuration import Configuration
from sqlalchemy_cmk.flask.problems import OnProblem, Problems
from sqlalchemy_cmk.flask.requests import TenantCallable, scope_requests
from sqlalchemy_cmk.flask.served import (
    EXTENSION,
    Served,
    engine_here,
    engines_of,
    metadatas_of,
    served_here,
)
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.runtime.kinds import Kind

if TYPE_CHECKING:
    from sqlalchemy_cmk.flask.served import AnyEngine


class CMK:
    """Serves Flask applications: their engines, their requests, their errors, their command line.

    ``CMK(app, keyring, tenant=...)`` for one application, or ``cmk = CMK(tenant=...)`` and
    ``cmk.init_app(app)`` in an application factory, for any number of applications.

    Args:
        app: the application, after ``db.init_app(app)`` of Flask-SQLAlchemy.
        keyring: a keyring for every application. Without one, each application's keyring is made from its
            configuration, ``app.config["CMK_..."]``, and is :attr:`keyring` in its context.
        tenant: returns the name of the request's tenant, such as the signed-in user's, and may be a coroutine
            function. The request runs in its scope: before the view, and until the last byte of a streamed
            answer. It is called once for each request, also for those that end in a 404, and ``None`` means
            that there is no scope. Without this argument no request has one.
        engine: the application's engine, sync or async, if Flask-SQLAlchemy has not made it.
        models: the declarative base or ``MetaData`` to protect, or several; those of Flask-SQLAlchemy are
            found.
        on_problem: given a :class:`~sqlalchemy_cmk.flask.Problem` and the error, returns another ``Problem``,
            or whatever a view may return as the answer; ``None`` for the answer as it is.
        health_details: returns whether the request may see the names of tenants at the health endpoint.
            Default: none may.

    Raises:
        ConfigurationError: as :meth:`init_app`.
    """

    def __init__(
        self,
        app: Flask | None = None,
        keyring: Keyring | None = None,
        *,
        tenant: TenantCallable | None = None,
        engine: AnyEngine | None = None,
        models: MetaData | Any | Iterable[MetaData | Any] = (),
        on_problem: OnProblem | None = None,
        health_details: Callable[[], object] | None = None,
    ) -> None:
        if keyring is not None and not isinstance(keyring, Keyring):
            raise ConfigurationError(
                f"CMK takes a Keyring, not {type(keyring).__name__}: leave it out to make one from app.config"
            )
        if tenant is not None and not callable(tenant):
            raise ConfigurationError(
                "tenant= is a function that returns the name of the request's tenant: one name for every "
                "request would open its rows to everybody"
            )
        self._keyring = keyring
        self._tenant = tenant
        self._engine = engine
        self._models = list(models) if isinstance(models, list | tuple) else [models]
        self._on_problem = on_problem
        self._details_for = health_details
        if app is not None:
            self.init_app(app)

    @property
    def keyring(self) -> Keyring:
        """The keyring of the current application.

        Raises:
            ConfigurationError: it is made from an application's configuration, and none is current.
        """
        return self._keyring or served_here().keyring

    def init_app(self, app: Flask, engine: AnyEngine | None = None) -> None:
        """Serve an application.

        Within its context, calls such as ``cmk.keyring.assign(...)`` apply to the database of its default
        bind; ``cmk.keyring.for_engine(...)`` selects another.

        Args:
            app: the application, after ``db.init_app(app)`` of Flask-SQLAlchemy.
            engine: its engine, if Flask-SQLAlchemy has not made it.

        Raises:
            ConfigurationError: the application is served already, no engine is found, a setting is wrong or
                not known, or something is declared wrongly; see :meth:`Keyring.protect`.
        """
        Kind((Flask,), "a Flask application").require("app", app)
        if EXTENSION in app.extensions:
            raise ConfigurationError("this application is served by a CMK already: call init_app once")
        configuration = Configuration(app)
        keyring = self._keyring
        if keyring is None:
            keyring = configuration.keyring()
        else:
            configuration.refuse_settings_of_a_keyring()
        given = engine or self._engine
        engines: dict[str | None, AnyEngine] = {None: given} if given is not None else engines_of(app)
        if not engines and not keyring.engines.all():
            raise ConfigurationError(
                "no engine is found: call db.init_app(app) of Flask-SQLAlchemy first, or give one, "
                "cmk.init_app(app, engine)"
            )
        replicas = configuration.replicas(engines)
        self._serve(keyring, engines, replicas)
        for models in (*([] if given is not None else metadatas_of(app)), *self._models):
            keyring.protect(models)
        app.extensions[EXTENSION] = Served(keyring, engines, replicas, self._details_for)
        keyring.engines.choose_by(engine_here)
        # For its templates alone: an application's own of the same names come first.
        app.register_blueprint(Blueprint("sqlalchemy_cmk", __name__, template_folder="templates"))
        if self._tenant is not None:
            scope_requests(app, self._tenant)
        if configuration.error_pages:
            Problems(app, self._on_problem, keyring.retry_after).register()
        app.cli.add_command(AppCommands("cmk"))

    def _serve(
        self,
        keyring: Keyring,
        engines: dict[str | None, AnyEngine],
        replicas: dict[str | None, str | None],
    ) -> None:
        for key, engine in engines.items():
            if key not in replicas:
                keyring.init_engine(engine)
        for key, primary in replicas.items():
            keyring.init_engine(engines[key], replica_of=engines[primary])
