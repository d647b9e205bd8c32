from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from murmuration.protocol.auth_rules import AuthRuleViolation
from murmuration.protocol.errors import BadJson, Forbidden, MatrixError, TooLarge
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.identifiers import EventId, RoomId, ServerName
from murmuration.protocol.pdus.keys import KeyRing, VerifyKey
from murmuration.protocol.pdus.signing import InvalidSignature, SigningKey, sign_event
from murmuration.protocol.pdus.validation import (
    Outcome,
    PolicyServer,
    Undecided,
    authorising_server,
    check_against_auth_events,
    check_against_current_state,
    check_against_state_before,
    check_content_hash,
    check_on_receipt,
    check_policy_server_signature,
    check_signatures,
    keys_to_look_up,
    policy_server_of,
    required_signers,
)
from murmuration.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from tests.protocol.small_rooms import (
    ALICE,
    BOB,
    KEY_RING,
    KEYS,
    OTHER_SERVER,
    SERVER,
    VALID_UNTIL_MS,
    VERSIONS,
    SmallRoom,
)

each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"v{version.id}")
RESTRICTED = [version for version in VERSIONS if version.restricted_join_rule]
POLICY_KEY = SigningKey(b"p" * 32, "policy_server")
POLICY_SERVER = PolicyServer(ServerName("policy.example"), POLICY_KEY.public_base64)
KEY_A, KEY_B = (KEYS[server] for server in (SERVER, OTHER_SERVER))


def unsigned(event: Event) -> Event:
    return Event({**event.pdu, "signatures": {}}, event.room_version)


def also_signed(event: Event, server: ServerName, key: SigningKey) -> Event:
    return Event(sign_event(event.pdu, server, key, event.room_version), event.room_version)


# --- Check 2: signatures


@each_version
def test_the_sender_s_server_must_have_signed(version: RoomVersion) -> None:
    event = SmallRoom(version).make("m.room.message", {}, sender=BOB)
    assert required_signers(event) == {OTHER_SERVER}
    assert keys_to_look_up(event) == {(OTHER_SERVER, KEY_B.key_id)}
    check_signatures(event, KEY_RING)
    check_signatures(event.redacted(), KEY_RING)
    others = [unsigned(event), also_signed(unsigned(event), ServerName(SERVER), KEY_A)]
    for wrong in others:
        with pytest.raises(InvalidSignature):
            check_signatures(wrong, KEY_RING)
    with pytest.raises(InvalidSignature):
        check_signatures(event, {})


@each_version
def test_the_event_id_s_server_signs_as_well_in_versions_1_and_2(version: RoomVersion) -> None:
    event = SmallRoom(version).make("m.room.message", {}, event_id=f"$elsewhere:{OTHER_SERVER}")
    if int(version.id) > 2:
        assert required_signers(event) == {SERVER}
        return
    assert required_signers(event) == {SERVER, OTHER_SERVER}
    with pytest.raises(InvalidSignature):
        check_signatures(event, KEY_RING)
    check_signatures(also_signed(event, ServerName(OTHER_SERVER), KEY_B), KEY_RING)


@each_version
def test_an_invite_of_a_third_party_needs_no_signature_of_its_sender(version: RoomVersion) -> None:
    room = SmallRoom(version)
    invite = {"membership": "invite", "third_party_invite": {"signed": {}}}
    exempt = room.make("m.room.member", invite, state_key="@carol:third.example")
    assert required_signers(exempt) == ({SERVER} if int(version.id) <= 2 else set())
    ordinary = room.make("m.room.member", {"membership": "invite"}, state_key="@carol:third.example")
    joining = room.make("m.room.member", {**invite, "membership": "join"}, state_key=ALICE)
    for event in (ordinary, joining):
        assert required_signers(event) == {SERVER}
    # With a wrong content hash it is judged in its redacted form, which says nothing of an address before 11.
    wrong = Event({**exempt.pdu, "hashes": {"sha256": "A" * 43}}, version, exempt.event_id)
    is_kept = "third_party_invite" in wrong.redacted().content
    assert is_kept == (int(version.id) >= 11)
    assert required_signers(wrong) == (set() if is_kept else {SERVER})


@each_version
def test_unknown_and_expired_keys_are_skipped_and_wrong_ones_are_not(version: RoomVersion) -> None:
    event = SmallRoom(version).make("m.room.message", {})
    stranger = SigningKey(b"s" * 32, "stranger")
    signed = also_signed(event, ServerName(SERVER), stranger)
    check_signatures(signed, KEY_RING)

    ring = {
        **KEY_RING,
        (SERVER, stranger.key_id): VerifyKey(stranger.key_id, KEY_A.public_key, VALID_UNTIL_MS),
    }
    with pytest.raises(InvalidSignature):
        check_signatures(signed, ring)

    expired = VerifyKey(stranger.key_id, KEY_A.public_key, expired_ts=event.origin_server_ts - 1)
    check_signatures(signed, {**ring, (SERVER, stranger.key_id): expired})
    with pytest.raises(InvalidSignature):
        check_signatures(
            event, {(SERVER, KEY_A.key_id): VerifyKey(KEY_A.key_id, KEY_A.public_key, expired_ts=1)}
        )


