"""The vendor's application: patients of several customers, and the keyring that ``cmk`` works on too."""

import os
from contextlib import ExitStack
from pathlib import Path

from azure.identity import ClientSecretCredential
from flask import Flask, g, request
from sqlalchemy import Engine, ForeignKey, String, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sqlalchemy_cmk import EncryptedType, Keyring, Webhook
from sqlalchemy_cmk.flask import CMK
from sqlalchemy_cmk.providers import AzureKeyVaultProvider, LocalKeyProvider
from sqlalchemy_cmk.search import Prefix
from tests.story.setting import ACTOR, VARIABLE, Setting

CUSTOMER = "acme"
# Short, so that the story is.
REVALIDATE_AFTER = 2


class Base(DeclarativeBase):
    pass


class Patient(Base):
    __tablename__ = "patients"
    __cmk_tenant__ = "clinic"
    id: Mapped[int] = mapped_column(primary_key=True)
    clinic: Mapped[str] = mapped_column(String(40), index=True)
    name: Mapped[str] = mapped_column(EncryptedType(String(80), index=[Prefix()]))
    notes: Mapped[str] = mapped_column(EncryptedType(String(200)))


class Visit(Base):
    __tablename__ = "visits"
    __cmk_tenant__ = "clinic"
    id: Mapped[int] = mapped_column(primary_key=True)
    clinic: Mapped[str] = mapped_column(String(40))
    patient_id: Mapped[int] = mapped_column(ForeignKey(Patient.id))
    reason: Mapped[str] = mapped_column(EncryptedType(String(80)))


def keyring(setting: Setting | None = None, engine: Engine | None = None) -> Keyring:
    """Return the vendor's keyring: of a web server's worker, and of each command."""
    setting = setting or Setting.read(os.environ[VARIABLE])
    vaults = AzureKeyVaultProvider(
        lambda: ClientSecretCredential(
            **setting.login, disable_instance_discovery=True, connection_verify=setting.ca_file
        ),
        trusted_hosts=setting.hosts,
        retries=1,
        retry_bound=5,
        connection_verify=setting.ca_file,
        user_agent="clinic/2.1",
    )

    def webhooks(tenant: str) -> list[Webhook]:
        told = [Webhook("security", setting.webhook, setting.secret, local=True)]
        return told if tenant == CUSTOMER else []

    made = Keyring(
        engine or create_engine(setting.database_url),
        platform_key="local:pmk",
        providers=[LocalKeyProvider(Path(setting.folder, "keys.json")), vaults],
        revalidate_after=REVALIDATE_AFTER,
        retry_after=1,
        actor=lambda: os.environ.get(ACTOR, "vendor"),
        webhooks=webhooks,
        two_people=["shred", "unlock"],
        certificate_key=f"file:{setting.signing_key}",
    )
    made.protect(Base)
    return made


def create_app() -> Flask:
    """Return the web application: ``X-Clinic`` stands in for somebody who has signed in."""
    setting = Setting.read(os.environ[VARIABLE])
    engine = create_engine(setting.database_url)
    app, own = Flask(__name__), keyring(setting, engine)

    @app.get("/patients")
    def patients() -> list[str]:
        own_rows = select(Patient.name).where(Patient.clinic == request.headers["X-Clinic"])
        with Session(engine) as session:
            return list(session.scalars(own_rows.order_by(Patient.id)))

    @app.before_request
    def say_why() -> None:
        g.why = ExitStack()
        g.why.enter_context(own.because(f"page {request.path}", actor="dr. jones"))

    @app.teardown_request
    def leave(_: BaseException | None) -> None:
        g.pop("why").close()

    CMK(app, own, tenant=lambda: request.headers.get("X-Clinic"), engine=engine)
    return app
