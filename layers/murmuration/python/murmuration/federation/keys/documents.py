"""Key documents as they come from servers and notaries, and the keys in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from murmuration.clock import now_ms
from murmuration.protocol.errors import MatrixError
from murmuration.protocol.pdus.keys import ServerKeys, parse_server_keys
from murmuration.storage.servers.remote_keys import Source, StoredKey

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Untrusted
    from murmuration.protocol.identifiers import ServerName
    from murmuration.protocol.pdus.keys import VerifyKey

MOST_KEYS = 100
"""How many keys of one document are kept."""
MAX_KEPT_BYTES = 16 * 1024
"""The largest document that is stored beside its keys, for servers that ask this one as a notary."""


def keys_of(
    document: Untrusted, server_name: ServerName, source: Source, *, lenient: bool = False
) -> list[StoredKey]:
    """Return the keys of a document that its own server must have signed, the current keys first.

    Raises BadJson, InvalidSignature. If `lenient`, it returns no keys instead of raising.
    """
    now = now_ms()
    try:
        parsed = parse_server_keys(document, server_name, now)
    except MatrixError:
        if lenient:
            return []
        raise
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    kept = text if len(text.encode("utf-8", "replace")) <= MAX_KEPT_BYTES else ""
    return [StoredKey(server_name, key, source, now, kept) for key in _all_keys(parsed)][:MOST_KEYS]


def _all_keys(parsed: ServerKeys) -> Iterator[VerifyKey]:
    yield from parsed.verify_keys.values()
    yield from (key for key_id, key in parsed.old_verify_keys.items() if key_id not in parsed.verify_keys)


def readable(documents: object) -> Iterator[tuple[ServerName, Untrusted]]:
    """Yield (server name, document) for the well-formed documents in a notary's list."""
    for document in documents if isinstance(documents, list) else ():
        if isinstance(document, dict) and isinstance(document.get("server_name"), str):
            yield document["server_name"], document
