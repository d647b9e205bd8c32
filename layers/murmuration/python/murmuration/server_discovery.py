"""Information that the server publishes for clients: versions, capabilities, addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.protocol.encoding.shapes import Answer
from murmuration.protocol.errors import NotFound
from murmuration.protocol.room_versions import ROOM_VERSIONS
from murmuration.settings import settings

if TYPE_CHECKING:
    from murmuration.identity.tokens import Requester

_R0_VERSIONS = ("r0.0.1", "r0.1.0", "r0.2.0", "r0.3.0", "r0.4.0", "r0.5.0", "r0.6.0", "r0.6.1")
SPEC_VERSIONS = (*_R0_VERSIONS, *(f"v1.{minor}" for minor in range(1, 20)))
"""The versions of the specification whose client-server API this server serves."""

UNSTABLE_FEATURES = {
    "org.matrix.simplified_msc3575": True,  # sliding sync
    "uk.half-shot.msc2666.query_mutual_rooms": True,  # mutual rooms
    "uk.half-shot.msc2666.query_mutual_rooms.stable": True,
    "org.matrix.e2e_cross_signing": True,  # without it, Element in the browser can't verify anybody
    "org.matrix.msc2285.stable": True,  # private read receipts
    "im.nheko.summary": True,  # a room's summary
    "org.matrix.msc3266": True,
    "org.matrix.msc3827.stable": True,  # public rooms by type; without it, Element publishes no spaces
    "org.matrix.msc3916.stable": True,  # authenticated media
    "org.matrix.msc4133.stable": True,  # custom profile fields
    "uk.tcpip.msc4133.stable": True,
}
"""Stable features under their unstable names, which clients still look for."""


def get_versions() -> Answer:
    """Return the supported versions and unstable features.

    https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions
    """
    return {"versions": list(SPEC_VERSIONS), "unstable_features": UNSTABLE_FEATURES | _features_by_settings()}


def _features_by_settings() -> dict[str, bool]:
    """Return the features that depend on the deployment's settings."""
    delays, calls = bool(settings().event_delay_max), bool(settings().livekit_service_url)
    return {
        "org.matrix.msc4140": delays,  # delayed events
        "org.matrix.msc4140.stable": delays,
        "org.matrix.msc4143": calls,  # servers for calls
    }


def get_wellknown() -> Answer:
    """Return the addresses of the server and the services beside it.

    https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixclient
    """
    config = settings()
    found: Answer = {"m.homeserver": {"base_url": config.public_url}}
    if config.identity_server_url:
        found["m.identity_server"] = {"base_url": config.identity_server_url}
    if transports := _rtc_transports():
        found["org.matrix.msc4143.rtc_foci"] = transports
    return found


def get_rtc_transports() -> Answer:
    """Return the services for calls.

    https://github.com/matrix-org/matrix-spec-proposals/pull/4143
    """
    return {"rtc_transports": _rtc_transports()}


def _rtc_transports() -> list[dict[str, str]]:
    url = settings().livekit_service_url
    return [{"type": "livekit", "livekit_service_url": url}] if url else []


def get_wellknown_support() -> Answer:
    """Return how to contact the operators. Raises NotFound if the deployment's settings don't say.

    https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixsupport
    """
    config = settings()
    contacts = [
        {"role": f"m.role.{role}", "matrix_id" if who.startswith("@") else "email_address": who}
        for role, who in (("admin", config.support_admin), ("security", config.support_security))
        if who
    ]
    found: Answer = {"contacts": contacts} if contacts else {}
    if config.support_page:
        found["support_page"] = config.support_page
    if not found:
        raise NotFound("This server doesn't say how to reach its operators")
    return found


def get_capabilities(requester: Requester) -> Answer:
    """Return what the requester may do.

    https://spec.matrix.org/v1.19/client-server-api/#capabilities-negotiation
    """
    member = not requester.is_guest
    profile_fields = {"enabled": True} | ({} if member else {"allowed": ["displayname"]})
    return {
        "capabilities": {
            "m.change_password": {"enabled": member},
            "m.room_versions": {
                "default": settings().default_room_version,
                "available": {
                    version.id: "stable" if version.stable else "unstable"
                    for version in ROOM_VERSIONS.values()
                },
            },
            "m.set_displayname": {"enabled": True},
            "m.set_avatar_url": {"enabled": member},
            "m.3pid_changes": {"enabled": member and bool(settings().mail_sender)},
            "m.get_login_token": {"enabled": member},
            "m.profile_fields": profile_fields,
            "m.forget_forced_upon_leave": {"enabled": False},
            **_delayed_events_capability(),
            **({"m.account_moderation": {"lock": True, "suspend": True}} if requester.is_admin else {}),
        }
    }


def _delayed_events_capability() -> dict[str, dict[str, int]]:
    """Return the limits of delayed events, under both names."""
    from murmuration.storage.users.delayed_events import MOST

    limits = {"max_delay_ms": settings().event_delay_max * 1000, "max_scheduled": MOST}
    return dict.fromkeys(("m.delayed_events", "org.matrix.msc4140.delayed_events"), limits)
