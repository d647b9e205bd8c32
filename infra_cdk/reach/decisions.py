"""Decisions made by hand, where the walk can't decide, each with its reason. A test refuses unused
entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

OWN: Final = "of the route"
"""Permissions that are granted with the function's route."""
RESOURCES: Final[Mapping[str, tuple[str, str]]] = {
    "workers:QueueWorker._drain": (OWN, "it works through the queue of its function's route"),
    "sweeping:turn": ("*", "rows of the clock name queues"),
    "sweeping:sweep": ("*", "it goes through all queues that have a worker"),
    "wake_queues:*": ("wake-*", "it makes all its queues' names with that prefix"),
    "request:Request._came_through_viewer": (
        "viewer-secret",
        "the setting viewer_secret_parameter is that parameter's whole name",
    ),
    "repository:_upload_key": (
        "viewer-secret",
        "the setting viewer_secret_parameter is that parameter's whole name",
    ),
    "server_keys:renew": ("signing-key", "it forgets what was read of it"),
}
"""By the function that calls AWS: the resource that it uses, if its arguments don't show it."""

RECEIVERS: Final[Mapping[str, tuple[str, str]]] = {
    "concurrency:parallel.run": ("", "it is that of a context of contextvars"),
    "threads:side_by_side.run": ("", "it is that of a context of contextvars"),
    "jobs:_held.run": ("", "it is that of a context of contextvars"),
    "well_known:fetch.read": ("", "it is that of an answer of another server's"),
    "remote_requests:_follow.chunks": ("", "it is that of an answer of another server's"),
    "receipts:_open.membership": ("", "it is a field of a membership"),
    "memberships:read_kinds.membership": ("", "it is a field of a membership"),
    "narrow_look:look_at_rooms.membership": ("", "it is a field of a membership"),
    "local_users:user_with_power.membership": ("", "it is a property of an event"),
}
"""By function and method: the classes whose method may be called, separated by spaces; none if empty."""

DELIVERED = (
    "only who sends delayed events makes such an object, which others know as `transactions.Once` alone"
)
STAGES_BY_MAIL = "stages by mail are in the flows of logins, and the first draft's API alone offers those"
ENTERED_BY: Final[Mapping[str, tuple[str, str]]] = {
    "rooms.delayed.delivery:*": ("client_server.delayed_events workers.delayed_events", DELIVERED),
    "interactive_auth:_email_code": ("client_v1.login", STAGES_BY_MAIL),
    "interactive_auth:_email_url": ("client_v1.login", STAGES_BY_MAIL),
    "interactive_auth:_oauth2": (
        "client_v1.login client_v1.registration",
        "the stage m.login.oauth2 is in the flows of the first draft's API alone",
    ),
    "interactive_auth:_registration_token": (
        "client_server.registration client_server.user_interactive_auth client_v1.registration",
        "a registration token is asked for at registration alone, and on the page of its stage",
    ),
}
"""By definition: the modules whose functions alone reach it, if data decides that and not the code."""

OF_USERS = "what these modules have streams of are users and devices, whose heads are in streams themselves"
OF_ROOMS = "what these modules have streams of are rooms, whose heads are in rooms"
UNCLAIMED = (
    "requests by these modules' paths have no transaction ID, or one that is let be: there is no claim"
)
UNBILLED = "nobody is billed while these functions work, so no token that they verify takes from a budget"
NEVER: Final[Mapping[tuple[str, str], tuple[str, str]]] = {
    ("streams:read_head", "get rooms"): (
        "client_server.account_data client_server.admin client_server.push_rules client_server.tags "
        "client_v1.presence",
        OF_USERS,
    ),
    ("streams:append_writes", "update rooms"): (
        "client_server.account_data client_server.admin client_server.push_rules client_server.tags "
        "client_server.to_device client_v1.presence",
        OF_USERS,
    ),
    ("streams:append_writes", "update streams"): ("client_server.typing client_v2.receipts", OF_ROOMS),
    ("budgets:_move_back", "update transient"): ("workers.queues", UNBILLED),
    ("live.claims:read", "get transient"): (
        "client_server.delayed_events client_server.room_membership client_server.rooms "
        "workers.delayed_events",
        UNCLAIMED,
    ),
    ("live.claims:write", "put transient"): (
        "client_server.delayed_events client_server.room_membership client_server.rooms "
        "workers.delayed_events",
        UNCLAIMED,
    ),
}
"""By definition and its permission: the modules whose functions never need it, if data decides that."""


def is_place(definition: str, place: str) -> bool:
    """Return whether an entry names a definition. The last part of the module's name is enough; `*` matches
    everything in it.
    """
    if place.endswith(":*"):
        definition, place = definition.partition(":")[0], place[:-2]
    return f".{definition}".endswith(f".{place}")
