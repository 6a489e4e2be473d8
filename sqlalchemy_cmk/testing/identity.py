"""The endpoint from which a program on Azure gets the tokens of its managed identity, as App Service has it.

https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
"""

from __future__ import annotations

import secrets
import time

from sqlalchemy_cmk.testing.access import Principal
from sqlalchemy_cmk.testing.faults import Fault, Faults
from sqlalchemy_cmk.testing.log import RequestLog, Seen
from sqlalchemy_cmk.testing.messages import Answer, Request
from sqlalchemy_cmk.testing.site import Site
from sqlalchemy_cmk.testing.tokens import TokenIssuer


class IdentityEndpoint(Site):
    """Gives out the tokens of one identity, to callers that know its header.

    Args:
        tokens: the issuer.
        identity: whose tokens.
        requests: notes the requests.
        faults: the faults that they meet.

    Attributes:
        header: what callers have to know.
    """

    def __init__(
        self, tokens: TokenIssuer, identity: Principal, requests: RequestLog, faults: Faults
    ) -> None:
        super().__init__(faults, requests)
        self.header = secrets.token_hex()
        self._tokens = tokens
        self._identity = identity

    def respond(self, request: Request) -> Answer:
        """Answer one request."""
        seen = Seen("", request.method, request.path, "identityToken", None, None, self._identity.name, None)
        return self.note(seen, lambda: self.meet_faults("identityToken", lambda: self._token(request)))

    def refusal(self, fault: Fault) -> Answer:
        """Return the answer that an injected fault stands for."""
        return Answer(fault.status, {"statusCode": fault.status, "message": "Try again later."})

    def _token(self, request: Request) -> Answer:
        if not secrets.compare_digest(request.identity_header, self.header):
            return Answer(401, {"statusCode": 401, "message": "The header X-IDENTITY-HEADER is wrong."})
        resource, client_id = request.query.get("resource", ""), request.query.get("client_id")
        if not resource or client_id not in (None, self._identity.client_id):
            return Answer(400, {"statusCode": 400, "message": "No managed identity was found for this."})
        return Answer(
            200,
            {
                "access_token": self._tokens.issue(self._identity, resource),
                "client_id": self._identity.client_id,
                "expires_on": str(int(time.time()) + self._tokens.lifetime),
                "resource": resource,
                "token_type": "Bearer",
            },
        )
