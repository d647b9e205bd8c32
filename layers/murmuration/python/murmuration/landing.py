"""The page at the server's address: which server this is, and how to log in with an app."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from murmuration.pages import Page, escape, page
from murmuration.settings import settings

KEPT_S = 3600
"""For how long caches keep the page. A change of settings shows after that time."""
PHONE = "https://mobile.element.io/element/"
"""A link that opens Element X with this server, or leads to the app."""
_REGISTRATION: Mapping[str, str] = {
    "open": "Anybody may make an account here: choose “Create account” in your app.",
    "token": "To make an account here you need a registration token from whoever runs this server.",
    "closed": "Only whoever runs this server can make accounts here.",
}


def get_landing_page() -> Page:
    """Return the page for people. It is the same for everybody; clients don't use it."""
    config = settings()
    name, url = escape(config.server_name), escape(config.public_url)
    phone = f"{PHONE}?{urlencode({'account_provider': config.server_name})}"
    cinny = f"https://app.cinny.in/login/{quote(config.server_name, safe='')}/"
    support = (
        f'<p><a href="{escape(config.support_page)}">Help with this server</a></p>'
        if config.support_page.startswith("https://")
        else ""
    )
    parts = [
        f'<p>This is the <a href="https://matrix.org/">Matrix</a> homeserver <strong>{name}</strong>. '
        "It runs Murmuration.</p>",
        f"<p>{_REGISTRATION[config.registration]}</p>",
        "<h2>On a phone</h2>",
        f"<p>Scan this with the phone’s camera, or open the link on it.</p>{_code(phone)}"
        f'<ul class="choices"><li><a class="button" href="{escape(phone)}">Element X</a></li></ul>',
        "<h2>In a browser</h2>",
        f'<ul class="choices"><li><a class="button" href="{escape(cinny)}">Cinny</a></li>'
        '<li><a class="button" href="https://app.element.io/#/login">Element</a> '
        f'Choose “Edit” beside the homeserver, and enter <span class="url">{name}</span>.</li></ul>',
        "<h2>With another app</h2>",
        '<ol><li>Open one of the <a href="https://matrix.org/ecosystem/clients/">Matrix apps</a>.</li>'
        f'<li>Where it asks for your homeserver, enter <span class="url">{name}</span>. If the app doesn’t '
        f'find it, enter <span class="url">{url}</span>.</li>'
        f'<li>Log in. Your Matrix ID looks like <span class="url">@you:{name}</span>.</li></ol>',
        support,
    ]
    return page(f"Matrix on {config.server_name}", "".join(parts), kept_s=KEPT_S)


def _code(link: str) -> str:
    """Return a QR code as an SVG of a fixed size, dark on white in any colour scheme."""
    import segno

    code = segno.make(link, error="m", micro=False)
    svg = code.svg_inline(scale=5, border=4, light="#fff", svgclass=None, lineclass=None, title="QR code")
    return f'<p class="code">{svg}</p>'
