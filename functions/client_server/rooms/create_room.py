"""Create a room. https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from murmuration.endpoint import CLIENT_VERSIONS, Request, endpoint
from murmuration.rooms.creation import RoomRequest, create_room


class StateEvent(BaseModel):
    model_config = ConfigDict(strict=True)

    type: str
    state_key: str = ""
    content: dict[str, Any]


class Body(BaseModel):
    model_config = ConfigDict(strict=True)

    preset: Literal["private_chat", "public_chat", "trusted_private_chat"] | None = None
    visibility: Literal["public", "private"] = "private"
    name: str | None = None
    topic: str | None = None
    room_alias_name: str | None = None
    invite: list[str] = Field(default_factory=list)
    is_direct: bool = False
    initial_state: list[StateEvent] = Field(default_factory=list)
    creation_content: dict[str, Any] = Field(default_factory=dict)
    power_level_content_override: dict[str, Any] = Field(default_factory=dict)
    room_version: str | None = None


@endpoint("POST", "/_matrix/client/{version}/createRoom", versions=CLIENT_VERSIONS)
def handler(request: Request) -> dict[str, Any]:
    body = request.parse(Body)
    return {"room_id": create_room(request.requester, RoomRequest(**body.model_dump(exclude_none=True)))}
