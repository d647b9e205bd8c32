"""https://spec.matrix.org/v1.19/client-server-api/#sso-client-loginauthentication"""

from __future__ import annotations

import json

from tests.fixtures_cases import Cases

CASES = Cases("client_server/login")

V3 = "/_matrix/client/v3"
REDIRECT = f"GET {V3}/login/sso/redirect"
CLIENT = "redirectUrl=https%3A%2F%2Fclient.example.org%2Fdone%3Fa%3Db"
CEDAR = {
    "id": "cedar",
    "name": "Cedar",
    "client_id": "murmuration",
    "issuer": "https://login.example.org",
    "authorization_endpoint": "https://login.example.org/authorize",
    "token_endpoint": "https://login.example.org/token",
    "jwks_uri": "https://login.example.org/keys",
}
BIRCH = {
    "id": "birch",
    "name": "Birch & Sons",
    "client_id": "murmuration",
    "brand": "birch",
    "authorization_endpoint": "https://birch.example.org/authorize",
    "token_endpoint": "https://birch.example.org/token",
    "userinfo_endpoint": "https://birch.example.org/user",
    "scopes": ["user"],
}
ONE = {"identity_providers": json.dumps([CEDAR])}
TWO = {"identity_providers": json.dumps([CEDAR, BIRCH])}

CASES.add(
    "get_login_flows/good_sso",
    "Beside a password, one may log in at either of two identity providers.",
    f"GET {V3}/login",
    settings=TWO,
)
CASES.add(
    "redirect_to_sso/good",
    "There is one identity provider: the browser is sent there, with a cookie to know it again.",
    f"{REDIRECT}?{CLIENT}",
    settings=ONE,
    expect="302",
)
CASES.add(
    "redirect_to_sso/good_choice",
    "There are two: a page lets the user choose.",
    f"{REDIRECT}?{CLIENT}",
    settings=TWO,
)
CASES.add(
    "redirect_to_sso/no_redirect_url",
    "Nobody says where to go afterwards.",
    REDIRECT,
    settings=ONE,
    expect="400 M_MISSING_PARAM",
)
CASES.add(
    "redirect_to_sso/script",
    "A URL that would be a script on a page of the server's.",
    f"{REDIRECT}?redirectUrl=javascript%3Aalert(1)",
    settings=ONE,
    expect="400 M_INVALID_PARAM",
)
CASES.add(
    "redirect_to_sso/none",
    "There is no identity provider.",
    f"{REDIRECT}?{CLIENT}",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "redirect_to_idp/good",
    "The user chose one of two identity providers, one of plain OAuth 2.0.",
    f"{REDIRECT}/birch?{CLIENT}&action=register",
    settings=TWO,
    expect="302",
)
CASES.add(
    "redirect_to_idp/unknown",
    "There is no such identity provider.",
    f"{REDIRECT}/elm?{CLIENT}",
    settings=TWO,
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "finish_sso/unknown_state",
    "A browser comes back with a state that was never given out, or was used before.",
    f"GET {V3}/login/sso/callback?code=x&state=y",
    settings=ONE,
    expect="403 M_FORBIDDEN",
)
CASES.add(
    "finish_sso/unknown_state_page",
    "The same, told to a person.",
    f"GET {V3}/login/sso/callback?code=x&state=y",
    settings=ONE,
    headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"},
    expect="403",
)
CASES.add(
    "finish_sso/another_browser",
    "Somebody was sent a link with which another's login would be finished: their browser lacks the cookie.",
    f"GET {V3}/login/sso/callback?code=x&state=state-of-the-fixtures",
    worlds="a_browser_at_an_identity_provider",
    settings=ONE,
    expect="403 M_FORBIDDEN",
)
CASES.add(
    "get_login_page/good",
    "A page that performs any login.",
    "GET /_matrix/static/client/login/?device_id=PAGE",
    vague=True,
)
CASES.add(
    "get_login_page/good_founding_draft",
    "The same page, at the founding draft's path.",
    "GET /_matrix/client/api/v1/login/fallback",
    vague=True,
)
