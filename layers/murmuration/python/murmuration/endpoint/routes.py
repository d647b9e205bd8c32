"""The declarations of endpoints: each says which events a function handles.

`infra_cdk` builds the deployment from these and `local_cloud` serves them, both without further declarations.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Auth(Enum):
    """How a request proves who sends it."""

    NONE = "none"
    ACCESS_TOKEN = "access token"  # noqa: S105 - a scheme's name
    """Checked before the handler runs: one read."""
    DEFERRED_ACCESS_TOKEN = "deferred access token"  # noqa: S105 - a scheme's name
    """The domain checks it together with its own first read, which saves a round trip."""
    OPTIONAL_ACCESS_TOKEN = "optional access token"  # noqa: S105 - a scheme's name
    LOCKED_ACCESS_TOKEN = "access token, of a locked account too"  # noqa: S105 - a scheme's name
    SERVER = "server"
    """A request of another homeserver, which signed it."""


_FOR_SERVERS = "/_matrix/federation/"
_ALWAYS = ("/_matrix/federation/v1/openid/userinfo", "/_matrix/federation/v1/version")
"""Served even without federation: services ask which user an OpenID token belongs to."""


@dataclass(frozen=True, slots=True)
class Http:
    """An HTTP route in API Gateway's syntax; `versions` are the values that `{version}` may take.

    `also` are older routes to the same endpoint, as (method, path). A route `for_people` shows its errors to
    browsers as pages. A route that `refuses_suspended` refuses users whose account is suspended. For a route
    that `stores_body`, the gateway stores the body, and the function only says where.
    """

    method: str
    path: str
    auth: Auth = Auth.ACCESS_TOKEN
    versions: tuple[str, ...] = ()
    also: tuple[tuple[str, str], ...] = ()
    for_people: bool = False
    refuses_suspended: bool = False
    stores_body: bool = False

    @property
    def all(self) -> tuple[tuple[str, str], ...]:
        """Every (method, path) that leads to the endpoint."""
        return ((self.method, self.path), *self.also)

    def serves(self, method: str, path: str) -> bool:
        """Return whether a request with this method is for this endpoint, at one of its routes.

        A GET endpoint also serves HEAD. https://www.rfc-editor.org/rfc/rfc9110#name-head
        """
        methods = {each for each, route in self.all if route == path}
        return not methods or "ANY" in methods or ("GET" if method == "HEAD" else method) in methods

    @property
    def is_for_servers(self) -> bool:
        """Whether the route serves only servers that federate with this one.

        Keys are served in any case: servers that have old events of this server need them to check
        signatures.
        """
        return self.path.startswith(_FOR_SERVERS) and self.path not in _ALWAYS


@dataclass(frozen=True, slots=True)
class WebSocket:
    """A WebSocket route key: `$connect`, `$disconnect` or `$default`."""

    key: str


@dataclass(frozen=True, slots=True)
class Stream:
    """The DynamoDB Stream of a table, by the table's logical name.

    A batch that still fails after `maximum_retry_attempts` goes to the queue `on_failure`. With a
    `batch_window` (in seconds) the function is called that long after a change, with all changes until then.
    """

    table: str
    batch_size: int = 100
    batch_window: int = 0
    maximum_retry_attempts: int = 10
    on_failure: str = "dead-letters"


@dataclass(frozen=True, slots=True)
class Queue:
    """An SQS queue, by its logical name. The code that queues a message also invokes the worker
    (`aws.queues`).

    A queue for `federation` exists only if the server federates.
    """

    name: str
    fifo: bool = True
    batch_size: int = 10
    federation: bool = False


@dataclass(frozen=True, slots=True)
class Schedule:
    """An EventBridge schedule expression such as `rate(1 hour)`.

    A schedule for `federation` exists only if the server federates.
    """

    expression: str
    federation: bool = False


def is_wanted(route: object, *, federation: bool) -> bool:
    """Return whether a deployment includes functions with this route; `federation` says whether it
    federates.
    """
    return federation or not getattr(route, "federation", False)


Route = Http | WebSocket | Stream | Queue | Schedule
