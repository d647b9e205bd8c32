"""Names for kinds of JSON objects. They are plain dicts and mappings; nothing checks them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NotRequired, TypeAlias, TypedDict

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

JsonObject: TypeAlias = Mapping[str, Any]
"""An object of which no key is known, and which is only read."""
JsonDict: TypeAlias = dict[str, Any]
"""An object of which no key is known, and which may be changed."""
Untrusted: TypeAlias = Mapping[str, object]
"""An object that another server sent: the type of each value is checked before it is used."""
KeyObject: TypeAlias = dict[str, Any]
"""Keys as their owner signed them, of a device or for cross-signing: fields that aren't known are kept."""
Answer: TypeAlias = dict[str, Any]
"""What an endpoint answers with."""
Body: TypeAlias = Mapping[str, Any]
"""What a client or a server sent with its request: an object, of which nothing else is known yet."""
Content: TypeAlias = Mapping[str, Any]
"""The content of an event, of account data or of a message. Nobody changes it."""
EventFields: TypeAlias = Mapping[str, Any]
"""The fields of an event that is only read, in the format of clients or of servers."""
AuthFields: TypeAlias = Mapping[str, Any]
"""The `auth` of a request in user-interactive authentication, which names a stage and proves it."""
LambdaEvent: TypeAlias = Mapping[str, Any]
"""What Lambda hands to a function: API Gateway's request, or records of a queue or a stream."""


class StrippedState(TypedDict):
    """A state event by the four keys that tell a user what room they are invited to."""

    type: str
    sender: UserId
    state_key: str
    content: Content
    origin_server_ts: NotRequired[int]
