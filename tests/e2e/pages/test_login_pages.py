"""The pages that people log in with, in a real browser, with an identity provider that is one."""

from __future__ import annotations

import email.policy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import requests

from local_cloud.database.dynoxide import free_port
from local_cloud.testing import LocalCloud
from murmuration.accounts.sso.login import CALLBACK
from tests.e2e.pages.chrome import Chrome, chrome
from tests.identity_provider import CLIENT_SECRET, PASSWORDS, identity_provider

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

pytestmark = pytest.mark.long

V3 = "/_matrix/client/v3"
PAGES = ("/_matrix/static/client/login/", "/_matrix/client/api/v1/login/fallback")


@dataclass(frozen=True)
class Site:
    """A server with an identity provider and mail; `url` is where browsers find it, `folder` has its data."""

    url: str
    folder: Path

    def call(self, method: str, path: str, body: Any = None, token: str = "") -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return requests.request(method, self.url + path, json=body, headers=headers, timeout=90)

    def register(self, name: str) -> dict[str, Any]:
        body = {"username": name, "password": f"{name}'s password", "auth": {"type": "m.login.dummy"}}
        found: dict[str, Any] = self.call("POST", f"{V3}/register", body).json()
        return found

    def give_address(self, user_id: UserId, address: str) -> None:
        """Add an e-mail address as an operator does, without a mail that proves it."""
        from murmuration.accounts.threepids import binding
        from operators.operating import connected

        with connected(self.folder, None):
            binding.add(user_id, "email", address, validated_ms=1)

    def mail_to(self, address: str) -> str:
        """Return the text of the newest mail to an address."""
        for path in sorted((self.folder / "mail").glob("*.eml"), reverse=True):
            mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            body = mail.get_body(("plain",)) if mail["To"] == address else None
            if body is not None:
                return str(body.get_content())
        return ""

    def owner(self, token: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", f"{V3}/account/whoami", token=token).json()
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from _serve(tmp_path_factory.mktemp("site"), {})


@pytest.fixture(scope="module")
def careful_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Yield a site that requires two stages for a login, in either order."""
    flows = "m.login.password,m.login.oauth2 m.login.oauth2,m.login.password"
    yield from _serve(tmp_path_factory.mktemp("careful"), {"login-flows": flows})


def _serve(folder: Path, options: dict[str, str]) -> Iterator[Site]:
    port = free_port()
    with identity_provider(f"http://localhost:{port}{CALLBACK}") as provider:
        listed = [provider.setting(client_secret=CLIENT_SECRET)]
        (folder / "providers.json").write_text(json.dumps(listed))
        given = {"providers": str(folder / "providers.json"), "mail-sender": "server@example.org", **options}
        with LocalCloud(folder, given, port=port):
            yield Site(f"http://localhost:{port}", folder)


@pytest.fixture
def browser() -> Iterator[Chrome]:
    with chrome() as started:
        yield started
        assert started.complaints() == []


def log_in_at_provider(browser: Chrome, site: Site, who: str) -> None:
    """Log in at the identity provider, and consent if the consent isn't remembered."""
    browser.fill(login=who)
    browser.fill(password=PASSWORDS[who])
    browser.wait_for(lambda: browser.shows("Accept") or browser.driver.current_url.startswith(site.url))
    if not browser.driver.current_url.startswith(site.url):
        browser.press("Accept")


@pytest.mark.parametrize("page", PAGES)
def test_a_password(site: Site, browser: Chrome, page: str) -> None:
    name = f"dora{PAGES.index(page)}"
    user = site.register(name)
    browser.embed()
    browser.open(f"{site.url}{page}?device_id=EMBEDDED&initial_device_display_name=A%20page")
    browser.press("with your password")
    fields = [browser.element(f"[name={each}]") for each in ("user", "password")]
    assert [field.accessible_name for field in fields] == ["User name", "Password"]
    assert browser.driver.switch_to.active_element == fields[0]
    browser.fill(user=name, password="wrong")
    alert = browser.element("[role=alert]:not(:empty)")
    assert alert.text == "Invalid username or password"
    browser.fill(password=f"{name}'s password")
    answer = browser.told()
    assert answer["user_id"] == user["user_id"]
    assert site.owner(answer["access_token"])["device_id"] == "EMBEDDED"
    device = site.call("GET", f"{V3}/devices/EMBEDDED", token=answer["access_token"]).json()
    assert device["display_name"] == "A page"
    assert "access_token" not in browser.driver.current_url


def test_another_account(site: Site, browser: Chrome) -> None:
    browser.embed()
    browser.open(f"{site.url}{PAGES[0]}?device_id=EMBEDDED")
    browser.press("with another account")
    log_in_at_provider(browser, site, "alice")
    answer = browser.told()
    assert answer["user_id"].startswith("@alice")
    assert answer["device_id"] == "EMBEDDED"
    # Neither the code nor the state stays in the address, nor in what "back" leads to.
    assert urlsplit(browser.driver.current_url).path == PAGES[0]
    assert urlsplit(browser.driver.current_url).query == ""


def test_who_denies_may_try_again(site: Site, browser: Chrome) -> None:
    browser.embed()
    browser.open(site.url + PAGES[0])
    browser.press("with another account")
    browser.fill(login="carol")
    browser.fill(password=PASSWORDS["carol"])
    browser.press("Deny")
    assert "didn’t let you in" in browser.element("[role=alert]:not(:empty)").text
    browser.press("Try again")
    browser.press("with another account")
    browser.press("Accept")
    assert browser.told()["user_id"].startswith("@carol")


@pytest.mark.parametrize("provider_first", [False, True])
def test_two_stages(careful_site: Site, browser: Chrome, provider_first: bool) -> None:
    """Bob has a password, and is also bob at the provider. The provider's first login makes his account."""
    site = careful_site
    begun = site.call("POST", "/_matrix/client/api/v1/register", {"type": "m.login.oauth2"}).json()
    browser.open(begun["uri"])
    log_in_at_provider(browser, site, "bob")
    browser.wait_for(lambda: browser.driver.current_url.startswith(site.url))
    made = json.loads(browser.text())
    if "access_token" in made:
        # A password of one's own: given here by the only means that there is, the operator's.
        _set_password(site, made, browser)
    browser.embed()
    browser.open(site.url + PAGES[0])
    if provider_first:
        browser.press("with another account of yours, then with your password")
    else:
        browser.press("with your password, then with another account of yours")
        browser.fill(user="bob", password="bob's password")
    if provider_first:
        browser.fill(user="bob", password="bob's password")
    assert browser.told()["user_id"].startswith("@bob:")


def _set_password(site: Site, made: dict[str, Any], browser: Chrome) -> None:
    """Bob has no password. He proves his identity by single sign-on again, and sets a password."""
    path, body = f"{V3}/account/password", {"new_password": "bob's password", "logout_devices": False}
    session = site.call("POST", path, body, made["access_token"]).json()["session"]
    browser.open(f"{site.url}{V3}/auth/m.login.sso/fallback/web?session={quote(session)}")
    browser.press("Confirm with Canaille")
    browser.wait_for(lambda: "This is confirmed" in browser.text())
    body["auth"] = {"session": session}
    assert site.call("POST", path, body, made["access_token"]).status_code == 200


def test_a_code_by_mail(site: Site, browser: Chrome) -> None:
    user = site.register("fay")
    site.give_address(user["user_id"], "fay@mail.example")
    browser.embed()
    browser.open(site.url + PAGES[0])
    browser.press("with a code")
    browser.fill(user="fay", email="fay@mail.example")
    browser.element("[name=code]")
    (code,) = re.findall(r"^ +(\d{8})$", site.mail_to("fay@mail.example"), re.MULTILINE)
    browser.fill(code="00000000" if code != "00000000" else "1")
    assert "wrong" in browser.element("[role=alert]:not(:empty)").text
    browser.fill(code=code)
    assert browser.told()["user_id"] == user["user_id"]


def test_a_link_by_mail(site: Site, browser: Chrome) -> None:
    user = site.register("gus")
    site.give_address(user["user_id"], "gus@mail.example")
    browser.embed()
    browser.open(site.url + PAGES[1])
    browser.press("with a link")
    browser.fill(user="gus", email="gus@mail.example")
    browser.wait_for(lambda: "waiting for it" in browser.text())
    (link,) = re.findall(r"^http\S+$", site.mail_to("gus@mail.example"), re.MULTILINE)
    window = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("tab")
    browser.open(link)
    browser.press("It was me")
    browser.wait_for(lambda: "This is confirmed" in browser.text())
    browser.driver.switch_to.window(window)
    assert browser.told()["user_id"] == user["user_id"]


def test_a_client_that_is_not_known_is_asked_about(site: Site, browser: Chrome) -> None:
    client = f"{site.url}/_matrix/client/versions?keep=this"
    browser.open(f"{site.url}{V3}/login/sso/redirect?redirectUrl={quote(client, safe='')}")
    log_in_at_provider(browser, site, "bob")
    browser.wait_for(lambda: "asks for access to your account @bob" in browser.text())
    browser.press("Continue to")
    browser.wait_for(lambda: "loginToken=" in browser.driver.current_url)
    query = parse_qs(urlsplit(browser.driver.current_url).query)
    assert query["keep"] == ["this"]
    (token,) = query["loginToken"]
    answer = site.call("POST", f"{V3}/login", {"type": "m.login.token", "token": token})
    assert answer.json()["user_id"].startswith("@bob")


def test_a_stage_in_a_window_of_its_own(site: Site, browser: Chrome) -> None:
    """The specification has an example for web clients: the opener of the window receives `authDone`."""
    user = site.register("erin")
    path = f"{V3}/devices/{user['device_id']}"
    session = site.call("DELETE", path, {}, user["access_token"]).json()["session"]
    browser.open(site.url + PAGES[0])
    window = browser.driver.current_window_handle
    browser.run(
        "window.heard = []; window.addEventListener('message', (e) => window.heard.push([e.data, e.origin]));"
        "window.open(arguments[0]);",
        f"{site.url}{V3}/auth/m.login.password/fallback/web?session={quote(session)}",
    )
    browser.wait_for(lambda: len(browser.driver.window_handles) == 2)
    (popup,) = set(browser.driver.window_handles) - {window}
    browser.driver.switch_to.window(popup)
    browser.fill(user="erin", password="wrong")
    assert "Invalid" in browser.element("[role=alert]").text
    browser.fill(user="erin", password="erin's password")
    browser.wait_for(lambda: "This is confirmed" in browser.text())
    assert browser.complaints() == []
    browser.driver.switch_to.window(window)
    assert browser.wait_for(lambda: browser.run("return window.heard")) == [["authDone", site.url]]
    assert site.call("DELETE", path, {"auth": {"session": session}}, user["access_token"]).status_code == 200


def test_pages_are_not_framed(site: Site, browser: Chrome) -> None:
    browser.open(f"{site.url}/_matrix/client/versions")
    browser.run(
        "const frame = document.createElement('iframe'); frame.src = arguments[0];"
        "document.body.append(frame); frame.onload = () => { window.loaded = true; };",
        site.url + PAGES[0],
    )
    browser.wait_for(lambda: browser.run("return window.loaded"))
    assert browser.run("return document.querySelector('iframe').contentDocument") is None
    assert any("frame-ancestors" in line or "X-Frame-Options" in line for line in browser.complaints())
