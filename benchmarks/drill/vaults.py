"""The vaults of a drill: an emulator in a process of its own, steered as the vaults' owners would."""

import http.client
import json
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from benchmarks.drill.child import Child
from benchmarks.drill.setting import KEK
from sqlalchemy_cmk.providers.owners import TENANT_TAG, tag_word


class Vaults(Child):
    """One vault with one KEK for each tenant.

    Attributes:
        urls: the vaults' addresses.
        first: the first version of each KEK.
        ca_file: the certificate of their authority.
        login: what a credential needs.
    """

    def __init__(self, tenants: list[str]) -> None:
        command = [sys.executable, "-m", "sqlalchemy_cmk.testing"]
        command += [part for tenant in tenants for part in ("--vault", tenant)]
        super().__init__(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the emulator did not start"
        told = json.loads(line)
        self.urls: dict[str, str] = told["vaults"]
        self.ca_file: str = told["ca_file"]
        self.login = {
            "authority": told["authority"],
            "tenant_id": told["tenant_id"],
            **told["principals"]["app"],
        }
        self.first: dict[str, str] = {}
        self._control, self._token = urlsplit(told["control"]["url"]), told["control"]["token"]
        self._context = ssl.create_default_context(cafile=self.ca_file)

    def make_keys(self) -> None:
        with ThreadPoolExecutor(4) as pool:
            made = pool.map(self._make_key, self.urls)
            self.first = {tenant: key["version"] for tenant, key in zip(self.urls, made, strict=True)}

    def _make_key(self, tenant: str) -> Any:
        return self.call(tenant, "create_key", name=KEK, tags={TENANT_TAG: tag_word(tenant)})

    def call(self, tenant: str, call: str, **arguments: Any) -> Any:
        """Call a method of a tenant's vault."""
        connection = http.client.HTTPSConnection(
            self._control.hostname or "", self._control.port, context=self._context, timeout=60
        )
        try:
            order = json.dumps({"on": tenant, "call": call, "with": arguments})
            connection.request("POST", "/", order, {"Authorization": f"Bearer {self._token}"})
            answer = connection.getresponse()
            content = json.loads(answer.read())
        finally:
            connection.close()
        assert answer.status == 200, content
        return content["result"]
