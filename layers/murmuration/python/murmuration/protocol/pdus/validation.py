"""The checks on receipt of a PDU, in the specification's order, with one function for each check.

https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu

1. `check_format`: the event has its room version's format, or is dropped.
2. `check_signatures`: the required servers have signed it, or it is dropped.
3. `check_content_hash`: its content hash is right, or it is redacted before the next checks.
4. `check_against_auth_events`: its own auth events allow it, or it is rejected.
5. `check_against_state_before`: the state before it allows it, or it is rejected.
6. `check_against_current_state`: the room's current state allows it, or it is soft-failed.
7. `check_policy_server_signature`: the room's policy server, if any, has signed it or signs it when it is
   asked now; otherwise the event is soft-failed.

A check raises a MatrixError if the event fails it. The caller may perform the checks one by one and decide
the outcome, or have `check_on_receipt` perform all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from murmuration.protocol.encoding import unpadded_base64
from murmuration.protocol.errors import MatrixError
from murmuration.protocol.event_types import MEMBER, POLICY_KEY
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import EventId, ServerName, is_valid_user_id, server_name_of
from murmuration.protocol.pdus.event_format import check_field_sizes, parse_pdu
from murmuration.protocol.pdus.hashing import verify_content_hash
from murmuration.protocol.pdus.keys import KeyRing
from murmuration.protocol.pdus.signing import InvalidSignature, key_ids_of, verify_event
from murmuration.protocol.room_versions import RoomVersion

State = Mapping[StateKey, Event]

POLICY_SERVER_KEY_ID = "ed25519:policy_server"


# Check 1

check_format = parse_pdu
"""Check 1. Returns the event without its `unsigned`. Raises BadJson or TooLarge."""


# Check 2


def check_signatures(event: Event, keys: KeyRing) -> None:
    """Perform check 2. Raises InvalidSignature unless each of `required_signers` has signed the event.

    Consider only signatures by known keys that were valid at the event's time. Each server needs at least
    one, and all considered signatures must verify.
    https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events
    """
    for server_name in required_signers(event):
        _check_signatures_of(server_name, event, keys)


def required_signers(event: Event) -> frozenset[ServerName]:
    """Return the servers that must have signed the event; otherwise it is dropped.

    The sender's server must have signed it, except an invite made from a third-party invite, which another
    server may have sent in the sender's name (the authorisation rules check the identity server's signature
    instead). In room versions 1 and 2 the server in the event ID must have signed it too.

    The event is considered in its stored form: if its content hash is wrong, most versions redact the
    third-party invite, and the rest would be an invite that nobody has signed.
    """
    servers = set()
    by_address = event.membership == "invite" and "third_party_invite" in event.content
    if not (by_address and "third_party_invite" in check_content_hash(event).content):
        servers.add(event.sender_server)
    if event.room_version.event_id_server_signature and (server := server_name_of(event.event_id)):
        servers.add(server)
    return frozenset(servers)


def keys_to_look_up(event: Event) -> set[tuple[ServerName, str]]:
    """Return the (server name, key ID) pairs that a key ring for this event's checks should have, if they are
    known.
    """
    servers = set(required_signers(event))
    if (authorising := authorising_server(event)) is not None:
        servers.add(authorising)
    return {
        (server_name, key_id)
        for server_name in servers
        for key_id in key_ids_of(event.pdu, server_name)
        if key_id != POLICY_SERVER_KEY_ID
    }


# Check 3


def check_content_hash(event: Event) -> Event:
    """Perform check 3. Returns the event itself if its content hash is right, else its redacted form."""
    return event if verify_content_hash(event.pdu) else event.redacted()


# Checks 4 to 6: the authorisation rules, on three states


def check_against_auth_events(
    event: Event, auth_events: Mapping[EventId, Event], rejected: Collection[str], keys: KeyRing
) -> None:
    """Perform check 4. Raises the reason to reject the event: AuthRuleViolation, InvalidSignature or
    TooLarge.

    `auth_events` has the event's auth events by ID and, from room version 12 on, also the create event that
    the room ID names. `rejected` has the IDs of those that were rejected. `keys` are for the signature of the
    server that authorised a restricted join, which one of the rules requires.
    """
    from murmuration.protocol.auth_rules import check_auth, check_auth_events, create_event_id

    check_field_sizes(event)
    check_authorising_signature(event, keys)
    check_auth_events(event, auth_events, rejected)
    state_ids = [*event.auth_events]
    if event.room_version.create_event_is_room_id:
        state_ids.append(create_event_id(event))
    state_events = [auth_events[event_id] for event_id in state_ids if event_id in auth_events]
    check_auth(event, {pair: it for it in state_events if (pair := it.state_pair) is not None})


def check_against_state_before(event: Event, state: State) -> None:
    """Perform check 5. Raises AuthRuleViolation unless the state before the event allows it."""
    from murmuration.protocol.auth_rules import check_auth

    check_auth(event, state)


def check_against_current_state(event: Event, state: State) -> None:
    """Perform check 6. Raises AuthRuleViolation unless the room's current state allows the event.

    https://spec.matrix.org/v1.19/server-server-api/#soft-failure
    """
    from murmuration.protocol.auth_rules import check_auth

    check_auth(event, state)


def check_authorising_signature(event: Event, keys: KeyRing) -> None:
    """Check that the server which authorised a restricted join has signed it (from version 8 on).

    Raises InvalidSignature. https://spec.matrix.org/v1.19/rooms/v8/#authorisation-rules (rule 4.2.1; 5.2.1 in
    version 12)
    """
    if not _is_authorised_by_a_user(event):
        return
    server_name = authorising_server(event)
    if server_name is None:
        raise InvalidSignature("join_authorised_via_users_server is not a user ID")
    _check_signatures_of(server_name, event, keys)


def authorising_server(event: Event) -> ServerName | None:
    """Return the server of the user in `join_authorised_via_users_server`; None if there is none, or the
    version has no such rule.
    """
    if not _is_authorised_by_a_user(event):
        return None
    user_id = event.content["join_authorised_via_users_server"]
    return server_name_of(user_id) if isinstance(user_id, str) and is_valid_user_id(user_id) else None


# Check 7


class PolicyServer(NamedTuple):
    """A room's policy server: its server name, and its public key in unpadded Base64."""

    server_name: ServerName
    public_key: str


