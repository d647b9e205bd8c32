"""Single sign-on with a real identity provider."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from murmuration.accounts.sso import accounts as sso_accounts
from murmuration.accounts.sso import openid_connect
from murmuration.accounts.sso.identity_providers import IdentityProvider
from murmuration.accounts.sso.openid_connect import Identity
from murmuration.protocol.errors import Forbidden, UserInUse
from murmuration.storage.users import accounts, subjects
from tests.accounts.browser import Browser, links, log_in_with, login_token, stage_path
from tests.accounts.conftest import Clock
from tests.identity_provider import CLIENT_SECRET, PASSWORDS, Provider
from tests.in_process import Client

REDIRECT = "/_matrix/client/v3/login/sso/redirect"
CLIENT = "https://client.example/"


def is_alice(answer: Any) -> bool:
    """Return whether a login was Alice's. Another test may have taken her name for a user ID."""
    path = f"/_matrix/client/v3/profile/{answer['user_id']}/displayname"
    return bool(Client(answer["access_token"]).get(path).json["displayname"] == "Alice of Canaille")


def test_a_first_login_makes_an_account_and_the_second_finds_it(offer: Any) -> None:
    offer()
    shown = Browser().sign_on(f"{CLIENT}?a=b&loginToken=old#c")
    assert shown.status == 200
    assert "https://client.example" in shown.body.decode()
    (target,) = links(shown)
    assert target.startswith(f"{CLIENT}?a=b&loginToken=")
    assert target.endswith("#c")
    first = log_in_with(login_token(target)).json
    assert is_alice(first)

    (again,) = links(Browser().sign_on())
    assert log_in_with(login_token(again)).json["user_id"] == first["user_id"]
    assert log_in_with(login_token(again)).status == 403
    (other,) = links(Browser("bob").sign_on())
    assert log_in_with(login_token(other)).json["user_id"] != first["user_id"]


def test_a_trusted_client_is_gone_to_at_once(offer: Any) -> None:
    offer(settings={"SSO_TRUSTED_CLIENTS": "https://client.example,app:/done"})
    sent = Browser().sign_on("https://client.example/a")
    assert sent.status == 302
    assert log_in_with(login_token(sent.headers["Location"])).status == 200
    assert Browser().sign_on("https://client.example.evil/").status == 200
    assert Browser().sign_on("app:/done?x=y").headers["Location"].startswith("app:/done?x=y&loginToken=")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("app.example.org:443/login", "app.example.org:"),
        ("https://user-friendly.example/a@b?c=@d#@e", "user-friendly.example"),
        ("https://\u0430\u0440\u0440\u04cf\u0435.com/", "xn--80ak6aa92e.com"),
        ("im.client:/done", "im.client:"),
    ],
)
def test_the_question_shows_the_host_alone_and_leads_there(offer: Any, url: str, shown: str) -> None:
    offer()
    page = Browser().sign_on(url)
    assert f'<strong class="url">{shown}</strong>' in page.body.decode()
    assert ("A client at" in page.body.decode()) is url.startswith("http")
    (target,) = links(page)
    assert urlsplit(target).netloc in (shown, "")
    assert log_in_with(login_token(target)).status == 200


def test_flows_list_the_providers(offer: Any) -> None:
    offered = offer(brand="canaille")
    flows = Client().get("/_matrix/client/v3/login").json["flows"]
    (flow,) = (each for each in flows if each["type"] == "m.login.sso")
    assert flow["identity_providers"] == [{"id": offered, "name": offered.capitalize(), "brand": "canaille"}]


def test_with_several_providers_the_user_chooses(offer: Any) -> None:
    other = {
        "id": "other", "name": "<b>Other</b>", "client_id": "x",
        "authorization_endpoint": "https://other.example/?a=b", "token_endpoint": "https://other.example/t",
        "userinfo_endpoint": "https://other.example/u",
    }  # fmt: skip
    offered = offer(others=(other,))
    browser = Browser()
    page = browser.visit(REDIRECT, redirectUrl=CLIENT)
    assert page.status == 200
    assert b"<b>" not in page.body
    first, second = links(page)
    assert f"/{offered}?" in first
    sent = browser.visit(second)
    assert sent.headers["Location"].startswith("https://other.example/?a=b&response_type=code")
    (target,) = links(browser.visit(browser.authorise(browser.visit(first).headers["Location"])))
    assert log_in_with(login_token(target)).status == 200


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "JavaScript://x/%0aalert(1)", "data:text/html,x", "https:", "https://", "/x",
        "", "x", "vbscript:x", "https://a b/", "https://[", "file:///x", "https://a/" + "x" * 3000, "a\nb:c",
        "https://app.element.io@evil.example", "https://app.element.io\\@evil.example", "https://x%2f@evil.example",
        "https://app.element.io\u3002evil.example", "https://2130706433/", "im.client://a@b/",
    ],
)  # fmt: skip
def test_a_redirect_url_must_be_a_clients(offer: Any, url: str) -> None:
    offer()
    answer = Client().get(REDIRECT, redirectUrl=url)
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


