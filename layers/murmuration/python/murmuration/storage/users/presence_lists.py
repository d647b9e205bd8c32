"""Presence lists: the users whom a user wants to see, whether that is granted, and who wants to see the user.

Each entry is two items of the table `users`, written together: the observer's `presence-list#<observed>` and
the observed user's `presence-observer#<observer>`, both with the `state`: asked or granted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import StoredItem, Write

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

TABLE = "users"
LIST, OBSERVER = "presence-list#", "presence-observer#"
ASKED, GRANTED = "asked", "granted"


def list_key(observer: str, observed: str) -> dict[str, str]:
    return {"user_id": observer, "sk": LIST + observed}


def _observer_key(observer: str, observed: str) -> dict[str, str]:
    return {"user_id": observed, "sk": OBSERVER + observer}


def read_state(observer: str, observed: str) -> str | None:
    """Return `asked`, `granted`, or None for neither."""
    return state_of(dynamodb.get(TABLE, list_key(observer, observed)))


def state_of(item: StoredItem | None) -> str | None:
    return str(item["state"]) if item is not None else None


def is_granted(observer: str, observed: str) -> bool:
    return read_state(observer, observed) == GRANTED


def read_list(observer: UserId) -> dict[UserId, str]:
    """Return the users on a user's list, with the state of each."""
    return _read(observer, LIST)


def read_observers(observed: UserId) -> dict[UserId, str]:
    """Return the users who have a user on their list, with the state of each."""
    return _read(observed, OBSERVER)


def read_asking(observed: str, observers: Collection[str]) -> list[UserId]:
    """Return which of the observers have asked and aren't granted yet, sorted. One read."""
    if not observers:
        return []
    keys = [_observer_key(observer, observed) for observer in observers]
    found = dynamodb.batch_get({TABLE: keys})[TABLE]
    return sorted(item["sk"].removeprefix(OBSERVER) for item in found if item["state"] == ASKED)


def observers_among(items: Iterable[StoredItem]) -> list[UserId]:
    """Return the users who ask to see a user's presence, among changed items of the user's stream."""
    return [item["observer"] for item in items if "observer" in item]


def _read(user_id: UserId, prefix: str) -> dict[UserId, str]:
    items = dynamodb.query(
        TABLE, "user_id = :user AND begins_with(sk, :prefix)", {":user": user_id, ":prefix": prefix}
    )
    return {item["sk"].removeprefix(prefix): item["state"] for item in items}


def asking_writes(observer: str, observed: str) -> list[Write]:
    """Return the writes with which an observer asks. They are refused if the request is granted already."""
    return _entry_writes(observer, observed, ASKED, "attribute_not_exists(sk) OR #state = :asked")


def granting_writes(observer: str, observed: str) -> list[Write]:
    """Return the writes that grant an observer's request. They are refused if there is no request."""
    return _entry_writes(observer, observed, GRANTED, "#state = :asked")


def _entry_writes(observer: str, observed: str, state: str, condition: str) -> list[Write]:
    names, values = {"#state": "state"}, {":asked": ASKED}
    return [
        dynamodb.put(TABLE, {**key, "state": state}, condition=condition, names=names, values=values)
        for key in (list_key(observer, observed), _observer_key(observer, observed))
    ]


def removal_writes(observer: str, observed: str) -> list[Write]:
    return [
        dynamodb.delete(TABLE, list_key(observer, observed)),
        dynamodb.delete(TABLE, _observer_key(observer, observed)),
    ]
