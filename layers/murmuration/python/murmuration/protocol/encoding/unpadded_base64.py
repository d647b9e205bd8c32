"""Unpadded Base64, standard and URL-safe. https://spec.matrix.org/v1.19/appendices/#unpadded-base64"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64

_TO_STANDARD = str.maketrans("-_", "+/")
_TO_URLSAFE = bytes.maketrans(b"+/", b"-_")


def encode(data: bytes) -> str:
    """Encode in the standard alphabet, without padding."""
    return b2a_base64(data, newline=False).rstrip(b"=").decode("ascii")


def encode_urlsafe(data: bytes) -> str:
    """Encode in the URL-safe alphabet, without padding."""
    return b2a_base64(data, newline=False).translate(_TO_URLSAFE, b"=").decode("ascii")


def decode(text: str) -> bytes:
    """Decode either alphabet, with or without padding. Raises ValueError for anything else.

    Bits beyond the last whole byte may be set; they are ignored.
    """
    data = text.rstrip("=")
    if "-" in data or "_" in data:
        data = data.translate(_TO_STANDARD)
    return a2b_base64(data + "=" * (-len(data) % 4), strict_mode=True)
