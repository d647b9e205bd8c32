"""The headers of media in answers. https://spec.matrix.org/v1.19/client-server-api/#serving-inline-content"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

OCTET_STREAM = "application/octet-stream"

SANDBOX = {
    "Content-Security-Policy": (
        "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; "
        "style-src 'unsafe-inline'; object-src 'self';"
    ),
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow, noarchive, noimageindex",
}
"""Headers that keep media from doing harm. CloudFront adds them to answers from the bucket."""

SERVING = {
    **SANDBOX,
    # An ID's content never changes. Caches that several users share must not keep it.
    "Cache-Control": "private, max-age=31536000, immutable",
}
"""Headers that are sent with all media."""

ETAG = '"1"'
"""The entity tag of all media: the content at an address never changes, so it has only one version."""

INLINE_TYPES = frozenset(
    {
        "text/css",
        "text/plain",
        "text/csv",
        "application/json",
        "application/ld+json",
        "image/jpeg",
        "image/gif",
        "image/png",
        "image/apng",
        "image/webp",
        "image/avif",
        "video/mp4",
        "video/webm",
        "video/ogg",
        "video/quicktime",
        "audio/mp4",
        "audio/webm",
        "audio/aac",
        "audio/mpeg",
        "audio/ogg",
        "audio/wave",
        "audio/wav",
        "audio/x-wav",
        "audio/x-pn-wav",
        "audio/flac",
        "audio/x-flac",
    }
)
"""The types that browsers show without executing anything in them."""

_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+ *(?:;[ -~]*)?", re.ASCII)
_NAME = re.compile(r';\s*filename=(?:"((?:[^"\\]|\\.)*)"|([^;"]+))', re.IGNORECASE)
_ENCODED_NAME = re.compile(r";\s*filename\*=utf-8'[^']*'([^;]+)", re.IGNORECASE)
_ESCAPED = re.compile(r"\\(.)")
MAX_FILE_NAME_BYTES = 1_024
_PLAIN_NAME = re.compile(r"[\w .()+@,=-]+", re.ASCII)


def content_type_of(header: str | None) -> str:
    """Return the content type that an upload declares, if it is a valid header value."""
    declared = (header or "").strip()
    return declared if len(declared) <= 255 and _TYPE.fullmatch(declared) else OCTET_STREAM


def file_name_of(header: str) -> str | None:
    """Return the file name in a remote Content-Disposition; None if there is none, or it is too long."""
    if found := _ENCODED_NAME.search(header):
        name = unquote(found[1], errors="replace")
    elif found := _NAME.search(header):
        name = found[2] if found[1] is None else _ESCAPED.sub(r"\1", found[1])
    else:
        return None
    name = "".join(character for character in name if character.isprintable()).strip()
    return name if name and len(name.encode()) <= MAX_FILE_NAME_BYTES else None


def disposition(content_type: str, file_name: str | None) -> str:
    """Return the Content-Disposition for media of this type, with the file name if there is one."""
    essence = content_type.partition(";")[0].strip().lower()
    kind = "inline" if essence in INLINE_TYPES else "attachment"
    if not file_name:
        return kind
    if _PLAIN_NAME.fullmatch(file_name):
        return f'{kind}; filename="{file_name}"'
    return f"{kind}; filename*=utf-8''{quote(file_name, safe='')}"


def file_headers(content_type: str, file_name: str | None) -> dict[str, str]:
    """Return all headers of a response with media."""
    return {
        **SERVING,
        "Content-Type": content_type,
        "Content-Disposition": disposition(content_type, file_name),
    }
