"""Names for kinds of JSON objects. They are plain dicts and mappings; nothing checks them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]
"""An object whose keys nobody promises: it comes from outside, or others decide what is in it."""
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
EduFields: TypeAlias = Mapping[str, Any]
"""An EDU, or what is in one."""
LambdaEvent: TypeAlias = Mapping[str, Any]
"""What Lambda hands to a function: API Gateway's request, or records of a queue or a stream."""
