"""The clinic and its staff's browsers, without a server between them."""

import re
from io import BytesIO
from pathlib import Path
from typing import Any

from sqlalchemy import URL, text
from werkzeug.test import TestResponse

from examples.clinic.app import application
from examples.clinic.seed import PASSWORD
from examples.clinic.storage import Storage
from examples.portal.app import portal

TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')

ADA = {"name": "Lovelace, Ada", "number": "900-01-9901", "born": "1985-12-10", "notes": "Prefers mornings."}


class Browser:
    """One person's browser, which fills in the form's token as browsers do."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.http = app.test_client()

    def get(self, path: str, **options: Any) -> TestResponse:
        options.setdefault("headers", {"Accept": "text/html"})
        return self.http.get(path, **options)

    def page(self, path: str) -> str:
        answer = self.get(path)
        assert answer.status_code == 200, (path, answer.status, answer.text)
        return answer.text

    def token(self, path: str) -> str:
        found = TOKEN.search(self.get(path).text)
        assert found, path
        return found[1]

    def post(
        self, path: str, form: dict[str, Any], *, seen_at: str = "/sign-in", **options: Any
    ) -> TestResponse:
        """Send a form; its token is that of the page on which it was seen."""
        data = {"csrf_token": self.token(seen_at), **form}
        headers = {"Accept": "text/html"}
        return self.http.post(path, data=data, headers=headers, **options)

    def sign_in(self, email: str, password: str = PASSWORD) -> TestResponse:
        return self.post("/sign-in", {"email": email, "password": password})

    def upload(self, path: str, content: bytes, name: str, title: str = "") -> str:
        """Send a file, and return the page that follows."""
        form = {"file": (BytesIO(content), name), "title": title}
        return self.post(path, form, follow_redirects=True).text


class Clinic:
    """The clinic over a data folder, and the portal of its customers."""

    def __init__(self, folder: Path, url: URL | None = None, **options: Any) -> None:
        address = None if url is None else url.render_as_string(hide_password=False)
        self.storage = Storage(folder, address, **options)
        self.app = application(self.storage)
        self.portal = portal(self.storage)
        for app in (self.app, self.portal):
            app.testing = True

    def close(self) -> None:
        self.storage.close()

    def browser(self, email: str | None = None) -> Browser:
        """A new browser, in which somebody is signed in."""
        browser = Browser(self.app)
        if email is not None:
            assert browser.sign_in(email).status_code == 303
        return browser

    def customer(self, clinic: str, action: str, *, noticed: bool = True) -> None:
        """Do something in a customer's portal; the application notices at once, or when it does."""
        browser = Browser(self.portal)
        answer = browser.post(f"/{clinic}/{action}", {}, seen_at=f"/{clinic}")
        assert answer.status_code == 303, answer.text
        if noticed:
            self.storage.keyring.forget(clinic)  # as the bound would, within seconds

    def numbers(self, table: str, clinic: str) -> list[int]:
        """The ids of a clinic's rows."""
        with self.storage.engine.connect() as connection:
            query = text(f"SELECT id FROM {table} WHERE clinic = :clinic ORDER BY id")
            return list(connection.scalars(query, {"clinic": clinic}))

    def execute(self, statement: str, **values: Any) -> Any:
        with self.storage.engine.begin() as connection:
            return connection.execute(text(statement), values)
