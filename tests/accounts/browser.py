"""A browser without a screen: it visits our pages in process, and fills in an identity provider's forms."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import parse_qs, quote, urljoin, urlsplit

import requests

from tests.identity_provider import PASSWORDS
from tests.in_process import Answer, Client

OURS = "https://example.org"


@dataclass
class Browser:
    """Keeps cookies; `who` is the provider's user that it logs in as."""

    who: str = "alice"
    cookie: str = ""
    elsewhere: requests.Session = field(default_factory=requests.Session)

    def visit(self, url: str, *, accept: str = "text/html", **query: Any) -> Answer:
        """Open a page of ours."""
        headers = {"Accept": accept} | ({"Cookie": self.cookie} if self.cookie else {})
        answer = Client().request("GET", url.removeprefix(OURS), headers=headers, **query)
        self.cookie = answer.headers.get("Set-Cookie", self.cookie).partition(";")[0]
        return answer

    def authorise(self, uri: str, *, answer: str = "accept") -> str:
        """Follow an authorisation request's URI, log in and consent (or `deny`): where that leads to."""
        page = self.elsewhere.get(uri, allow_redirects=False)
        for _ in range(12):
            if page.is_redirect:
                target = page.headers["Location"]
                if target.startswith(OURS):
                    return target
                page = self.elsewhere.get(urljoin(page.url, target), allow_redirects=False)
                continue
            fields: dict[str, str] = {"answer": answer}
            if token := re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text):
                fields["csrf_token"] = token[1]
            if 'name="login"' in page.text:
                fields["login"] = self.who
            if 'name="password"' in page.text:
                fields["password"] = PASSWORDS[self.who]
            page = self.elsewhere.post(page.url, data=fields, allow_redirects=False)
        raise AssertionError(f"no end at {page.url}: {page.text[:2000]}")

    def sign_on(self, redirect_url: str = "https://client.example/", **query: str) -> Answer:
        """Return the whole way of a single sign-on to our last answer."""
        sent = self.visit("/_matrix/client/v3/login/sso/redirect", redirectUrl=redirect_url, **query)
        assert sent.status == 302, sent.body
        return self.visit(self.authorise(sent.headers["Location"]))


def links(answer: Answer) -> list[str]:
    """Return where the links of a page lead to."""
    return [unescape(found) for found in re.findall(r'href="([^"]+)"', answer.body.decode())]


def login_token(url: str) -> str:
    (token,) = parse_qs(urlsplit(url).query)["loginToken"]
    return token


def log_in_with(token: str) -> Answer:
    return Client().post("/_matrix/client/v3/login", {"type": "m.login.token", "token": token})


def stage_path(session: str, kind: str = "m.login.sso") -> str:
    return f"/_matrix/client/v3/auth/{kind}/fallback/web?session={quote(session)}"
