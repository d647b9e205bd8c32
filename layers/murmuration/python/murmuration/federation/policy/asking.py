"""Asks a policy server to sign an event, and interprets its answer.

https://spec.matrix.org/v1.19/server-server-api/#asking-for-a-policy-server-signature-on-an-event
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.federation.requests import client
from murmuration.federation.requests.errors import RateLimited, Refused, RequestFailed, TimedOut
from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.encoding.shapes import Body, Untrusted
from murmuration.protocol.errors import (
    BadGateway,
    BadJson,
    Forbidden,
    GatewayTimeout,
    LimitExceeded,
    MatrixError,
    Refusal,
)
from murmuration.protocol.events import Event
from murmuration.protocol.pdus.event_format import parse_pdu
from murmuration.protocol.pdus.signing import InvalidSignature
from murmuration.protocol.pdus.validation import (
    POLICY_SERVER_KEY_ID,
    PolicyServer,
    Undecided,
    check_policy_server_signature,
)

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName

SECONDS = 10.0
MAX_BYTES = 65_536
MOST_ERROR_BYTES = 4_096
_REFUSALS = (400, 403, 404)
"""The statuses with which a policy server refuses. Any other error means that it can't decide."""


class PolicyServers:
    """Asks for events of this server's users (`rooms.writing.policy_port.PolicyClient`)."""

    def ask_to_sign(self, server: PolicyServer, event: Event) -> Event:
        """Return the event signed by the policy server; see `PolicyClient`. Raises TooLarge if the signature
        doesn't fit.
        """
        try:
            signed = _signed(server, event, _ask(server.server_name, event, for_user=True))
        except RateLimited as error:
            raise LimitExceeded(
                "The room's policy server limits requests; try again later",
                retry_after_ms=error.retry_after_ms,
            ) from error
        except Refused as error:
            if error.status in _REFUSALS:
                raise refusal(error) from error
            raise BadGateway(f"The room's policy server answered {error.status}") from error
        except TimedOut as error:
            raise GatewayTimeout("The room's policy server did not answer in time") from error
        except RequestFailed as error:
            raise BadGateway("The room's policy server can't be reached") from error
        parse_pdu(signed.pdu, event.room_version)
        return signed


class Asked:
    """Asks about one event of another server. It asks only once, even if the event is judged several
    times.
    """

    def __init__(self) -> None:
        self._outcome: Event | MatrixError | None = None

    def ask_to_sign(self, server: PolicyServer, event: Event) -> Event:
        """Return the event with the policy server's signature.

        Raises the MatrixError with which the policy server refuses the event; Undecided if it gave no answer
        and has to be asked again.
        """
        if self._outcome is None:
            try:
                self._outcome = _ask_for_another(server, event)
            except MatrixError as error:
                self._outcome = error
        if isinstance(self._outcome, MatrixError):
            raise self._outcome
        return self._outcome


def _ask_for_another(server: PolicyServer, event: Event) -> Event:
    try:
        return _signed(server, event, _ask(server.server_name, event, for_user=False))
    except Refused as error:
        if error.status in _REFUSALS:
            raise refusal(error) from error
        raise Undecided(f"The policy server answered {error.status}") from error
    except RequestFailed as error:
        raise Undecided("The policy server gave no answer") from error


def _ask(server_name: ServerName, event: Event, *, for_user: bool) -> Untrusted:
    path = client.path("_matrix", "policy", "v1", "sign")
    return client.request(
        server_name, "POST", path, body=event.pdu, seconds=SECONDS, max_bytes=MAX_BYTES, for_user=for_user
    )


def _signed(server: PolicyServer, event: Event, answer: Untrusted) -> Event:
    """Return the event with the requested signature added to those that it has.

    Raises Forbidden if that signature is missing or invalid: the room may name an old key.
    """
    given = answer.get(server.server_name)
    signature = given.get(POLICY_SERVER_KEY_ID) if isinstance(given, dict) else None
    if not isinstance(signature, str):
        raise Forbidden("The room's policy server did not sign the event")
    present = event.pdu["signatures"]
    others = present.get(server.server_name, {})
    signatures = {**present, server.server_name: {**others, POLICY_SERVER_KEY_ID: signature}}
    signed = Event({**event.pdu, "signatures": signatures}, event.room_version, event.event_id)
    try:
        check_policy_server_signature(signed, server)
    except InvalidSignature as error:
        raise Forbidden("The room's policy server did not sign the event with the room's key") from error
    return signed


def refusal(error: Refused) -> MatrixError:
    """Return the error with which a policy server refused, with its own message."""
    body = error.body
    if not error.errcode or len(error.errcode) > 100 or not _is_small(body):
        return Forbidden("The room's policy server does not allow this")
    fields = {name: value for name, value in body.items() if name not in ("errcode", "error")}
    return Refusal(error.status, error.errcode, error.message, **fields)


def _is_small(body: Body) -> bool:
    """Return whether an error's body may be passed on."""
    try:
        return len(canonical_json.encode(body, strict=False)) <= MOST_ERROR_BYTES
    except BadJson:
        return False
