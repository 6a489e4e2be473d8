"""The token endpoint, as Entra ID serves it to an application with a secret or a federated credential."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs
from uuid import uuid4

from sqlalchemy_cmk.testing.access import Principal
from sqlalchemy_cmk.testing.faults import Fault, Faults
from sqlalchemy_cmk.testing.log import RequestLog, Seen
from sqlalchemy_cmk.testing.messages import Answer, Request
from sqlalchemy_cmk.testing.site import Site
from sqlalchemy_cmk.testing.tokens import TokenIssuer

# RFC 7523, section 2.2
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
OPERATIONS = {
    ("GET", "v2.0/.well-known/openid-configuration"): "openidConfiguration",
    ("POST", "oauth2/v2.0/token"): "token",
}


class Login(Site):
    """Serves the issuer's discovery document and its token endpoint.

    Attributes:
        tokens: the issuer.
    """

    def __init__(self, tokens: TokenIssuer, requests: RequestLog, faults: Faults) -> None:
        super().__init__(faults, requests)
        self.tokens = tokens

    def expire_tokens(self, ask_for_claims: bool = False) -> None:
        """Invalidate every token that was issued so far.

        A client that caches tokens still sends the old one and gets 401, until its own clock says that the
        token is too old. With ``ask_for_claims`` the vaults' challenges ask for claims, as Entra ID's
        continuous access evaluation does, and the client gets a new token at once.
        """
        self.tokens.expire(ask_for_claims)

    def trust(self, application: Principal, identity: Principal, directory: Login) -> None:
        """Let an application sign in by a managed identity's token, as a federated credential does.

        Args:
            application: the application, in this directory.
            identity: the managed identity.
            directory: where the identity is, which may be another emulator's.
        """
        self.tokens.trust(application, identity, directory.tokens)

    def respond(self, request: Request) -> Answer:
        """Answer one request."""
        tenant, _, rest = request.path.strip("/").partition("/")
        operation = OPERATIONS.get((request.method, rest), "")
        form = {name: values[0] for name, values in parse_qs(request.body.decode("latin-1")).items()}
        principal = self.tokens.principal(form.get("client_id", ""))
        seen = Seen(
            vault="",
            method=request.method,
            path=request.path,
            operation=operation,
            key=None,
            version=None,
            principal=principal.name if principal else None,
            status=None,
        )
        return self.note(seen, lambda: self._answer(tenant, operation, form))

    def refusal(self, fault: Fault) -> Answer:
        """Return the answer that an injected fault stands for."""
        headers = {} if fault.seconds is None else {"Retry-After": f"{fault.seconds:g}"}
        code = "AADSTS90055: Too many requests." if fault.status == 429 else "AADSTS90033: Try again later."
        return _error(fault.status, "temporarily_unavailable", code, headers)

    def _answer(self, tenant: str, operation: str, form: dict[str, str]) -> Answer:
        if tenant != self.tokens.tenant_id:
            return _error(400, "invalid_tenant", f"AADSTS90002: Tenant '{tenant}' not found.")
        if operation == "openidConfiguration":
            return Answer(200, self._configuration())
        if operation == "token":
            return self.meet_faults(operation, lambda: self._token(form))
        return Answer(404, {"error": "not_found"})

    def _configuration(self) -> dict[str, object]:
        base = f"{self.tokens.authority}/{self.tokens.tenant_id}"
        return {
            "issuer": f"{base}/v2.0",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "jwks_uri": f"{base}/discovery/v2.0/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def _token(self, form: dict[str, str]) -> Answer:
        client_id = form.get("client_id", "")
        principal = self.tokens.principal(client_id)
        if form.get("grant_type") != "client_credentials":
            return _error(400, "unsupported_grant_type", "AADSTS70003: Only client_credentials is supported.")
        if principal is None:
            text = f"AADSTS700016: Application '{client_id}' was not found in the directory."
            return _error(400, "unauthorized_client", text)
        if form.get("client_assertion_type") == ASSERTION:
            if not self.tokens.trusts(principal, form.get("client_assertion", "")):
                return _error(401, "invalid_client", "AADSTS700213: No matching federated identity record.")
        elif form.get("client_secret") != principal.secret:
            return _error(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
        audience, dot, default = form.get("scope", "").rpartition("/.default")
        if not dot or default or not audience.startswith("https://"):
            return _error(400, "invalid_scope", "AADSTS70011: The provided value for 'scope' is not valid.")
        lifetime = self.tokens.lifetime
        return Answer(
            200,
            {
                "token_type": "Bearer",
                "expires_in": lifetime,
                "ext_expires_in": lifetime,
                "access_token": self.tokens.issue(principal, audience),
            },
        )


def _error(status: int, error: str, description: str, headers: dict[str, str] | None = None) -> Answer:
    code = "".join(filter(str.isdigit, description.partition(":")[0]))
    body = {
        "error": error,
        "error_description": description,
        "error_codes": [int(code)],
        "timestamp": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%SZ}",
        "trace_id": str(uuid4()),
        "correlation_id": str(uuid4()),
    }
    return Answer(status, body, headers or {})
