"""Rate limits: how often somebody may do something, over all functions together.

Each (kind, key) is a bucket that holds `burst` requests and fills at `per_second`. What is stored of it is
the time at which it will be full again (the generic cell rate algorithm), in one item that expires then.
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
        """The time that one request takes to come back."""
        return round(1000 / self.per_second)

    def over_ms(self, full_ms: int, now: int, count: int = 1) -> int:
        """Return how long `count` requests wait for a bucket that is full at `full_ms`; 0 or less: they
        needn't.
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
        # Profiles that other servers are asked for.
        "profile_query": Limit(1, 60),
        # By account: passwords that were tried, and were wrong.
        "failed_login": Limit(0.17, 3),
        # The same by account and by the address (or proof) that they came with.
        "failed_login_from": Limit(0.17, 3),
        # By address of mail: mails by which an address is proved.
        "proof_mail": Limit(1 / 60, 5),
        # By account: mails with which somebody may log in.
        "login_mail": Limit(1 / 60, 5),
        # By user, server or address: requests that take long.
        "long_work": Limit(0.25, 16),
        # By user.
        "login_token": Limit(1 / 60, 1),
        "openid_token": Limit(0.05, 20),
        "message": Limit(0.2, 10),
        "redaction": Limit(0.2, 10),
        "join": Limit(0.1, 10),
        # Joins by other servers that are going on: one that ends is given back.
        "remote_join": Limit(1 / 120, 3),
        # Seconds that joins take until they need a turn, by user; then turns, by user and for all.
        "join_seconds": Limit(0.5, 150),
        "long_join": Limit(1 / 300, 2),
        "long_joins": Limit(1 / 300, 5),
        "invite": Limit(0.3, 10),
        "moderation": Limit(1, 50),
        "room_creation": Limit(0.016, 10),
        "profile": Limit(0.2, 10),
        "presence": Limit(0.2, 10),
        "media_upload": Limit(0.5, 20),
        # Requests that wait for media which are not uploaded yet.
        "media_wait": Limit(1 / 15, 4),
        "url_preview": Limit(1, 50),
        # Files of other servers that are fetched for a user; and their megabytes, by server.
        "media_fetch": Limit(1, 200),
        "media_fetch_megabytes": Limit(0.5, 1000),
        "report": Limit(1, 5),
        # By server: joins, leaves, knocks and invites of its users.
        "federation_membership": Limit(5, 200),
        # By server and invited user: invites to rooms that this server isn't in.
        "federation_invite": Limit(1 / 300, 20),
        # By server: events that it sends, those of them that can't be judged yet, and what it asks for.
        "federation_pdu": Limit(10, 500),
        "federation_parked": Limit(0.1, 200),
        "federation_state": Limit(0.5, 30),
        # By server: messages of its events for which a worker has to wait for answers of others.
        "federation_work": Limit(1 / 60, 8),
        # By server: megabytes of media that it is sent.
        "federation_media": Limit(2, 1000),
        # By server: messages from device to device that it sends, typing and receipts, questions for keys.
        "federation_to_device": Limit(20, 2_000),
        "federation_ephemera": Limit(20, 1_000),
        "federation_keys": Limit(20, 4_000),
        # By server: pages of the directory, and rooms of spaces.
        "federation_directory": Limit(2, 60),
        # By user, or by address for those without a token: what other servers are asked for them.
        "remote_question": Limit(0.5, 30),
        # By user: other servers to which messages between devices go.
        "to_device_servers": Limit(5, 3_000),
        "remote_question_from": Limit(0.2, 10),
        "pusher": Limit(0.1, 20),
        "user_directory": Limit(1, 50),
        "search": Limit(0.2, 20),
        "notifications": Limit(0.5, 30),
        "delayed_event": Limit(0.5, 20),
        # Restarts, sends and cancellations of delayed events, by the user whose events they are.
        "delayed_event_action": Limit(1, 60),
    }
)
"""What may be limited, and how; the keys are chosen so that honest clients never notice."""

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
"""The kinds whose key is the address that a request came from."""

_full: dict[tuple[str, str], int] = {}
"""When the buckets used by this process will be full: a guess that saves a write, never a decision."""


def check(kind: str, key: str, count: int = 1) -> int:
    """Take `count` requests from the bucket of `kind` (in `LIMITS`) and `key`, before the work they are for.

    Returns the time of the taking, which `give_back` needs. Raises LimitExceeded. One write; a second one
    when this process guessed wrongly whether the bucket was full. The writes are conditional, so requests at
    the same time can't take more than there is.
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

    Does nothing once the bucket has filled again by as much as was taken: the request came back by itself.
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
    """Return the key of a bucket: for what is limited by address, the network that the address is in."""
    return network(key) if kind in BY_ADDRESS else key


def network(address: str) -> str:
    """Return the network that counts as one client: an IPv4 address, or the /64 of an IPv6 address.

    A client with one IPv6 address has all 2**64 addresses of its network. Text that is no address is returned
    unchanged.
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
    """`count` requests, taken from a bucket in the same transaction as other writes, which costs no trip.

    `read` is fetched along with other reads beforehand.
    """

    def __init__(self, kind: str, key: str, count: int = 1) -> None:
        self._limit = LIMITS[kind]
        self._count = count
        self._bucket = bucket(kind, key)
        self._full_ms: int | None = None

    @property
    def read(self) -> Read[None] | None:
        """The read by which this learns how the bucket stands; None if rates are not limited."""
        return Read(TABLE, self._bucket.key, self.learn) if settings().rate_limits else None

    def learn(self, item: StoredItem | None) -> None:
        """Remember the bucket's level from its item."""
        self._full_ms = full_ms_of(item)

    def writes(self) -> list[Write]:
        """Return the write to commit with the others; none where rates aren't limited. Raises
        LimitExceeded.
        """
        if not settings().rate_limits:
            return []
        now, before = now_ms(), self._full_ms
        _raise_if_over(self._limit, before or 0, now, self._count)
        full_ms = max(before or 0, now) + self._count * self._limit.interval_ms
        return [self._bucket.replace(before, full_ms).named(BUCKET)]

    def settle(self, commit: Callable[[], T]) -> T:
        """Return what `commit` returns; call it again if another request took from the bucket meanwhile.

        Raises what `commit` raises, and Unavailable if the bucket stays contended.
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
