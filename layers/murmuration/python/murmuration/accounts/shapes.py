"""The shapes of the accounts' answers, for mypy only: nothing is checked at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

from murmuration.identity.tokens import TokenAnswer
from murmuration.protocol.encoding.shapes import Answer, JsonObject

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import DeviceId, ServerName, UserId


class BareAnswer(TypedDict):
    """The answer to a registration without a login."""

    user_id: UserId
    home_server: ServerName


class SessionAnswer(BareAnswer, TokenAnswer):
    """The answer to a login or registration that began a session."""

    device_id: DeviceId


class LoginAnswer(SessionAnswer):
    """The answer to today's login."""

    well_known: NotRequired[Answer]


class LoginFlow(TypedDict):
    """A way to log in. Only single sign-on has `identity_providers`; only login tokens have
    `get_login_token`.
    """

    type: str
    identity_providers: NotRequired[list[dict[str, str]]]
    get_login_token: NotRequired[bool]


class LoginFlows(TypedDict):
    """The answer to `GET /login`."""

    flows: list[LoginFlow]


class ClientDevice(TypedDict):
    """A device as its user's clients see it. `last_seen_ts` is in milliseconds since the epoch."""

    device_id: DeviceId
    display_name: NotRequired[str]
    last_seen_ip: NotRequired[str]
    last_seen_ts: NotRequired[int]


class ClientDevices(TypedDict):
    """The answer to `GET /devices`."""

    devices: list[ClientDevice]


class Flows(TypedDict):
    """A flow by the types of its stages."""

    stages: list[str]


class Challenge(TypedDict):
    """The answer to a client that still has to complete stages."""

    flows: list[Flows]
    params: dict[str, JsonObject]
    session: str
    completed: NotRequired[list[str]]
