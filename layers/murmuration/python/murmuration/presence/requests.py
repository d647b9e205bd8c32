"""The operations behind the endpoints about presence, from their bodies to their answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from murmuration.clock import now_ms
from murmuration.identity import rate_limits
from murmuration.identity.tokens import Requester
from murmuration.presence import lists, status, views
from murmuration.protocol.bodies import Fields
from murmuration.protocol.encoding.shapes import Answer
from murmuration.protocol.errors import InvalidParam
from murmuration.storage.users import presence_lists

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

MOST_CHANGES = 50
"""How many entries of a presence list one request may change."""


def set_status(requester: Requester, user_id: UserId, body: Fields, states: Sequence[str]) -> None:
    """Set the requester's presence to the state in the body, one of `states`.

    Raises Forbidden, MissingParam, BadJson, InvalidParam, LimitExceeded.
    """
    requester.require_self(user_id)
    state, message = body.choice("presence", states), body.optional_string("status_msg")
    rate_limits.check("presence", user_id)
    status.set_status(user_id, requester.device_id, state, message)


def get_status(viewer: UserId, user_id: UserId) -> Answer:
    """Return a user's presence as the viewer may see it. Raises InvalidParam, NotFound, Forbidden."""
    presence, state = views.get_status(viewer, user_id)
    return {**presence.content(state, now_ms())}


def get_list(requester: Requester, user_id: UserId) -> list[Answer]:
    """Return the users on the requester's presence list, and the users who ask to see the requester's
    presence.

    Each entry has `user_id`, and the presence if it may be seen. Users on the list have `accepted`; users who
    ask have `asking` or, once granted, `observing`, with the value true. Raises Forbidden.
    """
    requester.require_self(user_id)
    wanted, observers = presence_lists.read_list(user_id), presence_lists.read_observers(user_id)
    granted = {other for other, state in wanted.items() if state == presence_lists.GRANTED}
    now = now_ms()
    seen = {one.user_id: one.event(one.presence.shown(now), now)["content"] for one in views.look_at(granted)}
    entries = [
        {"user_id": other, "accepted": other in granted, **seen.get(other, {})} for other in sorted(wanted)
    ]
    return entries + [
        {"user_id": other, "observing" if state == presence_lists.GRANTED else "asking": True}
        for other, state in sorted(observers.items())
    ]


def change_list(requester: Requester, user_id: UserId, body: Fields) -> None:
    """Change the requester's presence list. `invite` and `drop` are users to see or not; `grant` and `deny`
    are users who asked.

    Raises Forbidden, BadJson, InvalidParam, NotFound, LimitExceeded.
    """
    requester.require_self(user_id)
    changes = {name: body.user_ids(name) for name in ("invite", "drop", "grant", "deny")}
    count = sum(map(len, changes.values()))
    if count > MOST_CHANGES:
        raise InvalidParam(f"One request may change {MOST_CHANGES} entries, not {count}")
    rate_limits.check("presence", user_id)
    lists.change_list(user_id, **changes)