@each_version
def test_keys_past_their_validity_count_only_before_version_5(version: RoomVersion) -> None:
    event = SmallRoom(version).make("m.room.message", {}, origin_server_ts=VALID_UNTIL_MS + 1)
    if int(version.id) < 5:
        check_signatures(event, KEY_RING)
    else:
        with pytest.raises(InvalidSignature):
            check_signatures(event, KEY_RING)


# --- Check 3: the content hash


@each_version
def test_an_event_with_a_wrong_hash_is_redacted(version: RoomVersion) -> None:
    event = SmallRoom(version).make("m.room.message", {"body": "hello"})
    assert check_content_hash(event) is event
    changed: Any = {**event.pdu, "content": {"body": "goodbye"}, "extra": 1}
    tampered = Event(changed, version)
    redacted = check_content_hash(tampered)
    assert redacted.pdu == event.redacted().pdu
    assert redacted.event_id == event.event_id


# --- Checks 4 to 6: the authorisation rules


@each_version
def test_every_event_of_a_room_passes_by_its_auth_events(version: RoomVersion) -> None:
    room = SmallRoom(version)
    room.send("m.room.topic", {"topic": "starlings"}, state_key="")
    room.send("m.room.message", {"body": "hello"}, sender=BOB)
    for event in room.events.values():
        check_against_auth_events(event, room.auth_events_of(event), set(), KEY_RING)


@each_version
def test_auth_events_that_are_missing_rejected_or_do_not_allow_it_reject(version: RoomVersion) -> None:
    room = SmallRoom(version)
    event = room.make("m.room.message", {}, sender=BOB)
    auth_events = room.auth_events_of(event)
    for event_id in auth_events:
        without = {key: value for key, value in auth_events.items() if key != event_id}
        with pytest.raises(AuthRuleViolation):
            check_against_auth_events(event, without, set(), KEY_RING)
        with pytest.raises(AuthRuleViolation):
            check_against_auth_events(event, auth_events, {event_id}, KEY_RING)
    state_event = room.make("m.room.topic", {"topic": "x"}, sender=BOB, state_key="")
    with pytest.raises(AuthRuleViolation):
        check_against_auth_events(state_event, auth_events, set(), KEY_RING)


@each_version
def test_fields_too_long_in_bytes_reject(version: RoomVersion) -> None:
    room = SmallRoom(version)
    pdu: Any = {**room.make("m.room.message", {}).pdu, "type": "é" * 128}
    pdu["signatures"] = {}
    event = Event(sign_event(pdu, ServerName(SERVER), KEY_A, version), version)
    with pytest.raises(TooLarge):
        check_against_auth_events(event, room.auth_events_of(event), set(), KEY_RING)


@each_version
def test_the_states_before_and_now_are_asked_alike(version: RoomVersion) -> None:
    room = SmallRoom(version)
    event = room.make("m.room.message", {}, sender=BOB)
    before = dict(room.state)
    room.send("m.room.member", {"membership": "ban"}, state_key=BOB)
    for check in (check_against_state_before, check_against_current_state):
        check(event, before)
        with pytest.raises(AuthRuleViolation):
            check(event, room.state)


@pytest.mark.parametrize("version", RESTRICTED, ids=lambda version: f"v{version.id}")
def test_who_authorises_a_restricted_join_signs_it(version: RoomVersion) -> None:
    room = SmallRoom(version)
    content = {"membership": "join", "join_authorised_via_users_server": ALICE}
    event = room.make("m.room.member", content, sender=BOB, state_key=BOB)
    assert authorising_server(event) == SERVER
    check_signatures(event, KEY_RING)  # its absence rejects the event, and does not drop it
    forged = {
        **event.pdu["signatures"],
        SERVER: {KEY_A.key_id: event.pdu["signatures"][OTHER_SERVER][KEY_B.key_id]},
    }
    for unauthorised in (event, Event({**event.pdu, "signatures": forged}, version)):
        with pytest.raises(InvalidSignature):
            check_against_auth_events(unauthorised, room.auth_events_of(event), set(), KEY_RING)
    signed = also_signed(event, ServerName(SERVER), KEY_A)
    assert keys_to_look_up(signed) == {(SERVER, KEY_A.key_id), (OTHER_SERVER, KEY_B.key_id)}
    check_against_auth_events(signed, room.auth_events_of(event), set(), KEY_RING)
    with pytest.raises(InvalidSignature):
        check_against_auth_events(signed, room.auth_events_of(event), set(), {})


