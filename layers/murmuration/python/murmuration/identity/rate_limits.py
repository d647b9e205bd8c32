"""Rate limits: how often something may be done, counted over all functions together.

Each (kind, key) is a bucket that holds `burst` requests and fills at `per_second`. Only the time at which it
will be full again is stored (the generic cell rate algorithm), in one item that expires then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from murmuration.aws.dynamodb import ConditionFailed, StoredItem, Write
from murmuration.aws.reads import Read
from murmuration.clock import now_ms
from murmuration.protocol.errors import LimitExceeded, Unavailable
from murmuration.settings import settings
from murmuration.storage.buckets import TABLE, Bucket, Changed, full_ms_of
from murmuration.storage.live.streams import pause

T = TypeVar("T")
ATTEMPTS = 3
TAKINGS = 40
REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Limit:
    """A bucket of `burst` requests, filled again at `per_second`."""

    per_second: float
    burst: int

    @property
    def interval_ms(self) -> int:
        """The time in milliseconds after which one request has come back into the bucket."""
        return round(1000 / self.per_second)

    def over_ms(self, full_ms: int, now: int, count: int = 1) -> int:
        """Return for how many milliseconds `count` requests must wait; 0 or less if they needn't.

        `full_ms` is when the bucket will be full.
        """
        return full_ms + count * self.interval_ms - now - self.burst * self.interval_ms


LIMITS: Mapping[str, Limit] = MappingProxyType(
    {
        # By address.
        "registration": Limit(0.17, 3),
        "registration_query": Limit(0.5, 10),
        "login": Limit(0.17, 6),
        "login_poll": Limit(1, 30),
        "sso": Limit(0.5, 20),
        "proof_request": Limit(0.05, 10),
        "key_fetch": Limit(2, 60),
        "key_query": Limit(1, 30),
        # By address: profiles for which other servers are asked.
        "profile_query": Limit(1, 60),
        # By account: attempts with a wrong password.
        "failed_login": Limit(0.17, 3),
        # By account and address (or other proof of who it is): attempts with a wrong password.
        "failed_login_from": Limit(0.17, 3),
        # By mail address: mails that prove the address.
        "proof_mail": Limit(1 / 60, 5),
        # By account: mails for logging in.
        "login_mail": Limit(1 / 60, 5),
        # By user, server or address: requests that take long.
        "long_work": Limit(0.25, 16),
        # By user.
        "login_token": Limit(1 / 60, 1),
        "openid_token": Limit(0.05, 20),
        "message": Limit(0.2, 10),
        "redaction": Limit(0.2, 10),
        "join": Limit(0.1, 10),
        # Joins through other servers that are in progress. A finished one is given back.
        "remote_join": Limit(1 / 120, 3),
        # The seconds of joins before they need a turn, by user; then turns, by user and for all users.
        "join_seconds": Limit(0.5, 150),
        "long_join": Limit(1 / 300, 2),
        "long_joins": Limit(1 / 300, 5),
        "invite": Limit(0.3, 10),
        "moderation": Limit(1, 50),
        "room_creation": Limit(0.016, 10),
        "profile": Limit(0.2, 10),
        "presence": Limit(0.2, 10),
        "media_upload": Limit(0.5, 20),
        # Requests that wait for media which aren't uploaded yet.
        "media_wait": Limit(1 / 15, 4),
        "url_preview": Limit(1, 50),
        # By user: files that are fetched from other servers. By server: the megabytes of its files.
        "media_fetch": Limit(1, 200),
        "media_fetch_megabytes": Limit(0.5, 1000),
        "report": Limit(1, 5),
        # By server: joins, leaves, knocks and invites of its users.
        "federation_membership": Limit(5, 200),
        # By server and invited user: invites to rooms that this server isn't in.
        "federation_invite": Limit(1 / 300, 20),
        # By server: its events, those of them that can't be judged yet, and its questions about states.
        "federation_pdu": Limit(10, 500),
        "federation_parked": Limit(0.1, 200),
        "federation_state": Limit(0.5, 30),
        # By server: messages with its events for which a worker has to wait for other servers.
        "federation_work": Limit(1 / 60, 8),
        # By server: megabytes of media that are sent to it.
        "federation_media": Limit(2, 1000),
        # By server: its to-device messages, typing and receipts, questions about keys.
        "federation_to_device": Limit(20, 2_000),
        "federation_ephemera": Limit(20, 1_000),
        "federation_keys": Limit(20, 4_000),
        # By server: pages of the directory, and rooms of spaces.
        "federation_directory": Limit(2, 60),
        # By user, or by address without a token: questions to other servers on their behalf.
        "remote_question": Limit(0.5, 30),
        # By user: other servers that get to-device messages.
        "to_device_servers": Limit(5, 3_000),
        "remote_question_from": Limit(0.2, 10),
        "pusher": Limit(0.1, 20),
        "user_directory": Limit(1, 50),
        "search": Limit(0.2, 20),
        "notifications": Limit(0.5, 30),
        "delayed_event": Limit(0.5, 20),
        # By the user who scheduled the events: restarts, sends and cancellations of delayed events.
        "delayed_event_action": Limit(1, 60),
    }
)
"""The limit for each kind. Each key is chosen so that honest clients never reach the limit."""

BY_ADDRESS = frozenset(
    (
        "registration",
        "registration_query",
        "login",
        "login_poll",
        "sso",
        "proof_request",
        "key_fetch",
        "key_query",
        "profile_query",
        "remote_question_from",
    )
)
"""The kinds whose key is the address that sent the request."""

_full: dict[tuple[str, str], int] = {}
"""When the buckets of this process will be full: a guess that saves a write, never the basis of a
decision."""


def check(kind: str, key: str, count: int = 1) -> int:
    """Take `count` requests from the bucket of `kind` (in `LIMITS`) and `key`, before their work.

    Returns the time of taking, which `give_back` needs. Raises LimitExceeded. It takes one write, and a
    second one if this process guessed wrongly when the bucket will be full. The writes are conditional, so
    concurrent requests can't take more than the bucket has.
    """
    limit, now = LIMITS[kind], now_ms()
    if not settings().rate_limits:
        return now
    key = bucket_key(kind, key)
    full_ms = _full.get((kind, key), 0)
    for _ in range(ATTEMPTS):
        try:
            full_ms = bucket(kind, key).take(
                count * limit.interval_ms,
                now,
                full_ms=full_ms,
                most_ms=now + (limit.burst - count) * limit.interval_ms,
            )
        except Changed as changed:
            full_ms = changed.full_ms
            _raise_if_over(limit, full_ms, now, count)
            continue
        if len(_full) >= REMEMBERED:
            _full.clear()
        _full[kind, key] = full_ms
        return now
    raise LimitExceeded("Too many requests at once", retry_after_ms=limit.interval_ms)


def give_back(kind: str, key: str, taken_ms: int, count: int = 1) -> None:
    """Put back `count` of the requests that `check` took at `taken_ms`. At most one write.

    Does nothing if the bucket has been filled again by as much as was taken since then.
    """
    limit, now = LIMITS[kind], now_ms()
    if not settings().rate_limits or now - taken_ms >= count * limit.interval_ms:
        return
    key = bucket_key(kind, key)
    _full.pop((kind, key), None)
    bucket(kind, key).put_back(count * limit.interval_ms, now)


def bucket(kind: str, key: str) -> Bucket:
    """Return the bucket of `kind` that has exactly the key `key`."""
    return Bucket(f"{kind}#{key}")


def bucket_key(kind: str, key: str) -> str:
    """Return the key of a bucket. If the kind is limited by address, it is the network of the address."""
    return network(key) if kind in BY_ADDRESS else key


def network(address: str) -> str:
    """Return the network that counts as one client: an IPv4 address, or the /64 of an IPv6 address.

    A client with one IPv6 address has all 2**64 addresses of its network. Text that isn't an address is
    returned unchanged.
    """
    if ":" not in address:
        return address
    from ipaddress import IPv6Address

    try:
        parsed = IPv6Address(address.strip("[]").partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"


BUCKET = "rate limit"
"""The name of a write that takes from a bucket."""


class Taking:
    """Takes `count` requests from a bucket, in the same transaction as other writes, so without a further
    round trip.

    `read` is fetched together with other reads beforehand.
    """

    def __init__(self, kind: str, key: str, count: int = 1) -> None:
        self._limit = LIMITS[kind]
        self._count = count
        self._bucket = bucket(kind, key)
        self._full_ms: int | None = None

    @property
    def read(self) -> Read[None] | None:
        """The read that gets the bucket's level; None if rates aren't limited."""
        return Read(TABLE, self._bucket.key, self.learn) if settings().rate_limits else None

    def learn(self, item: StoredItem | None) -> None:
        """Remember the bucket's level from its item."""
        self._full_ms = full_ms_of(item)

    def writes(self) -> list[Write]:
        """Return the write to commit with the others; none if rates aren't limited. Raises LimitExceeded."""
        if not settings().rate_limits:
            return []
        now, before = now_ms(), self._full_ms
        _raise_if_over(self._limit, before or 0, now, self._count)
        full_ms = max(before or 0, now) + self._count * self._limit.interval_ms
        return [self._bucket.replace(before, full_ms).named(BUCKET)]

    def settle(self, commit: Callable[[], T]) -> T:
        """Call `commit` and return its result; call it again if another request took from the bucket
        meanwhile.

        Raises what `commit` raises, and Unavailable if the contention doesn't end.
        """
        for attempt in range(TAKINGS):
            try:
                return commit()
            except ConditionFailed as error:
                if error.names != {BUCKET}:
                    raise
                self.learn(error.item(BUCKET))
                pause(attempt)
        raise Unavailable("You are sending too much at once; try again")


def _raise_if_over(limit: Limit, full_ms: int, now: int, count: int = 1) -> None:
    wait_ms = limit.over_ms(full_ms, now, count)
    if wait_ms > 0:
        raise LimitExceeded("Too many requests", retry_after_ms=wait_ms)