def test_refused_requests(offer: Any) -> None:
    offer()
    assert Client().get(REDIRECT).json["errcode"] == "M_MISSING_PARAM"
    assert Client().get(f"{REDIRECT}/nobody", redirectUrl=CLIENT).json["errcode"] == "M_NOT_FOUND"
    assert Client().get(REDIRECT, redirectUrl=CLIENT, action="x").json["errcode"] == "M_INVALID_PARAM"
    page = Browser().visit(f"{REDIRECT}/nobody", redirectUrl=CLIENT)
    assert page.status == 404
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"


def test_only_the_browser_that_began_can_finish(offer: Any) -> None:
    offer()
    mallory = Browser("bob")
    sent = mallory.visit(REDIRECT, redirectUrl=CLIENT)
    assert "HttpOnly; SameSite=Lax; Secure" in sent.headers["Set-Cookie"]
    assert sent.headers["Set-Cookie"].startswith("__Host-")
    back = mallory.authorise(sent.headers["Location"])
    assert Browser().visit(back).status == 403
    # A state is good once, whoever used it.
    assert mallory.visit(back).status == 403


def test_one_browser_may_log_in_twice_at_a_time(offer: Any) -> None:
    offer()
    browser = Browser()
    first = browser.visit(REDIRECT, redirectUrl=CLIENT)
    second = browser.visit(REDIRECT, redirectUrl=CLIENT)
    assert browser.visit(browser.authorise(first.headers["Location"])).status == 200
    assert browser.visit(browser.authorise(second.headers["Location"])).status == 200


def test_a_state_expires(offer: Any, clock: Clock) -> None:
    offer()
    browser = Browser()
    back = browser.authorise(browser.visit(REDIRECT, redirectUrl=CLIENT).headers["Location"])
    clock.advance(901_000)
    assert browser.visit(back).status == 403


def test_who_denies_is_told_so(offer: Any) -> None:
    offer()
    browser = Browser("carol")  # whose consent was never given, and so isn't remembered
    uri = browser.visit(REDIRECT, redirectUrl=CLIENT).headers["Location"]
    page = browser.visit(browser.authorise(uri, answer="deny"))
    assert page.status == 403
    assert "didn’t let you in" in page.body.decode()


def _changed(url: str, **changes: str | None) -> str:
    parts = urlsplit(url)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()} | changes
    kept = {name: value for name, value in query.items() if value is not None}
    return f"{parts.scheme}://{parts.netloc}{parts.path}?{urlencode(kept)}"


@pytest.mark.parametrize(
    "changes", [{"code": "x"}, {"code": None}, {"code": ""}, {"iss": "https://evil.example"}, {"iss": None}]
)
def test_answers_that_are_not_good(offer: Any, changes: dict[str, str | None]) -> None:
    """`iss` is missing from an answer whose provider says that it sends it: RFC 9207, section 2.4."""
    offer()
    browser = Browser()
    back = browser.authorise(browser.visit(REDIRECT, redirectUrl=CLIENT).headers["Location"])
    assert browser.visit(_changed(back, **changes), accept="*/*").json["errcode"] == "M_FORBIDDEN"


def test_a_code_of_another_request_is_refused(offer: Any) -> None:
    """PKCE and the nonce: who steals a code can't put it into a login of their own."""
    offer()
    victim, mallory = Browser("alice"), Browser("bob")
    stolen = victim.authorise(victim.visit(REDIRECT, redirectUrl=CLIENT).headers["Location"])
    own = mallory.authorise(mallory.visit(REDIRECT, redirectUrl=CLIENT).headers["Location"])
    (code,) = parse_qs(urlsplit(stolen).query)["code"]
    assert mallory.visit(_changed(own, code=code)).status == 403