@each_version
def test_an_authoriser_that_is_no_user_counts_where_there_is_such_a_rule(version: RoomVersion) -> None:
    room = SmallRoom(version)
    for nobody in (None, 1, "alice", "@alice"):
        content = {"membership": "join", "join_authorised_via_users_server": nobody}
        event = room.make("m.room.member", content, sender=BOB, state_key=BOB)
        assert authorising_server(event) is None
        if version.restricted_join_rule:
            with pytest.raises(InvalidSignature):
                check_against_auth_events(event, room.auth_events_of(event), set(), KEY_RING)
        else:
            check_against_auth_events(event, room.auth_events_of(event), set(), KEY_RING)


# --- Check 7: the policy server


def policy_event(room: SmallRoom, content: dict[str, Any], state_key: str = "") -> Event:
    return room.make("m.room.policy", content, state_key=state_key)


def test_which_policy_server_a_room_names() -> None:
    room = SmallRoom(ROOM_VERSIONS[RoomId("12")])
    valid = {"via": POLICY_SERVER.server_name, "public_keys": {"ed25519": POLICY_SERVER.public_key}}
    assert policy_server_of(policy_event(room, valid)) == POLICY_SERVER
    assert policy_server_of(None) is None
    invalid: list[dict[str, Any]] = [
        {"via": None},
        {"public_keys": None},
        {"public_keys": {}},
        {"public_keys": {"ed25519": 1}},
    ]
    for changes in invalid:
        assert policy_server_of(policy_event(room, {**valid, **changes})) is None


@each_version
def test_the_policy_server_must_have_signed(version: RoomVersion) -> None:
    room = SmallRoom(version)
    event = room.make("m.room.message", {"body": "hello"})
    check_policy_server_signature(event, None)
    check_policy_server_signature(also_signed(event, POLICY_SERVER.server_name, POLICY_KEY), POLICY_SERVER)
    for wrong in (
        event,
        also_signed(event, ServerName(SERVER), POLICY_KEY),
        also_signed(event, POLICY_SERVER.server_name, KEY_A),
    ):
        with pytest.raises(InvalidSignature):
            check_policy_server_signature(wrong, POLICY_SERVER)
    other_key = PolicyServer(POLICY_SERVER.server_name, KEY_A.public_base64)
    for policy_server in (other_key, PolicyServer(POLICY_SERVER.server_name, "é")):
        with pytest.raises(InvalidSignature):
            check_policy_server_signature(
                also_signed(event, POLICY_SERVER.server_name, POLICY_KEY), policy_server
            )


def test_only_the_room_s_policy_event_is_exempt() -> None:
    room = SmallRoom(ROOM_VERSIONS[RoomId("12")])
    check_policy_server_signature(policy_event(room, {}), POLICY_SERVER)
    for event in (policy_event(room, {}, state_key="other"), room.make("m.room.policy", {})):
        with pytest.raises(InvalidSignature):
            check_policy_server_signature(event, POLICY_SERVER)


def test_a_policy_signature_of_the_sender_s_own_server_is_no_obstacle() -> None:
    event = SmallRoom(ROOM_VERSIONS[RoomId("12")]).make("m.room.message", {})
    signed = also_signed(event, ServerName(SERVER), POLICY_KEY)
    assert keys_to_look_up(signed) == {(SERVER, KEY_A.key_id)}
    check_signatures(signed, KEY_RING)


# --- All checks in order


class Known:
    """`RoomFacts` of a small room, which notes what it was asked, in order."""

    def __init__(self, room: SmallRoom) -> None:
        self.room = room
        self.before: Mapping[StateKey, Event] = dict(room.state)
        self.now: Mapping[StateKey, Event] = dict(room.state)
        self.rejected: set[EventId] = set()
        self.policy: PolicyServer | None = None
        self.answer: MatrixError | SigningKey = Undecided("Nobody answers")
        self.asked: list[str] = []

    def keys(self, event: Event) -> KeyRing:
        self.asked.append("keys")
        return KEY_RING

    def auth_events(self, event: Event) -> tuple[Mapping[EventId, Event], Collection[EventId]]:
        self.asked.append("auth_events")
        return self.room.auth_events_of(event), self.rejected

    def state_before(self, event: Event) -> Mapping[StateKey, Event]:
        self.asked.append("state_before")
        return self.before

    def current_state(self, event: Event) -> Mapping[StateKey, Event]:
        self.asked.append("current_state")
        return self.now

    def policy_server(self, event: Event) -> PolicyServer | None:
        self.asked.append("policy_server")
        return self.policy

    def ask_policy_server(self, server: PolicyServer, event: Event) -> Event:
        self.asked.append("ask_policy_server")
        if isinstance(self.answer, MatrixError):
            raise self.answer
        return also_signed(event, server.server_name, self.answer)


