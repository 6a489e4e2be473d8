"""Seals a row, takes its key away and gives it back: what an installed wheel has to do without any extra."""

from sqlalchemy import String, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sqlalchemy_cmk import EncryptedType, KeyRevoked, Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider


class Base(DeclarativeBase):
    pass


class Patient(Base):
    __tablename__ = "patients"
    __cmk_tenant__ = "clinic"
    id: Mapped[int] = mapped_column(primary_key=True)
    clinic: Mapped[str]
    ssn: Mapped[str] = mapped_column(EncryptedType(String(11)))


engine = create_engine("sqlite:///tried.db")
keks = LocalKeyProvider("keys.json")
with Keyring(
    engine, platform_key="local:pmk", providers=[keks], revalidate_after=0, retry_after=0
) as keyring:
    keyring.protect(Base)
    Base.metadata.create_all(engine)
    keyring.assign("acme", "local:acme")
    with Session(engine) as session:
        session.add(Patient(clinic="acme", ssn="078-05-1120"))
        session.commit()
        keks.disable("local:acme")
        try:
            session.scalars(select(Patient)).all()
            raise SystemExit("the value opened under a key that is switched off")
        except KeyRevoked:
            keks.enable("local:acme")
        if session.scalars(select(Patient.ssn).where(Patient.clinic == "acme")).all() != ["078-05-1120"]:
            raise SystemExit("the value did not come back")
print("the wheel seals, is shut by its key, and opens again")
