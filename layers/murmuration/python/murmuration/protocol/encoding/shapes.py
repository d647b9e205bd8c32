"""Names for kinds of JSON objects. They are plain dicts and mappings, and aren't checked at run time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NotRequired, TypeAlias, TypedDict

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

JsonObject: TypeAlias = Mapping[str, Any]
"""An object whose keys aren't known, and which is only read."""
JsonDict: TypeAlias = dict[str, Any]
"""An object whose keys aren't known, and which may be changed."""
Untrusted: TypeAlias = Mapping[str, object]
"""An object that another server sent. The type of each value has to be checked before it is used."""
KeyObject: TypeAlias = dict[str, Any]
"""Keys of a device or for cross-signing, as their owner signed them. Unknown fields are kept."""
Answer: TypeAlias = dict[str, Any]
"""The answer of an endpoint."""
Body: TypeAlias = Mapping[str, Any]
"""The object that a client or server sent with its request. Nothing else is known of it yet."""
Content: TypeAlias = Mapping[str, Any]
"""The content of an event, of account data or of a message. It must not be changed."""
EventFields: TypeAlias = Mapping[str, Any]
"""The fields of an event that is only read, in the format for clients or servers."""
AuthFields: TypeAlias = Mapping[str, Any]
"""The `auth` of a request in user-interactive authentication, which names a stage and proves it."""
LambdaEvent: TypeAlias = Mapping[str, Any]
"""The event that Lambda passes to a function: API Gateway's request, or records of a queue or a stream."""


class StrippedState(TypedDict):
    """A state event reduced to the four keys that tell a user which room they are invited to."""

    type: str
    sender: UserId
    state_key: str
    content: Content
    origin_server_ts: NotRequired[int]
