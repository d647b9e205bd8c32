"""Pushers: the push gateways that notify a user, and the devices that they notify.

All pushers of a user are one item of the table `users`, changed by its revision. The same transaction marks
the user's item in `listeners`: the worker that wakes a room's members reads those items anyway, so a room
without pushers costs nothing more. Items of `directory` find all users who have a pusher with one push key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Item, Write
from murmuration.aws.reads import Read, fetch
from murmuration.clock import now_ms
from murmuration.protocol.errors import TooLarge, Unavailable, UnknownToken
from murmuration.protocol.identifiers import DeviceId, UserId
from murmuration.storage.live import listeners
from murmuration.storage.live.streams import pause
from murmuration.storage.users.accounts import check_device

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Body

TABLE, SK = "users", "pushers"
DIRECTORY = "directory"
MOST = 20
"""How many pushers a user may have."""
MOST_OF_KEY = 50
"""How many users may share one push key."""
ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Pusher:
    """A pusher. `data` comes from the client; `made_ms` is when. It is deleted with the device
    `device_id`.
    """

    app_id: str
    pushkey: str
    kind: str
    app_display_name: str
    device_display_name: str
    lang: str
    profile_tag: str
    data: Body
    device_id: DeviceId
    made_ms: int

    @property
    def pair(self) -> tuple[str, str]:
        """The app ID and the push key, which identify the pusher among the pushers of its user."""
        return self.app_id, self.pushkey

    @property
    def digest(self) -> str:
        return digest_of(self.app_id, self.pushkey)


@dataclass(frozen=True, slots=True)
class Pushers:
    """A user's pushers, and the number of their changes."""

    pushers: tuple[Pusher, ...] = ()
    revision: int = 0


Change = Callable[[Sequence[Pusher]], Sequence[Pusher]]


def digest_of(app_id: str, pushkey: str) -> str:
    """Return a short name for a push key of an app."""
    return hashlib.sha256(json.dumps([app_id, pushkey]).encode()).hexdigest()[:32]


def pushers_read(user_id: UserId) -> Read[Pushers]:
    """Return the read of a user's pushers."""
    return Read(TABLE, _key(user_id), _from_item)


def read_pushers(user_id: UserId) -> Pushers:
    """Return the pushers of a user."""
    return fetch(pushers_read(user_id))


def set_pusher(user_id: UserId, pusher: Pusher) -> None:
    """Add a pusher, or replace the one with the same app and push key.

    Raises TooLarge if there are too many, UnknownToken if its device is gone, because a pusher must not
    outlive it.
    """

    def change(before: Sequence[Pusher]) -> list[Pusher]:
        others = [each for each in before if each.pair != pusher.pair]
        if len(others) >= MOST:
            raise TooLarge(f"A user may have {MOST} pushers")
        return [*others, pusher]

    device = check_device(user_id, pusher.device_id)
    try:
        _change(user_id, change, [device])
    except ConditionFailed as error:
        raise UnknownToken("The device has been logged out", soft_logout=False) from error


def remove_pushers(user_id: UserId, pairs: Collection[tuple[str, str]], *, made_before_ms: int = 0) -> None:
    """Remove pushers by app and push key; with `made_before_ms`, only those that were set before then."""

    def gone(each: Pusher) -> bool:
        return each.pair in pairs and (not made_before_ms or each.made_ms < made_before_ms)

    _change(user_id, lambda before: [each for each in before if not gone(each)])


def remove_of_devices(user_id: UserId, device_ids: Collection[DeviceId]) -> None:
    """Remove the pushers that were made on these devices."""
    _change(user_id, lambda before: [each for each in before if each.device_id not in device_ids])


def users_of(app_id: str, pushkey: str) -> list[UserId]:
    """Return the users who have a pusher with this app and push key."""
    items = dynamodb.query(
        DIRECTORY, "pk = :pk", {":pk": _pk(digest_of(app_id, pushkey))}, limit=2 * MOST_OF_KEY
    )
    return [UserId(str(item["sk"])) for item in items]


def _change(user_id: UserId, change: Change, more: Sequence[Write] = ()) -> None:
    """Change a user's pushers. Concurrent changes are made one after another, so that none is lost.

    Raises ConditionFailed if one of `more`, which have names, is refused.
    """
    for attempt in range(ATTEMPTS):
        before = read_pushers(user_id)
        after = tuple(change(before.pushers))
        if after == before.pushers:
            return
        try:
            dynamodb.transact([*_writes(user_id, before, after), *more], patient=False)
        except ConditionFailed as error:
            if error.named().names:
                raise
            pause(attempt)
            continue
        return
    raise Unavailable("Other requests are changing the pushers of this user; try again")


def _writes(user_id: UserId, before: Pushers, after: Sequence[Pusher]) -> list[Write]:
    encoded = json.dumps([asdict(each) for each in after], separators=(",", ":"), ensure_ascii=False)
    writes = [
        dynamodb.put(
            TABLE,
            {**_key(user_id), "pushers": encoded, "revision": before.revision + 1},
            condition="revision = :revision" if before.revision else "attribute_not_exists(revision)",
            values={":revision": before.revision} if before.revision else None,
        ),
        listeners.pushers_write(user_id, has_pushers=bool(after)),
    ]
    were, are = {each.digest for each in before.pushers}, {each.digest for each in after}
    writes += [
        dynamodb.put(DIRECTORY, {"pk": _pk(each), "sk": user_id, "at_ms": now_ms()})
        for each in sorted(are - were)
    ]
    writes += [dynamodb.delete(DIRECTORY, {"pk": _pk(each), "sk": user_id}) for each in sorted(were - are)]
    return writes


def _key(user_id: UserId) -> dict[str, str]:
    return {"user_id": user_id, "sk": SK}


def _pk(digest: str) -> str:
    return f"pushkey#{digest}"


def _from_item(item: Item | None) -> Pushers:
    if item is None:
        return Pushers()
    return Pushers(tuple(Pusher(**each) for each in json.loads(item["pushers"])), int(item["revision"]))
