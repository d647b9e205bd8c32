"""Pages for people: self-contained HTML without other resources, usable with a screen reader too.

A page's content security policy allows only its own script and style sheet, by their hashes, and requests to
this server. The page can't be framed, and sends no referrer.
"""

from __future__ import annotations

import functools
import html
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from murmuration.protocol.errors import LimitExceeded, MatrixError

FOLDER = Path(__file__).parent

HEADERS: Mapping[str, str] = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True, slots=True)
class Page:
    """A page, or a redirection to another one: the `body` as it is sent, with its status and headers."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def page(
    title: str,
    content: str,
    *,
    script: str = "",
    data: object = None,
    status: int = 200,
    cookie: str = "",
    kept_s: int = 0,
) -> Page:
    """Return a page with our HTML in it; `title` is plain text.

    `script` is the name of a file beside this one, which finds `data`, any JSON value, in the element `data`.
    A page that is the same for everybody may be cached for `kept_s` seconds; such a page makes no requests.
    """
    style, target = _file("page.css"), "'none'" if kept_s else "'self'"
    policy = [
        "default-src 'none'", f"style-src '{_digest(style)}'", f"connect-src {target}",
        f"form-action {target}", "base-uri 'none'", "frame-ancestors 'none'",
    ]  # fmt: skip
    scripts = ""
    if script:
        code = _file(script)
        policy.insert(1, f"script-src '{_digest(code)}'")
        scripts = f'<script type="application/json" id="data">{_json(data)}</script><script>{code}</script>'
    text = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" '
        f'content="noindex"><style>{style}</style></head>'
        f"<body><main><h1>{escape(title)}</h1>{content}</main>{scripts}</body></html>"
    )
    headers = {**HEADERS, "Content-Security-Policy": "; ".join(policy)}
    if kept_s:
        headers["Cache-Control"] = f"public, max-age={kept_s}"
    return Page(text.encode(), status, headers | ({"Set-Cookie": cookie} if cookie else {}))


def redirection(url: str, *, cookie: str = "") -> Page:
    """Return a redirection to another page, by GET. Browsers don't cache it."""
    headers = {"Location": url, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return Page(b"", 302, headers | ({"Set-Cookie": cookie} if cookie else {}))


def json_answer(value: object, status: int) -> Page:
    """Return JSON for the client that the browser belongs to."""
    import json

    headers = {
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
    }
    return Page(json.dumps(value).encode(), status, headers)


def error_page(error: MatrixError) -> Page:
    """Return a page that shows an error's message."""
    words = error.message
    if isinstance(error, LimitExceeded):
        words = "There were too many attempts. Wait for a minute, then try again."
    return page("That didn’t work", f'<p role="alert">{escape(words)}</p>', status=error.status)


def escape(text: str) -> str:
    """Return `text` escaped for an element's content or an attribute's value in quotes."""
    return html.escape(text, quote=True)


@functools.cache
def _file(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8").strip()


@functools.cache
def _digest(text: str) -> str:
    import hashlib

    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _json(value: object) -> str:
    """Return JSON that can't end the HTML element that contains it."""
    import json

    return json.dumps(value).replace("<", "\\u003c").replace("&", "\\u0026")