def test_a_wrong_nonce_or_audience_is_refused(offer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    offer()
    genuine = openid_connect._signed_claims
    for changes in (
        {"nonce": "x"},
        {"aud": "x"},
        {"aud": ["murmuration", "x"]},
        {"iss": "x"},
        {"exp": 1},
        {"azp": "x"},
    ):
        monkeypatch.setattr(openid_connect, "_signed_claims", lambda *given, c=changes: genuine(*given) | c)
        assert Browser().sign_on().status == 403, changes
    monkeypatch.setattr(openid_connect, "_signed_claims", genuine)
    assert Browser().sign_on().status == 200


def test_a_token_signed_by_nobody_is_refused(offer: Any, provider: Provider) -> None:
    from base64 import urlsafe_b64encode

    from joserfc import jwt
    from joserfc.jwk import OctKey, RSAKey

    uri = f"{provider.issuer}/oauth/jwks.json"
    offer()
    keys: Any = openid_connect._asked(uri)["keys"]
    (public,) = keys
    claims = {"sub": "alice"}
    strange = RSAKey.generate_key(2048, {"kid": public["kid"]})
    mac = OctKey.import_key(CLIENT_SECRET * 2)
    parts = [
        urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=")
        for each in ({"alg": "none"}, claims)
    ]
    for token in (
        jwt.encode({"alg": "RS256", "kid": public["kid"]}, claims, strange),
        jwt.encode({"alg": "HS256", "kid": public["kid"]}, claims, mac, algorithms=["HS256"]),
        f"{'.'.join(parts)}.",
        "x",
        "",
    ):
        with pytest.raises(Forbidden):
            openid_connect._signed_claims(token, uri)


def test_a_provider_of_plain_oauth_is_asked_who_it_is(offer: Any, provider: Provider) -> None:
    offer(
        issuer="",
        authorization_endpoint=f"{provider.issuer}/oauth/authorize",
        token_endpoint=f"{provider.issuer}/oauth/token",
        userinfo_endpoint=f"{provider.issuer}/oauth/userinfo",
        scopes=["openid", "profile"],
    )
    # This one demands a nonce, as it knows the scope: there are none that don't know it to try with.
    browser = Browser()
    uri = browser.visit(REDIRECT, redirectUrl=CLIENT).headers["Location"]
    assert "nonce=" not in uri
    (target,) = links(browser.visit(browser.authorise(f"{uri}&nonce=x")))
    assert is_alice(log_in_with(login_token(target)).json)


def test_a_provider_must_be_who_the_settings_say(offer: Any, provider: Provider) -> None:
    offer(issuer=f"{provider.issuer}/")
    assert Client().get(REDIRECT, redirectUrl=CLIENT).status == 503


def test_keys_are_asked_for_again_when_they_changed(offer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from joserfc.jwk import RSAKey

    offer()
    genuine, asked = openid_connect._asked, []
    stale = {"keys": [RSAKey.generate_key(2048, auto_kid=True).as_dict(private=False)]}

    def asking(url: str, **headers: str) -> Any:
        if "jwks" not in url:
            return genuine(url, **headers)
        asked.append(url)
        return stale if len(asked) == 1 else genuine(url, **headers)

    openid_connect._keys.cache_clear()
    monkeypatch.setattr(openid_connect, "_asked", asking)
    assert Browser().sign_on().status == 200
    assert Browser().sign_on().status == 200
    assert len(asked) == 2


def test_attempts_are_limited(offer: Any) -> None:
    from murmuration.aws import dynamodb
    from murmuration.identity import rate_limits
    from murmuration.storage import buckets

    offer(settings={"RATE_LIMITS": "on"})
    dynamodb.execute(dynamodb.delete(buckets.TABLE, rate_limits.bucket("sso", "127.0.0.1").key))
    rate_limits._full.clear()
    answers = [Client().get(REDIRECT, redirectUrl=CLIENT).status for _ in range(22)]
    assert (answers[0], answers[-1]) == (302, 429)


def test_an_unreachable_provider_is_a_passing_condition(offer: Any) -> None:
    offer(token_endpoint="http://localhost:9/")
    browser = Browser()
    back = browser.authorise(browser.visit(REDIRECT, redirectUrl=CLIENT).headers["Location"])
    assert browser.visit(back).status == 503


def test_who_may_not_have_an_account_gets_none(offer: Any) -> None:
    offer(creates_accounts=False)
    assert Browser().sign_on().status == 403


def test_a_closed_account_stays_closed_but_the_user_may_begin_anew(offer: Any) -> None:
    offer()
    (target,) = links(Browser().sign_on())
    found = log_in_with(login_token(target)).json
    client = Client(found["access_token"])
    path = "/_matrix/client/v3/account/deactivate"
    session = client.post(path).json["session"]
    _confirm(session)
    assert client.post(path, {"auth": {"session": session}}).status == 200
    (target,) = links(Browser().sign_on())
    assert log_in_with(login_token(target)).json["user_id"] != found["user_id"]


# -- A stage of user-interactive authentication --------------------------------------------------------------


def _confirm(session: str, who: str = "alice") -> Any:
    browser = Browser(who)
    page = browser.visit(stage_path(session))
    assert page.status == 200
    (link,) = links(page)
    back = browser.authorise(
        browser.visit(f"{stage_path(session).partition('?')[0]}{link}").headers["Location"]
    )
    return browser.visit(back)


def test_a_stage_is_completed_by_signing_on_again(offer: Any) -> None:
    offer()
    (target,) = links(Browser().sign_on())
    found = log_in_with(login_token(target)).json
    client = Client(found["access_token"])
    path = f"/_matrix/client/v3/devices/{found['device_id']}"
    asked = client.delete(path)
    assert [flow["stages"] for flow in asked.json["flows"]] == [["m.login.sso"]]
    session = asked.json["session"]
    assert client.delete(path, {"auth": {"session": session}}).status == 401
    done = _confirm(session)
    assert done.status == 200
    assert "window.onAuthDone()" in done.body.decode()
    assert client.delete(path, {"auth": {"session": session}}).status == 200


def test_another_users_consent_is_none(offer: Any) -> None:
    offer()
    (bobs,) = links(Browser("bob").sign_on())
    assert log_in_with(login_token(bobs)).status == 200
    (target,) = links(Browser().sign_on())
    found = log_in_with(login_token(target)).json
    client = Client(found["access_token"])
    path = f"/_matrix/client/v3/devices/{found['device_id']}"
    session = client.delete(path).json["session"]
    _confirm(session, "bob")
    assert client.delete(path, {"auth": {"session": session}}).json["errcode"] == "M_FORBIDDEN"


def test_a_stage_of_somebody_unknown_is_not_completed(offer: Any, register: Callable[..., Client]) -> None:
    offer()
    session = register().delete("/_matrix/client/v3/devices/X").json["session"]
    assert _confirm(session).status == 403


def test_who_has_a_password_too_may_choose(offer: Any) -> None:
    offer()
    (target,) = links(Browser().sign_on())
    found = log_in_with(login_token(target)).json
    accounts.set_password(found["user_id"], "scrypt$…")
    asked = Client(found["access_token"]).delete("/_matrix/client/v3/devices/X").json
    assert [flow["stages"] for flow in asked["flows"]] == [["m.login.password"], ["m.login.sso"]]


# -- Accounts ------------------------------------------------------------------------------------------------


CEDAR = IdentityProvider("cedar", "Cedar", "x")


def test_names_are_made_legal_and_numbered(deployment: None, fresh_name: Callable[..., str]) -> None:
    name = fresh_name("dora")
    made = [
        sso_accounts.create(CEDAR, Identity(f"{name} {number}", name.upper(), None)) for number in range(14)
    ]
    assert made[:3] == [f"@{name}:example.org", f"@{name}2:example.org", f"@{name}3:example.org"]
    assert len(set(made)) == 14


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("Alice", "alice"), ("alice smith@x", "alice=20smith=40x"), ("_alice", "=5falice"), ("É", "=c3=a9"),
        ("a=b", "a=3db"), (" ", None), ("x" * 300, None), ("Ａ", "a"), ("\ud800", "=3f"),
    ],
)  # fmt: skip
def test_legal_localparts(deployment: None, name: str, made: str | None) -> None:
    assert sso_accounts.legal_localpart(name) == made


def test_two_first_logins_at_once_make_one_account(deployment: None, fresh_name: Callable[..., str]) -> None:
    name = fresh_name("dora")
    with ThreadPoolExecutor(8) as pool:
        made = list(
            pool.map(lambda _: sso_accounts.owner_or_new(CEDAR, Identity(name, name, None)), range(8))
        )
    assert set(made) == {f"@{name}:example.org"}
    assert subjects.read_subjects(made[0]) == ["cedar"]


def test_a_wanted_name_is_had_or_not(deployment: None, fresh_name: Callable[..., str]) -> None:
    name = fresh_name("dora")
    assert sso_accounts.create(CEDAR, Identity(f"{name}1", None, None), localpart=name)
    with pytest.raises(UserInUse):
        sso_accounts.create(CEDAR, Identity(f"{name}2", None, None), localpart=name)


def test_passwords_of_the_provider_are_none_here(offer: Any) -> None:
    offer()
    (target,) = links(Browser().sign_on())
    user_id = log_in_with(login_token(target)).json["user_id"]
    body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": user_id}}
    assert Client().post("/_matrix/client/v3/login", {**body, "password": PASSWORDS["alice"]}).status == 403
