"""The shape of answers: which fields, of which types. It was recorded of what Element X's SDK understands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any], bool]


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_text_or_null(value: Any) -> bool:
    return value is None or isinstance(value, str)


def is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def is_object(value: Any) -> bool:
    return isinstance(value, dict)


def each(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def by_key(check: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def with_fields(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """Return an object with these fields and no others."""

    def check(value: Any) -> bool:
        if not isinstance(value, dict) or required.keys() - value.keys():
            return False
        known = {**required, **(optional or {})}
        return all(name in known and known[name](inner) for name, inner in value.items())

    return check


STRIPPED = with_fields(
    {"type": is_text, "state_key": is_text, "sender": is_text, "content": is_object},
    {"event_id": is_text, "origin_server_ts": is_whole, "room_id": is_text, "unsigned": is_object},
)
EVENT = with_fields(
    {
        "type": is_text,
        "sender": is_text,
        "event_id": is_text,
        "origin_server_ts": is_whole,
        "content": is_object,
    },
    {"state_key": is_text, "unsigned": is_object, "redacts": is_text},
)
STATE_EVENT = with_fields(
    {
        "type": is_text,
        "state_key": is_text,
        "sender": is_text,
        "event_id": is_text,
        "origin_server_ts": is_whole,
        "content": is_object,
    },
    {"unsigned": is_object},
)
BASIC_EVENT = with_fields({"type": is_text, "content": is_object})
HERO = with_fields({"user_id": is_text}, {"displayname": is_text, "avatar_url": is_text})
ROOM = with_fields(
    {},
    {
        "name": is_text_or_null,
        "avatar": is_text_or_null,
        "is_dm": is_flag,
        "initial": is_flag,
        "required_state": each(STATE_EVENT),
        "timeline": each(EVENT),
        "prev_batch": is_text,
        "limited": is_flag,
        "num_live": is_whole,
        "bump_stamp": is_whole,
        "joined_count": is_whole,
        "invited_count": is_whole,
        "heroes": each(HERO),
        "invite_state": each(STRIPPED),
        "notification_count": is_whole,
        "highlight_count": is_whole,
        "unstable_expanded_timeline": is_flag,
    },
)
EXTENSIONS = with_fields(
    {},
    {
        "to_device": with_fields({"next_batch": is_text, "events": each(is_object)}),
        "e2ee": with_fields(
            {
                "device_one_time_keys_count": by_key(is_whole),
                "device_unused_fallback_key_types": each(is_text),
            },
            {"device_lists": with_fields({"changed": each(is_text), "left": each(is_text)})},
        ),
        "account_data": with_fields({}, {"global": each(BASIC_EVENT), "rooms": by_key(each(BASIC_EVENT))}),
        "receipts": with_fields({"rooms": by_key(BASIC_EVENT)}),
        "typing": with_fields({"rooms": by_key(BASIC_EVENT)}),
    },
)
ANSWER = {
    "pos": is_text,
    "lists": by_key(with_fields({"count": is_whole})),
    "rooms": by_key(ROOM),
    "extensions": EXTENSIONS,
}


def check(answer: Any) -> None:
    """Raise AssertionError if an answer has another shape."""
    assert answer.keys() == ANSWER.keys()
    for name, is_right in ANSWER.items():
        assert is_right(answer[name]), (name, answer[name])
