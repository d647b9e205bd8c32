"""The page at the server's address: what this is, which server, and how to connect."""

from __future__ import annotations

from collections.abc import Mapping

from murmuration.pages import Page, escape, page
from murmuration.settings import settings

_REGISTRATION: Mapping[str, str] = {
    "open": "Anybody may make an account here: choose “Create account” in your app.",
    "token": "To make an account here you need a registration token from whoever runs this server.",
    "closed": "Only whoever runs this server can make accounts here.",
}


def get_landing_page() -> Page:
    """A page for people; it has nothing that a client would look for."""
    config = settings()
    name, url = escape(config.server_name), escape(config.public_url)
    parts = [
        f'<p>This is the <a href="https://matrix.org/">Matrix</a> homeserver <strong>{name}</strong>. '
        "It runs Murmuration.</p>",
        "<h2>How to connect</h2>",
        f"<ol><li>Open a Matrix app.</li><li>Where it asks for your homeserver, enter "
        f'<span class="url">{name}</span>. If the app doesn’t find it, enter '
        f'<span class="url">{url}</span>.</li>'
        f'<li>Log in. Your Matrix ID looks like <span class="url">@you:{name}</span>.</li></ol>',
        f"<p>{_REGISTRATION[config.registration]}</p>",
    ]
    return page(f"Matrix on {config.server_name}", "".join(parts))
