"""Capabilities in version 2: what the server and clients can do. A hash names each set, which is sent once.

A hash is the SHA-256 of the set's canonical JSON, in unpadded URL-safe base64.
https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from murmuration import server_discovery
from murmuration.identity.tokens import Requester
from murmuration.presence import status, views
from murmuration.protocol.bodies import Fields, limit_size, object_of, required
from murmuration.protocol.encoding import canonical_json, unpadded_base64
from murmuration.protocol.encoding.shapes import Answer
from murmuration.protocol.errors import Forbidden, NotFound, UnknownToken
from murmuration.settings import settings
from murmuration.storage.users import client_capabilities
from murmuration.storage.users.client_capabilities import Capabilities

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

MAX_BYTES = 16_384
EXTENSIONS = ("m.cap.content_repository.v1", "m.cap.presence.v1", "m.cap.push_rules.v1")
TURN_SERVER = "m.cap.turnserver.v1"


def hash_of(capabilities: Capabilities) -> str:
    """Return the hash that names a set. Raises BadJson for values that canonical JSON can't hold."""
    encoded = canonical_json.encode(dict(capabilities))
    return unpadded_base64.encode_urlsafe(hashlib.sha256(encoded).digest())


# -- The server's ----------------------------------------------------------------------------------------


def server_capabilities(requester: Requester) -> dict[str, Any]:
    """Return the server's capabilities for the requester, by name."""
    offered: dict[str, Any] = {name: {} for name in EXTENSIONS}
    if settings().turn_uris:
        offered[TURN_SERVER] = {}
    return {**offered, **server_discovery.get_capabilities(requester)["capabilities"]}


def get_server_hash(requester: Requester) -> dict[str, str]:
    """Return the hash of the server's capabilities for the requester."""
    return {"sha256": hash_of(server_capabilities(requester))}


def get_server_set(requester: Requester, sha256: str) -> Answer:
    """Return the set that a hash names. Raises NotFound if it isn't the set for this requester now."""
    found = server_capabilities(requester)
    if hash_of(found) != sha256:
        raise NotFound("That is not the hash of what this server can do for you")
    return found


# -- Clients' --------------------------------------------------------------------------------------------


def announce(requester: Requester, body: Fields) -> None:
    """Set the capabilities of the requester's device to a set that any of their devices has uploaded, by its
    hash.

    Raises NotFound if the set has to be uploaded first, MissingParam, BadJson.
    """
    sha256 = body.string("sha256")
    known = client_capabilities.read(requester.user_id).get(sha256)
    if known is None:
        raise NotFound("The set behind this hash is not known: upload it")
    _announce(requester, sha256, known)


def upload(requester: Requester, body: Fields) -> dict[str, str]:
    """Store a set as the capabilities of the requester's device, and return its hash. Raises BadJson,
    MissingParam, TooLarge.
    """
    capabilities = object_of(required(body.values, "capabilities"), "capabilities")
    for name, value in capabilities.items():
        object_of(value, f"{name[:80]!r}")
    limit_size(capabilities, "capabilities", MAX_BYTES)
    sha256 = hash_of(capabilities)
    _announce(requester, sha256, capabilities)
    return {"sha256": sha256}


def _announce(requester: Requester, sha256: str, capabilities: Capabilities) -> None:
    user_id, device_id = requester.user_id, requester.device_id
    if not client_capabilities.write(user_id, device_id, sha256, capabilities):
        raise UnknownToken("The device was logged out", soft_logout=False)
    status.set_capabilities(user_id, device_id, sha256)


def get_hashes(requester: Requester, user_id: UserId) -> dict[str, list[str]]:
    """Return the hashes of a user's devices. Raises Forbidden if the requester may not see the user's
    presence.
    """
    _require_sight(requester, user_id)
    return {"sha256": sorted(client_capabilities.read(user_id))}


def get_set(requester: Requester, user_id: UserId, sha256: str) -> Answer:
    """Return the set that the hash of one of a user's devices names. Raises Forbidden, NotFound."""
    _require_sight(requester, user_id)
    found = client_capabilities.read(user_id).get(sha256)
    if found is None:
        raise NotFound("No device of this user has announced this hash")
    return dict(found)


def _require_sight(requester: Requester, user_id: UserId) -> None:
    if not views.may_see(requester.user_id, user_id):
        raise Forbidden(
            "You may see this only of users who share a room with you or who let you see their presence"
        )
