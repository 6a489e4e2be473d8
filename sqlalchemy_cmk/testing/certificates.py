"""The emulator's certificate authority, in a temporary folder."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path
from tempfile import mkdtemp

from sqlalchemy_cmk.errors import ConfigurationError


class Certificates:
    """Makes a certificate for each address, all signed by one authority.

    Attributes:
        ca_file: the authority's certificate, as PEM.
    """

    def __init__(self) -> None:
        try:
            import trustme
        except ImportError as error:
            raise ConfigurationError(
                "the Key Vault emulator needs trustme: run pip install 'sqlalchemy-cmk[testing]'"
            ) from error
        self._authority = trustme.CA()
        self._folder = Path(mkdtemp(prefix="key-vault-emulator-"))
        self.ca_file = self._folder / "ca.pem"
        self._authority.cert_pem.write_to_path(self.ca_file)

    def context(self, host: str) -> ssl.SSLContext:
        """Return the TLS context of a server at this address."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(host).configure_cert(context)
        return context

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)
