"""https://spec.matrix.org/v1.19/client-server-api/#legacy-login"""

from __future__ import annotations

from tests.fixtures_cases import Cases

CASES = Cases("client_server/login", "alice")

V3 = "/_matrix/client/v3"
LOGIN = f"POST {V3}/login"
ALICE = {
    "type": "m.login.password",
    "identifier": {"type": "m.id.user", "user": "alice"},
    "password": "wonderland",
}

CASES.add("get_login_flows/good", "How one may log in.", f"GET {V3}/login", worlds=())
CASES.add(
    "get_login_flows/unknown_version",
    "A version that this endpoint never had.",
    "GET /_matrix/client/v1/login",
    worlds=(),
    expect="404 M_UNRECOGNIZED",
)

CASES.add("login/good", "Alice logs in on a device that the server names.", LOGIN, ALICE)
CASES.add(
    "login/good_named_device",
    "Alice names her new device, and can refresh its tokens.",
    LOGIN,
    {
        **ALICE,
        "device_id": "DESKTOP",
        "initial_device_display_name": "Alice's desktop",
        "refresh_token": True,
    },
)
CASES.add(
    "login/good_known_device",
    "Alice logs in again on her phone: its old token is gone, its name stays.",
    LOGIN,
    {**ALICE, "device_id": "PHONE", "initial_device_display_name": "Another name"},
)
CASES.add(
    "login/good_full_user_id",
    "A whole user ID is as good as its local part, also in the field of old.",
    LOGIN,
    {"type": "m.login.password", "user": "@alice:example.org", "password": "wonderland"},
)
CASES.add(
    "login/good_login_token",
    "Alice's new client logs in with a token that her phone got.",
    LOGIN,
    {"type": "m.login.token", "token": "{{login_token}}"},
    worlds="alice_with_a_login_token",
)
CASES.add(
    "login/wrong_password", "A wrong password.", LOGIN, {**ALICE, "password": "x"}, expect="403 M_FORBIDDEN"
)
CASES.add(
    "login/unknown_user",
    "Nobody of that name: answered as a wrong password is.",
    LOGIN,
    {**ALICE, "identifier": {"type": "m.id.user", "user": "mallory"}},
    expect="403 M_FORBIDDEN",
)
CASES.add(
    "login/deactivated",
    "An account that was closed.",
    LOGIN,
    {**ALICE, "identifier": {"type": "m.id.user", "user": "carol"}, "password": "christmas"},
    worlds="carol_deactivated",
    expect="403 M_USER_DEACTIVATED",
)
CASES.add(
    "login/unknown_type",
    "A way to log in that isn't offered.",
    LOGIN,
    {"type": "m.login.sso"},
    expect="400 M_UNKNOWN",
)
CASES.add("login/not_json", "A body that isn't JSON.", LOGIN, b"{", expect="400 M_NOT_JSON")
CASES.add(
    "login/used_login_token",
    "A login token that isn't known.",
    LOGIN,
    {"type": "m.login.token", "token": "spent"},
    expect="403 M_FORBIDDEN",
)

CASES.add("logout/good", "Alice's phone logs out; it is gone.", f"POST {V3}/logout", by="alice")
CASES.add(
    "logout/missing_token",
    "Who isn't logged in can't log out.",
    f"POST {V3}/logout",
    expect="401 M_MISSING_TOKEN",
)

CASES.add(
    "logout_all/good",
    "All of Alice's devices log out.",
    f"POST {V3}/logout/all",
    by="alice",
    worlds="alice_with_a_tablet",
)
CASES.add(
    "logout_all/missing_token",
    "Who isn't logged in can't log out.",
    f"POST {V3}/logout/all",
    expect="401 M_MISSING_TOKEN",
)

CASES.add(
    "refresh/good",
    "Alice's tablet exchanges its refresh token; the old tokens last until a new one is used.",
    f"POST {V3}/refresh",
    {"refresh_token": "{{alice_tablet_refresh_token}}"},
    worlds="alice_with_a_tablet",
)
CASES.add(
    "refresh/access_token",
    "An access token is no refresh token.",
    f"POST {V3}/refresh",
    {"refresh_token": "{{alice_token}}"},
    expect="401 M_UNKNOWN_TOKEN",
)
CASES.add("refresh/missing", "Without a token.", f"POST {V3}/refresh", {}, expect="400 M_MISSING_PARAM")

GET_TOKEN = "POST /_matrix/client/v1/login/get_token"
CASES.add(
    "generate_login_token/good",
    "Alice proves to be there and gets a token for her next client.",
    GET_TOKEN,
    {"auth": ALICE},
    by="alice",
)
CASES.add(
    "generate_login_token/needs_proof",
    "Alice is asked for her password first.",
    GET_TOKEN,
    {},
    by="alice",
    expect="401",
)
