"""The application on an asynchronous driver, for ASGI."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from benchmarks.drill.setting import Setting
from benchmarks.soak.notes import OK, PAGE, SETTING, Base, Note, listed, refusal, shown
from sqlalchemy_cmk import CmkError


def asyncpg() -> Starlette:
    return create_app("asyncpg")


def psycopg() -> Starlette:
    return create_app("psycopg")


def create_app(driver: str) -> Starlette:
    """Return the application; each worker makes its own, and opens keys when they are needed."""
    setting = Setting.read(Path(os.environ[SETTING]))
    engine = create_async_engine(make_url(setting.database_url).set(drivername=f"postgresql+{driver}"))
    keyring = setting.keyring(engine, "the async application")
    keyring.protect(Base)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        keyring.close()
        await engine.dispose()

    async def page(request: Request) -> Response:
        async with AsyncSession(engine) as session:
            return signed(listed(await session.scalars(PAGE)))

    async def read(request: Request) -> Response:
        async with AsyncSession(engine) as session:
            return signed(shown(await session.get_one(Note, key_of(request))))

    async def write(request: Request) -> Response:
        tenant, number = key_of(request)
        text = (await request.body()).decode()
        async with AsyncSession(engine) as session:
            session.add(Note(tenant=tenant, number=number, text=text))
            await session.commit()
        return signed("")

    async def refuse(request: Request, error: CmkError) -> Response:
        return signed(*refusal(error))

    note = "/{tenant}/{number:int}"
    routes = [
        Route("/", page),
        Route(note, read),
        Route(note, write, methods=["POST"]),
    ]
    return Starlette(routes=routes, exception_handlers={CmkError: refuse}, lifespan=lifespan)


def key_of(request: Request) -> tuple[str, int]:
    return request.path_params["tenant"], request.path_params["number"]


def signed(text: str, status: int = OK) -> Response:
    return PlainTextResponse(text, status, headers={"X-Worker": str(os.getpid())})
