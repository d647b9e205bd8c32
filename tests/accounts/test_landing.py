"""The page at the server's address is the same for everybody and contains no scripts."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
import segno

from tests.in_process import Client

pytestmark = pytest.mark.usefixtures("deployment")


class Page(HTMLParser):
    """The links of a page, its elements, its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value for name, value in attrs if name == "href" and value]

    def handle_data(self, data: str) -> None:
        self.text += data


def opened() -> tuple[Page, str, dict[str, str]]:
    answer = Client().get("/")
    assert answer.status == 200
    html = answer.body.decode()
    return Page(html), html, answer.headers


def test_the_page_names_the_server_and_links_to_apps_for_it() -> None:
    page, html, _ = opened()
    phone = "https://mobile.element.io/element/?account_provider=example.org"
    assert "Matrix on example.org" in page.text
    assert phone in page.links
    assert "https://app.cinny.in/login/example.org/" in page.links
    assert "https://app.element.io/#/login" in page.links
    expected = segno.make(phone, error="m", micro=False).svg_inline(
        scale=5, border=4, light="#fff", title="QR code"
    )
    lines = re.findall(r'd="([^"]+)"', html)
    assert re.findall(r'd="([^"]+)"', expected) == lines, "the code leads where the link does"


def test_nothing_in_it_runs_and_caches_may_keep_it() -> None:
    page, _, headers = opened()
    policy = headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "connect-src 'none'", "form-action 'none'", "frame-ancestors 'none'"} <= {
        *policy
    }
    assert not [part for part in policy if part.startswith(("script-src", "img-src")) or "unsafe" in part]
    assert not page.elements & {"script", "form", "img", "iframe", "link", "object"}
    assert not [name for name in page.attributes if name == "style" or name.startswith("on")]
    assert headers["Cache-Control"] == "public, max-age=3600"
    assert "Set-Cookie" not in headers


@pytest.mark.parametrize(
    ("registration", "words"),
    [("open", "Anybody may make"), ("token", "registration token"), ("closed", "Only whoever runs")],
)
def test_the_page_says_who_may_register(
    configure: Callable[..., None], registration: str, words: str
) -> None:
    configure(REGISTRATION=registration)
    assert words in opened()[0].text


def test_settings_can_not_bring_markup_or_another_scheme(configure: Callable[..., None]) -> None:
    configure(PUBLIC_URL='https://x.example/"><script>', SUPPORT_PAGE="javascript:alert(1)")
    page, html, _ = opened()
    assert "script" not in page.elements
    assert "javascript:" not in html
    configure(SUPPORT_PAGE="https://help.example/?a=1&b=2")
    assert "https://help.example/?a=1&b=2" in opened()[0].links
