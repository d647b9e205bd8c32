"""Stores long events in fewer bytes: the attribute `json` contains text, or compressed text.

An encrypted message, or one with HTML, is often a little larger than one kilobyte, the size of a write unit,
and each transaction pays for that twice. Short texts aren't compressed, which saves CPU.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from murmuration.aws.dynamodb import Item

NAME = "json"
"""The attribute that may be compressed. `aws.dynamodb` returns its value as text."""
SHORTEST = 700
"""A text of fewer bytes isn't compressed: its item fits into one write unit anyway."""
_FIRST = b"\x01"
"""The first byte of a compressed text. It names the dictionary. A dictionary never changes; a new one gets
another byte."""
_DICTIONARY = (
    b'"m.reaction""m.annotation""m.replace""m.thread""is_falling_back":true,"m.new_content":{'
    b'"format":"org.matrix.custom.html","formatted_body":"<p></p><a href=\\"https://<br></em></strong><li>'
    b'"info":{"h":,"mimetype":"image/jpeg","size":,"w":},"url":"mxc://"msgtype":"m.image""file":{"v":"v2"'
    b'"hashes":{"sha256":"","iv":"","key":{"alg":"A256CTR","ext":true,"k":"","key_ops":["encrypt","decrypt"]'
    b'"m.relates_to":{"event_id":"$","rel_type":"m.in_reply_to":{"event_id":"$"m.mentions":{"user_ids":["@'
    b'{"auth_events":["$","$","$"],"content":{"algorithm":"m.megolm.v1.aes-sha2","ciphertext":"AwgA'
    b'","device_id":"","sender_key":"","session_id":""},"content":{"body":"","m.mentions":{},'
    b'"msgtype":"m.text"},"depth":1,"hashes":{"sha256":""},"origin_server_ts":17,"prev_events":["$"],'
    b'"room_id":"!","sender":"@","signatures":{"":{"ed25519:"}},"type":"m.room.encrypted"}"type":"m.room.message"}'
)


def pack(text: str, *, as_before: bool = False) -> str | bytes:
    """Return the form in which to store a text: the text itself, or compressed bytes if they are fewer.

    With `as_before` it is always the text itself.
    """
    data = text.encode()
    if as_before or len(data) < SHORTEST:
        return text
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS, zdict=_DICTIONARY)
    packed = _FIRST + deflate.compress(data) + deflate.flush()
    return packed if len(packed) < len(data) else text


def unpack_item(item: Item) -> None:
    """Unpack the compressed text of an item, if it is compressed."""
    if isinstance(packed := item.get(NAME), bytes):
        item[NAME] = unpack(packed)


def unpack(stored: str | bytes) -> str:
    """Return the text that `pack` was given. Raises ValueError for anything else."""
    if isinstance(stored, str):
        return stored
    if not stored.startswith(_FIRST):
        raise ValueError("the text was packed in a way that isn't known here")
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS, _DICTIONARY).decompress(stored[1:]).decode()
    except zlib.error as error:
        raise ValueError("the packed text is damaged") from error
