"""The authentication of federation requests: the signed bytes, and the header with the signature.

https://spec.matrix.org/v1.19/server-server-api/#request-authentication
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from murmuration.protocol.encoding import canonical_json, unpadded_base64
from murmuration.protocol.errors import Unauthorized
from murmuration.protocol.identifiers import ServerName
from murmuration.protocol.pdus.signing import SigningKey

SCHEME = "X-Matrix"
ABSENT: Any = object()
"""The content of a request without a body. It differs from None, which is `null`."""
MOST_SIGNATURES = 10

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_BARE = r"[^\s,\"\\]+"
"""An unquoted value. It may have more characters than HTTP's tokens, because older servers send colons."""
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_PARAMETER = re.compile(rf"({_NAME})[ \t]*=[ \t]*(?:{_QUOTED}|({_BARE}))", re.DOTALL)
_SCHEME = re.compile(rf"{SCHEME}[ \t]+", re.IGNORECASE)
_BETWEEN = re.compile(r"[ \t]*(?:,[ \t]*)*")


@dataclass(frozen=True, slots=True)
class Credentials:
    """One signature of a request; `destination` is None if the header names none."""

    origin: ServerName
    destination: ServerName | None
    key_id: str
    signature: bytes


def signed_bytes(
    method: str, uri: str, origin: ServerName, destination: ServerName, content: object = ABSENT
) -> bytes:
    """Return the bytes of a request that are signed.

    Floats and large integers of `content` are written as Python writes them, because events of old room
    versions have them. Raises BadJson for content that can't be JSON.
    """
    signed: dict[str, object]
    signed = {"method": method, "uri": uri, "origin": origin, "destination": destination}
    if content is not ABSENT:
        signed["content"] = content
    return canonical_json.encode(signed, strict=False)


def signed_bytes_as_sent(
    method: str, uri: str, origin: ServerName, destination: ServerName, body: bytes
) -> bytes:
    """Return the bytes that a request's signature covers, with the body's own bytes as content.

    Servers that write numbers differently from canonical JSON sign these.
    """
    rest = signed_bytes(method, uri, origin, destination)
    return b'{"content":' + body + b"," + rest[1:]


def authorization(
    key: SigningKey,
    method: str,
    uri: str,
    origin: ServerName,
    destination: ServerName,
    content: object = ABSENT,
) -> str:
    """Return the Authorization header of a request. Raises BadJson for content that can't be JSON."""
    signature = key.sign(signed_bytes(method, uri, origin, destination, content))
    return (
        f'{SCHEME} origin="{origin}",destination="{destination}",'
        f'key="{key.key_id}",sig="{unpadded_base64.encode(signature)}"'
    )


def parse_authorization(headers: Iterable[str]) -> list[Credentials]:
    """Return the signatures in Authorization headers. One header may contain several.

    Raises Unauthorized if there are none, if one is malformed, and if there are more than 10.
    """
    found = [_credentials(parameters) for header in headers for parameters in _split(header)]
    if not found:
        raise Unauthorized("The request has no X-Matrix authorization")
    if len(found) > MOST_SIGNATURES:
        raise Unauthorized("The request has too many signatures")
    return found


def _split(header: str) -> Iterable[dict[str, str]]:
    """Yield the parameters of each signature in a header, by lower-case name."""
    position = 0
    parameters: dict[str, str] | None = None
    while position < len(header):
        position = _end(_BETWEEN, header, position)
        if position == len(header):
            break
        if (scheme := _SCHEME.match(header, position)) is not None:
            if parameters is not None:
                yield parameters
            parameters, position = {}, scheme.end()
            continue
        parameter = _PARAMETER.match(header, position)
        if parameters is None or parameter is None:
            raise Unauthorized("The Authorization header is not valid X-Matrix")
        name = parameter[1].lower()
        if name in parameters:
            raise Unauthorized(f"The Authorization header has {name[:20]} twice")
        quoted = parameter[2]
        parameters[name] = parameter[3] if quoted is None else re.sub(r"(?s)\\(.)", r"\1", quoted)
        position = parameter.end()
        rest = header[position:].lstrip(" \t")
        if rest and not rest.startswith(","):
            raise Unauthorized("The Authorization header is not valid X-Matrix")
    if parameters is not None:
        yield parameters


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _credentials(parameters: dict[str, str]) -> Credentials:
    missing = [name for name in ("origin", "key", "sig") if not parameters.get(name)]
    if missing:
        raise Unauthorized(f"The Authorization header lacks {', '.join(missing)}")
    try:
        signature = unpadded_base64.decode(parameters["sig"])
    except ValueError as error:
        raise Unauthorized("The signature is not Base64") from error
    destination = parameters.get("destination")
    return Credentials(
        ServerName(parameters["origin"]),
        None if destination is None else ServerName(destination),
        parameters["key"],
        signature,
    )


def is_signed(public_key: bytes, signature: bytes, messages: Iterable[bytes]) -> bool:
    """Return whether `signature` is the key's signature of one of the messages."""
    from nacl.bindings import crypto_sign_open
    from nacl.exceptions import CryptoError

    if len(signature) != 64:
        return False
    for message in messages:
        try:
            crypto_sign_open(signature + message, public_key)
        except (CryptoError, ValueError):
            continue
        return True
    return False
