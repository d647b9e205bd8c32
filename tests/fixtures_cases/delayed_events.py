"""Events that are sent later: scheduling, managing, looking up, and the workers that send them."""

from __future__ import annotations

from collections.abc import Iterator

from tests.fixtures_cases import Case, Cases

WORLD = "bob_hangs_up_later"
LOUNGE = "/_matrix/client/v3/rooms/{{lounge}}"
UNSTABLE = "/_matrix/client/unstable/org.matrix.msc4140"
STABLE = "/_matrix/client/v1"
LEAVE = {"leave_reason": {"code": "delayed_leave"}}
ORDER = {"delay_id": "{{delay}}", "user_id": "@bob:example.org", "device_id": "LAPTOP"}

ASKING = Cases("client_server/delayed_events", WORLD)
ASKING.add(
    "schedule_delayed_event/good",
    "Bob's client has its farewell sent in twenty seconds.",
    f"PUT {LOUNGE}/delayed_event/org.example.call/t1",
    {"delay_ms": 20_000, "content": LEAVE},
    by="bob",
)
ASKING.add(
    "schedule_delayed_event/good_state",
    "The same as a piece of state, by the path that apps use.",
    f"PUT {UNSTABLE}/rooms/{{{{lounge}}}}/delayed_event/org.example.call/t1",
    {"delay_ms": 20_000, "state_key": "@bob:example.org", "content": {}},
    by="bob",
)
ASKING.add(
    "schedule_delayed_event/no_delay",
    "The event must wait for some time.",
    f"PUT {LOUNGE}/delayed_event/org.example.call/t1",
    {"content": LEAVE},
    by="bob",
    expect="400 M_MISSING_PARAM",
)
ASKING.add(
    "schedule_delayed_event/too_long",
    "A day is the most.",
    f"PUT {LOUNGE}/delayed_event/org.example.call/t1",
    {"delay_ms": 86_400_001, "content": LEAVE},
    by="bob",
    expect="400 M_DELAY_TOO_LARGE",
)
ASKING.add("get_delayed_events/good", "What Bob has scheduled.", f"GET {UNSTABLE}/delayed_events", by="bob")
ASKING.add(
    "get_delayed_events/missing_token",
    "Nobody asks.",
    f"GET {STABLE}/delayed_events",
    expect="401 M_MISSING_TOKEN",
)
ASKING.add(
    "get_delayed_event/good",
    "Bob looks his farewell up.",
    f"GET {STABLE}/delayed_events/{{{{delay}}}}",
    by="bob",
)
ASKING.add(
    "get_delayed_event/of_another",
    "It isn't Alice's.",
    f"GET {STABLE}/delayed_events/{{{{delay}}}}",
    by="alice",
    expect="404 M_NOT_FOUND",
)
MANAGE = f"POST {STABLE}/delayed_events/{{{{delay}}}}"
ASKING.add("manage_delayed_event/good_restart", "Bob is still there.", f"{MANAGE}/restart", {}, by="bob")
ASKING.add("manage_delayed_event/good_send", "Bob hangs up.", f"{MANAGE}/send", {}, by="bob")
ASKING.add("manage_delayed_event/good_cancel", "Bob needs it no more.", f"{MANAGE}/cancel", {}, by="bob")
ASKING.add(
    "manage_delayed_event/good_without_token",
    "A service that Bob's client gave the ID to sends it.",
    f"POST {UNSTABLE}/delayed_events/{{{{delay}}}}",
    {"action": "send"},
)
ASKING.add(
    "manage_delayed_event/missing_token",
    "The stable path wants one.",
    f"{MANAGE}/send",
    {},
    expect="401 M_MISSING_TOKEN",
)
ASKING.add(
    "manage_delayed_event/ended",
    "What is cancelled can't be restarted.",
    f"{MANAGE}/restart",
    {},
    by="bob",
    worlds="bob_cancelled_his_farewell",
    expect="409 M_UNKNOWN",
)

SENDING = Cases("client_server/room_send", "alice_and_bob_in_a_public_room")
DELAY = "?org.matrix.msc4140.delay"
SENDING.add(
    "send_message/good_delayed",
    "Bob's message is to be sent in ten seconds.",
    f"PUT {LOUNGE}/send/m.room.message/d1{DELAY}=10000",
    {"msgtype": "m.text", "body": "Tea!"},
    by="bob",
)
SENDING.add(
    "send_message/delay_not_understood",
    "A delay is never ignored.",
    f"PUT {LOUNGE}/send/m.room.message/d1{DELAY}=soon",
    {"msgtype": "m.text", "body": "Tea!"},
    by="bob",
    expect="400 M_INVALID_PARAM",
)
SENDING.add(
    "set_room_state_with_key/good_delayed",
    "Bob's leave of a call is to be sent in eight seconds.",
    f"PUT {LOUNGE}/state/org.example.call/@bob:example.org{DELAY}=8000",
    {},
    by="bob",
)

WORKERS = Cases("workers/delayed_events", WORLD)
WORKERS.add(
    "send_delayed_events/good",
    "The time has come: Bob's farewell is sent.",
    "QUEUE delayed-events",
    [ORDER],
)
WORKERS.add(
    "send_delayed_events/too_soon",
    "Bob's client restarted it: the message comes again later.",
    "QUEUE delayed-events",
    [ORDER],
    after=5_000,
)
WORKERS.add(
    "send_delayed_events/cancelled",
    "Bob's farewell was cancelled: nothing happens.",
    "QUEUE delayed-events",
    [ORDER],
    worlds="bob_cancelled_his_farewell",
)
WORKERS.add(
    "look_after_delayed_events/too_soon",
    "The message may be on its way.",
    "SCHEDULE",
)
WORKERS.add(
    "look_after_delayed_events/lost",
    "The time is long past: the event is ordered anew.",
    "SCHEDULE",
    after=20 * 60_000,
)


def _all() -> Iterator[Case]:
    yield from ASKING
    yield from SENDING
    yield from WORKERS


CASES = list(_all())