class Undecided(MatrixError):
    """The policy server gave no answer: it may sign the event when it is asked again."""


def policy_server_of(policy: Event | None) -> PolicyServer | None:
    """Return the policy server that the room's m.room.policy state event names; None if it names no valid
    one.

    It counts only while a user of that server is joined to the room, which the caller has to check.
    https://spec.matrix.org/v1.19/server-server-api/#determining-if-a-policy-server-is-enabled-in-a-room
    """
    if policy is None:
        return None
    via, public_keys = policy.content.get("via"), policy.content.get("public_keys")
    public_key = public_keys.get("ed25519") if isinstance(public_keys, dict) else None
    if not isinstance(via, str) or not isinstance(public_key, str):
        return None
    return PolicyServer(ServerName(via), public_key)


def check_policy_server_signature(event: Event, policy_server: PolicyServer | None) -> None:
    """Perform check 7. Raises InvalidSignature unless the room's policy server, if any, has signed the event.

    The room's m.room.policy event itself needs no such signature.
    https://spec.matrix.org/v1.19/server-server-api/#validating-policy-server-signatures
    """
    if policy_server is None or event.state_pair == POLICY_KEY:
        return
    try:
        public_key = unpadded_base64.decode(policy_server.public_key)
    except ValueError as error:
        raise InvalidSignature("The policy server's key is not Base64") from error
    verify_event(event.pdu, policy_server.server_name, POLICY_SERVER_KEY_ID, public_key, event.room_version)


# All of them


class Outcome(Enum):
    """The outcome of the checks for an event that wasn't dropped."""

    ACCEPTED = "accepted"
    SOFT_FAILED = "soft_failed"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The event, the outcome of its checks, and the reason if it wasn't accepted.

    The event is redacted if its content hash was wrong. It has the policy server's signature if that was
    requested.
    """

    event: Event
    outcome: Outcome
    reason: MatrixError | None = None


class RoomFacts(Protocol):
    """The checks' questions about the room. Each is asked only when its check is performed."""

    def keys(self, event: Event) -> KeyRing:
        """Return the keys of `keys_to_look_up`, as far as they are available."""

    def auth_events(self, event: Event) -> tuple[Mapping[EventId, Event], Collection[EventId]]:
        """Return the event's auth events (see `check_against_auth_events`), and the IDs of those that were
        rejected.
        """

    def state_before(self, event: Event) -> State:
        """Return the room's state before the event."""

    def current_state(self, event: Event) -> State:
        """Return the room's current state."""

    def policy_server(self, event: Event) -> PolicyServer | None:
        """Return the policy server that the room uses now."""

    def ask_policy_server(self, server: PolicyServer, event: Event) -> Event:
        """Return the event with a new signature of the policy server.

        Raises the MatrixError with which it refuses, Undecided if it doesn't answer.
        """


def check_on_receipt(
    pdu: object, version: RoomVersion, facts: RoomFacts, *, limit_references: bool = True
) -> Judgement:
    """Perform all checks in order, and return the judgement. Raises a MatrixError for an event to be
    dropped.
    """
    event = check_format(pdu, version, limit_references=limit_references)
    keys = facts.keys(event)
    check_signatures(event, keys)
    event = check_content_hash(event)
    try:
        auth_events, rejected = facts.auth_events(event)
        check_against_auth_events(event, auth_events, rejected, keys)
        check_against_state_before(event, facts.state_before(event))
    except MatrixError as reason:
        return Judgement(event, Outcome.REJECTED, reason)
    try:
        check_against_current_state(event, facts.current_state(event))
        event = _recommended(event, facts)
    except MatrixError as reason:
        return Judgement(event, Outcome.SOFT_FAILED, reason)
    return Judgement(event, Outcome.ACCEPTED)


def _recommended(event: Event, facts: RoomFacts) -> Event:
    """Perform check 7. Returns the event, with a new signature of the policy server if it had no valid one.

    An invalid signature counts as missing: the policy server's key may have changed since.
    """
    server = facts.policy_server(event)
    if server is None:
        return event
    try:
        check_policy_server_signature(event, server)
    except InvalidSignature:
        return facts.ask_policy_server(server, event)
    return event


def _check_signatures_of(server_name: ServerName, event: Event, keys: KeyRing) -> None:
    usable = [
        key
        for key_id in key_ids_of(event.pdu, server_name)
        if (key := keys.get((server_name, key_id))) is not None
        and key.may_sign_event(event.origin_server_ts, event.room_version)
    ]
    if not usable:
        raise InvalidSignature(f"No known and valid key of {server_name} has signed the event")
    for key in usable:
        verify_event(event.pdu, server_name, key.key_id, key.public_key, event.room_version)


def _is_authorised_by_a_user(event: Event) -> bool:
    return (
        event.room_version.restricted_join_rule
        and event.type == MEMBER
        and "join_authorised_via_users_server" in event.content
    )
