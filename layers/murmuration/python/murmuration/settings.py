"""The deployment's settings for the functions: a typed view of the environment, read on first use.

Every variable starts with `MURMURATION_`. Secrets are never here: they are SSM parameters, whose names are
here and which `murmuration.aws.parameters` reads.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName

DEFAULT_ROOM_VERSION = "12"
ROOM_VERSIONS = tuple(str(number) for number in range(1, 13))
"""The room versions in `murmuration.protocol.room_versions`, which this module doesn't import."""


class SettingsError(Exception):
    """A setting is missing or invalid. The message names the variable."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The deployment's settings. Sizes are in bytes, times in seconds unless their names say otherwise.

    `public_url` is the base URL for clients, without a trailing slash. The physical names of tables, queues
    and parameters begin with `prefix`. The URLs of queues begin with `queue_urls`; without it SQS is asked
    for them. `password_cost` is log2 of scrypt's N. `login_flows` and `identity_providers` are unparsed:
    `accounts.login_flows` and `accounts.sso.identity_providers` parse them. If a client's URL begins with one
    of `sso_trusted_clients`, single sign-on redirects to it without asking the user. `sso_private_providers`
    allows providers with private addresses, and plain HTTP on the loopback; `push_private_gateways` does the
    same for push gateways. `support_admin` and `support_security` are the contacts for administration and
    security, each a user ID or a mail address; `support_page` is a page that helps users.

    A room that all users have left is deleted after `empty_room_days`; 0 means never. With `retention`,
    messages are purged when they reach the age that their room sets, moved into
    `retention_shortest_days`..`retention_longest_days` (0: no limit). Rooms that set none keep messages for
    `retention_default_days` (0: for ever). A user, or an address without an account, may cost `hourly_budget`
    microdollars an hour, if `rate_limits` is on. A user may upload `media_quota_bytes` in total (0: no
    limit). One upload may have `media_max_bytes`, or `media_put_max_bytes` if it is a PUT to an ID that was
    created before. Files of other servers are fetched if they have up to `remote_media_max_bytes`, and
    deleted `remote_media_days` after their last use. This server's own files are deleted `local_media_days`
    after it (0: never). `url_previews` allows clients to request previews of URLs.
    Media that were uploaded before `unauthenticated_media_before_ms` can be read without a token.
    `default_room_version` is used for rooms whose creators name none. An event may be scheduled up to
    `event_delay_max` ahead (0: not at all). Calls use the LiveKit service at `livekit_service_url`. With
    `metrics` the functions write metrics into their logs. `api` is the kind of API in front of the functions:
    a REST API compresses answers and stores large uploads, an HTTP API does neither. `waits` says how
    CloudFront reaches the queues of parked clients: through a REST API, or at the `edge` directly. With
    `stored_forms` "before", items are written in the previous release's form, so that its functions can read
    them during an upgrade.

    This server communicates with another server if `federation` is on, `federation_allow` is empty or has a
    glob that matches the server's name, and `federation_deny` has none. `key_notaries` are servers that are
    asked for the keys of unreachable ones. A local user may join a remote room with up to
    `federation_max_members` (0: no limit). All other servers together may cost `federation_budget` dollars a
    month (0: each has only its own limit). Presence is exchanged with other servers only with
    `federated_presence`. For tests on one machine, `federation_loopback` allows servers on the loopback, and
    `federation_ca` names a file with further certificate authorities.
    """

    server_name: ServerName
    public_url: str
    prefix: str = "murmuration-dev"
    registration: Literal["open", "closed", "token"] = "closed"
    rate_limits: bool = True
    password_cost: int = 14
    waiting: Literal["held", "parked"] = "parked"
    waits: Literal["edge", "rest"] = "edge"
    api: Literal["http", "rest"] = "http"
    stored_forms: Literal["now", "before"] = "now"
    queue_urls: str = ""
    media_bucket: str = ""
    media_max_bytes: int = 10_000_000
    media_put_max_bytes: int = 100_000_000
    media_quota_bytes: int = 5_000_000_000
    remote_media_max_bytes: int = 104_857_600
    remote_media_days: int = 30
    local_media_days: int = 0
    url_previews: bool = True
    unauthenticated_media_before_ms: int = 0
    viewer_secret_parameter: str = ""
    turn_uris: tuple[str, ...] = ()
    turn_ttl: int = 86_400
    identity_server_url: str = ""
    mail_sender: str = ""
    login_flows: str = ""
    identity_providers: str = ""
    sso_trusted_clients: tuple[str, ...] = ()
    sso_private_providers: bool = False
    push_private_gateways: bool = False
    support_admin: str = ""
    support_security: str = ""
    support_page: str = ""
    socket_endpoint: str = ""
    empty_room_days: int = 30
    retention: bool = False
    retention_default_days: int = 0
    retention_shortest_days: int = 1
    retention_longest_days: int = 0
    default_room_version: str = DEFAULT_ROOM_VERSION
    event_delay_max: int = 86_400
    livekit_service_url: str = ""
    hourly_budget: int = 240_000
    metrics: bool = False
    federation: bool = True
    federation_budget: int = 20
    federated_presence: bool = False
    federation_allow: tuple[str, ...] = ()
    federation_deny: tuple[str, ...] = ()
    federation_max_members: int = 20_000
    federation_loopback: bool = False
    federation_ca: str = ""
    key_notaries: tuple[str, ...] = ("matrix.org",)

    def table(self, name: str) -> str:
        """Return the physical name of the table with the logical name `name`."""
        return f"{self.prefix}-{name}"

    def queue(self, name: str) -> str:
        """Return the physical name of the queue with the logical name `name`."""
        return f"{self.prefix}-{name}"

    def worker(self, queue: str) -> str:
        """Return the physical name of the function that handles the queue with the logical name `queue`."""
        return f"{self.prefix}-queue-{queue}"

    def parameter(self, name: str) -> str:
        """Return the name of the SSM parameter `name`."""
        return f"/{self.prefix}/{name}"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings in `environment`. Raises SettingsError, which names the faulty variable."""

    def value(name: str, default: str | None = None) -> str:
        found = environment.get(f"MURMURATION_{name}", default)
        if found is None:
            raise SettingsError(f"MURMURATION_{name} is not set")
        return found

    def choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
        chosen = value(name, default)
        if chosen not in allowed:
            raise SettingsError(f"MURMURATION_{name} is {chosen!r}; it must be one of {', '.join(allowed)}")
        return chosen

    def number(name: str, default: int) -> int:
        text = value(name, str(default))
        if not text.isdecimal():
            raise SettingsError(f"MURMURATION_{name} is {text!r}; it must be a whole number")
        return int(text)

    def moment_ms(name: str) -> int:
        """Return a time in milliseconds since the epoch; 0 if none is set."""
        text = value(name, "")
        try:
            return parse_moment_ms(text) if text else 0
        except ValueError as error:
            raise SettingsError(
                f"MURMURATION_{name} is {text!r}; it must be a time such as 2026-01-31T12:00:00Z"
            ) from error

    def words(name: str, default: str = "") -> tuple[str, ...]:
        """Return the parts of a list.

        `none` means an empty list, because a function's variable can't be empty.
        """
        parts = (word.strip() for word in value(name, default).split(","))
        return tuple(word for word in parts if word not in ("", "none"))

    server_name = cast("ServerName", value("SERVER_NAME"))
    return Settings(
        server_name=server_name,
        public_url=value("PUBLIC_URL", f"https://{server_name}").rstrip("/"),
        prefix=value("PREFIX", "murmuration-dev"),
        registration=choice("REGISTRATION", "closed", ("open", "closed", "token")),  # type: ignore[arg-type]
        rate_limits=choice("RATE_LIMITS", "on", ("on", "off")) == "on",
        password_cost=number("PASSWORD_COST", 14),
        waiting=choice("WAITING", "parked", ("held", "parked")),  # type: ignore[arg-type]
        waits=choice("WAITS", "edge", ("edge", "rest")),  # type: ignore[arg-type]
        api=choice("API", "http", ("http", "rest")),  # type: ignore[arg-type]
        stored_forms=choice("STORED_FORMS", "now", ("now", "before")),  # type: ignore[arg-type]
        queue_urls=value("QUEUE_URLS", ""),
        media_bucket=value("MEDIA_BUCKET", ""),
        media_max_bytes=number("MEDIA_MAX_BYTES", 10_000_000),
        media_put_max_bytes=number("MEDIA_PUT_MAX_BYTES", 100_000_000),
        media_quota_bytes=number("MEDIA_QUOTA_BYTES", 5_000_000_000),
        remote_media_max_bytes=number("REMOTE_MEDIA_MAX_BYTES", 104_857_600),
        remote_media_days=number("REMOTE_MEDIA_DAYS", 30),
        local_media_days=number("LOCAL_MEDIA_DAYS", 0),
        url_previews=choice("URL_PREVIEWS", "on", ("on", "off")) == "on",
        unauthenticated_media_before_ms=moment_ms("UNAUTHENTICATED_MEDIA_BEFORE"),
        viewer_secret_parameter=value("VIEWER_SECRET_PARAMETER", ""),
        turn_uris=tuple(uri for uri in value("TURN_URIS", "").split(",") if uri),
        turn_ttl=number("TURN_TTL", 86_400),
        identity_server_url=value("IDENTITY_SERVER_URL", ""),
        mail_sender=value("MAIL_SENDER", ""),
        login_flows=value("LOGIN_FLOWS", ""),
        identity_providers=value("IDENTITY_PROVIDERS", ""),
        sso_trusted_clients=tuple(url for url in value("SSO_TRUSTED_CLIENTS", "").split(",") if url),
        sso_private_providers=choice("SSO_PRIVATE_PROVIDERS", "off", ("on", "off")) == "on",
        push_private_gateways=choice("PUSH_PRIVATE_GATEWAYS", "off", ("on", "off")) == "on",
        support_admin=value("SUPPORT_ADMIN", ""),
        support_security=value("SUPPORT_SECURITY", ""),
        support_page=value("SUPPORT_PAGE", ""),
        socket_endpoint=value("SOCKET_ENDPOINT", ""),
        default_room_version=choice("DEFAULT_ROOM_VERSION", DEFAULT_ROOM_VERSION, ROOM_VERSIONS),
        event_delay_max=number("EVENT_DELAY_MAX", 86_400),
        livekit_service_url=value("LIVEKIT_SERVICE_URL", ""),
        empty_room_days=number("EMPTY_ROOM_DAYS", 30),
        retention=choice("RETENTION", "off", ("on", "off")) == "on",
        retention_default_days=number("RETENTION_DEFAULT_DAYS", 0),
        retention_shortest_days=number("RETENTION_SHORTEST_DAYS", 1),
        retention_longest_days=number("RETENTION_LONGEST_DAYS", 0),
        hourly_budget=number("HOURLY_BUDGET", 240_000),
        metrics=choice("METRICS", "off", ("on", "off")) == "on",
        federation=choice("FEDERATION", "on", ("on", "off")) == "on",
        federation_budget=number("FEDERATION_BUDGET", 20),
        federated_presence=choice("FEDERATED_PRESENCE", "off", ("on", "off")) == "on",
        federation_allow=words("FEDERATION_ALLOW"),
        federation_deny=words("FEDERATION_DENY"),
        federation_max_members=number("FEDERATION_MAX_MEMBERS", 20_000),
        federation_loopback=choice("FEDERATION_LOOPBACK", "off", ("on", "off")) == "on",
        federation_ca=value("FEDERATION_CA", ""),
        key_notaries=words("KEY_NOTARIES", "matrix.org"),
    )


def parse_moment_ms(text: str) -> int:
    """Return an ISO 8601 time with time zone as milliseconds since the epoch. Raises ValueError."""
    from datetime import datetime

    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("the time has no zone")
    return int(moment.timestamp() * 1000)


@functools.cache
def settings() -> Settings:
    """Return this process's settings, read from the environment on first use."""
    return read_settings(os.environ)
