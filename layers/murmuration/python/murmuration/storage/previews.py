"""Previews of URLs: items of the table `media`, which expire.

`preview#<digest of the URL>` has an answer (`json`), an error (`status`, `errcode`, `message`), or a claim
(`claimed_until_ms`) of the function that is fetching the URL.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Attributes, ConditionFailed
from murmuration.storage.media import TABLE, Content, content_attributes
from murmuration.storage.remote_media import Failure

OpenGraph = Mapping[str, str | int]
"""The properties of a page, by OpenGraph's names such as `og:title`; and `matrix:image:size`."""


@dataclass(frozen=True, slots=True)
class Preview:
    """The properties of a URL, or the reason why there are none. Both are None while the URL is being
    fetched.
    """

    properties: OpenGraph | None
    failure: Failure | None


def read(digest: str, *, now_ms: int) -> Preview | None:
    """Return the stored preview of a URL; None if there is none. One read."""
    item = dynamodb.get(TABLE, _key(digest))
    if item is None or item["expires"] * 1000 <= now_ms:
        return None
    failure = Failure(item["status"], item["errcode"], item["message"]) if "status" in item else None
    return Preview(json.loads(item["json"]) if "json" in item else None, failure)


def claim(digest: str, *, now_ms: int, until_ms: int) -> bool:
    """Claim a URL before fetching it. Returns False if another function is fetching it, or the answer is
    known.
    """
    write = dynamodb.put(
        TABLE,
        {**_key(digest), "claimed_until_ms": until_ms, "expires": -(-until_ms // 1000)},
        condition="attribute_not_exists(media_id) OR expires <= :seconds OR claimed_until_ms <= :now",
        values={":seconds": now_ms // 1000, ":now": now_ms},
    )
    try:
        dynamodb.transact([write])
    except ConditionFailed:
        return False
    return True


def write(digest: str, properties: OpenGraph, *, expires_ms: int) -> None:
    """Store a URL's properties. The last writer wins."""
    _put(digest, {"json": json.dumps(dict(properties))}, expires_ms)


def write_failure(digest: str, failure: Failure, *, expires_ms: int) -> None:
    """Store why a URL has no preview."""
    attributes: Attributes = {
        "status": failure.status,
        "errcode": failure.errcode,
        "message": failure.message,
    }
    _put(digest, attributes, expires_ms)


def _put(digest: str, attributes: Attributes, expires_ms: int) -> None:
    dynamodb.execute(dynamodb.put(TABLE, {**_key(digest), **attributes, "expires": expires_ms // 1000}))


def write_image(media_id: str, content: Content, *, expires_ms: int) -> None:
    """Store a preview's image under a media ID without an owner, for a while. Repeating it is harmless.

    Does nothing if the image is quarantined.
    """
    item = {
        "media_id": media_id,
        "user_id": "",
        **content_attributes(content),
        "expires": expires_ms // 1000,
    }
    dynamodb.try_execute(dynamodb.put(TABLE, item, condition="attribute_not_exists(quarantined_ms)"))


def _key(digest: str) -> dict[str, str]:
    return {"media_id": f"preview#{digest}"}