ALL = ["keys", "auth_events", "state_before", "current_state", "policy_server"]


@each_version
def test_a_good_event_is_accepted(version: RoomVersion) -> None:
    room = SmallRoom(version)
    known = Known(room)
    event = room.make("m.room.message", {"body": "hello"}, sender=BOB)
    judgement = check_on_receipt({**event.pdu, "unsigned": {"age": 1}}, version, known)
    assert (judgement.event.pdu, judgement.outcome, judgement.reason) == (event.pdu, Outcome.ACCEPTED, None)
    assert known.asked == ALL


@each_version
def test_a_malformed_event_is_dropped_before_anything_is_asked(version: RoomVersion) -> None:
    room = SmallRoom(version)
    known = Known(room)
    with pytest.raises(BadJson):
        check_on_receipt({**room.make("m.room.message", {}).pdu, "depth": "1"}, version, known)
    assert known.asked == []


@each_version
def test_an_event_with_a_bad_signature_is_dropped(version: RoomVersion) -> None:
    room = SmallRoom(version)
    known = Known(room)
    with pytest.raises(InvalidSignature):
        check_on_receipt({**room.make("m.room.message", {}).pdu, "depth": 1}, version, known)
    assert known.asked == ["keys"]


@each_version
def test_an_event_with_a_bad_hash_is_judged_as_redacted(version: RoomVersion) -> None:
    room = SmallRoom(version)
    event = room.make("m.room.message", {"body": "hello"})
    judgement = check_on_receipt({**event.pdu, "content": {"body": "changed"}}, version, Known(room))
    assert judgement.outcome is Outcome.ACCEPTED
    assert judgement.event.content == {}
    assert judgement.event.event_id == event.event_id


@each_version
def test_what_rejects_and_what_soft_fails(version: RoomVersion) -> None:
    room = SmallRoom(version)
    event = room.make("m.room.message", {"body": "hello"}, sender=BOB)
    good = dict(room.state)
    room.send("m.room.member", {"membership": "ban"}, state_key=BOB)
    banned = dict(room.state)

    by_auth_events = Known(room)
    by_auth_events.rejected = {event.auth_events[0]}
    assert check_on_receipt(event.pdu, version, by_auth_events).outcome is Outcome.REJECTED
    assert by_auth_events.asked == ALL[:2]

    by_state_before = Known(room)
    by_state_before.before = banned
    judgement = check_on_receipt(event.pdu, version, by_state_before)
    assert judgement.outcome is Outcome.REJECTED
    assert isinstance(judgement.reason, AuthRuleViolation)
    assert by_state_before.asked == ALL[:3]

    by_current_state = Known(room)
    by_current_state.before, by_current_state.now = good, banned
    judgement = check_on_receipt(event.pdu, version, by_current_state)
    assert judgement.outcome is Outcome.SOFT_FAILED
    assert isinstance(judgement.reason, AuthRuleViolation)
    assert by_current_state.asked == ALL[:4]

    by_policy = Known(room)
    by_policy.before = by_policy.now = good
    by_policy.policy = POLICY_SERVER
    judgement = check_on_receipt(event.pdu, version, by_policy)
    assert judgement.outcome is Outcome.SOFT_FAILED
    assert isinstance(judgement.reason, Undecided)
    assert by_policy.asked == [*ALL, "ask_policy_server"]
    by_policy.answer = Forbidden("Spam")
    judgement = check_on_receipt(event.pdu, version, by_policy)
    assert (judgement.outcome, judgement.reason) == (Outcome.SOFT_FAILED, by_policy.answer)
    signed = also_signed(event, POLICY_SERVER.server_name, POLICY_KEY)
    by_policy.asked.clear()
    assert check_on_receipt(signed.pdu, version, by_policy).outcome is Outcome.ACCEPTED
    assert by_policy.asked == ALL, "who has signed isn't asked again"
    by_policy.answer = POLICY_KEY
    judgement = check_on_receipt(event.pdu, version, by_policy)
    assert (judgement.outcome, judgement.event.pdu) == (Outcome.ACCEPTED, signed.pdu)


def test_a_create_event_of_version_12_with_a_room_id_is_rejected() -> None:
    version = ROOM_VERSIONS[RoomId("12")]
    room = SmallRoom(version)
    create: Any = {**room.create.pdu, "room_id": room.room_id, "signatures": {}}
    pdu = sign_event(create, ServerName(SERVER), KEY_A, version)
    judgement = check_on_receipt(pdu, version, Known(SmallRoom(version)))
    assert judgement.outcome is Outcome.REJECTED
    assert isinstance(judgement.reason, AuthRuleViolation)
    assert judgement.reason.rule == "1.2"
