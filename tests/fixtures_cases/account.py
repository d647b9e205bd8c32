"""https://spec.matrix.org/v1.19/client-server-api/#account-management"""

from __future__ import annotations

from tests.fixtures_cases import UNKNOWN_TOKEN, Cases

CASES = Cases("client_server/account", "alice")

V3 = "/_matrix/client/v3"
PROOF = {
    "type": "m.login.password",
    "identifier": {"type": "m.id.user", "user": "alice"},
    "password": "wonderland",
}
SENDER = {"mail_sender": "server@example.org"}
PROVED = {"sid": "session-of-the-fixtures", "client_secret": "secret-of-the-fixtures"}
BY_MAIL = {"type": "m.login.email.identity", "threepid_creds": PROVED}
ASKED = {"client_secret": "secret-of-the-fixtures", "email": "Alice@Mail.Example", "send_attempt": 1}

CASES.add("get_token_owner/good", "Alice asks whose her token is.", f"GET {V3}/account/whoami", by="alice")
CASES.add(
    "get_token_owner/good_r0",
    "An old client asks by the path's first version.",
    "GET /_matrix/client/r0/account/whoami",
    by="alice",
)
CASES.add(
    "get_token_owner/good_token_in_query",
    "The token may be in the query.",
    f"GET {V3}/account/whoami?access_token={{{{alice_token}}}}",
)
CASES.add(
    "get_token_owner/good_after_an_hour",
    "A device that was not seen for a while is noted as seen.",
    f"GET {V3}/account/whoami",
    by="alice",
    after=3_600_000,
)
CASES.add(
    "get_token_owner/missing_token",
    "Nobody's token.",
    f"GET {V3}/account/whoami",
    expect="401 M_MISSING_TOKEN",
)
CASES.add(
    "get_token_owner/unknown_token",
    "A well-formed token that was never given out.",
    f"GET {V3}/account/whoami",
    by=UNKNOWN_TOKEN,
    expect="401 M_UNKNOWN_TOKEN",
)
CASES.add(
    "get_token_owner/unknown_version",
    "A version that this endpoint never had.",
    "GET /_matrix/client/v9/account/whoami",
    by="alice",
    expect="404 M_UNRECOGNIZED",
)

CASES.add(
    "change_password/good",
    "Alice proves her old password and sets a new one; her tablet is logged out.",
    f"POST {V3}/account/password",
    {"new_password": "looking glass", "auth": PROOF},
    by="alice",
    worlds="alice_with_a_tablet",
)
CASES.add(
    "change_password/good_keeps_devices",
    "Alice's other device stays logged in if she wants.",
    f"POST {V3}/account/password",
    {"new_password": "looking glass", "logout_devices": False, "auth": PROOF},
    by="alice",
    worlds="alice_with_a_tablet",
)
CASES.add(
    "change_password/needs_proof",
    "Alice is asked for her password first.",
    f"POST {V3}/account/password",
    {"new_password": "looking glass"},
    by="alice",
    expect="401",
)
CASES.add(
    "change_password/wrong_password",
    "The proof is wrong: asked again, told why.",
    f"POST {V3}/account/password",
    {"new_password": "looking glass", "auth": {**PROOF, "password": "wrong"}},
    by="alice",
    expect="401 M_FORBIDDEN",
)
CASES.add(
    "change_password/empty_password",
    "An empty password is refused.",
    f"POST {V3}/account/password",
    {"new_password": "", "auth": PROOF},
    by="alice",
    expect="400 M_WEAK_PASSWORD",
)
CASES.add(
    "change_password/good_by_mail",
    "Alice has forgotten her password and followed the link in a mail: she sets a new one.",
    f"POST {V3}/account/password",
    {"new_password": "looking glass", "auth": BY_MAIL},
    worlds="alice_forgot_her_password",
    settings=SENDER,
)
CASES.add(
    "change_password/other_link",
    "A link that was followed for something else sets no password.",
    f"POST {V3}/account/password",
    {"new_password": "looking glass", "auth": BY_MAIL},
    worlds="alice_proved_an_address",
    settings=SENDER,
    expect="401 M_FORBIDDEN",
)

RESET = f"POST {V3}/account/password/email/requestToken"
CASES.add(
    "request_password_token/good",
    "Alice has forgotten her password: a link is sent to her.",
    RESET,
    ASKED,
    worlds="alice_with_an_address",
    settings=SENDER,
)
CASES.add(
    "request_password_token/nobodys_address",
    "The address belongs to no account.",
    RESET,
    ASKED,
    settings=SENDER,
    expect="400 M_THREEPID_NOT_FOUND",
)
CASES.add(
    "request_password_token/no_sender",
    "The server sends no mail.",
    RESET,
    ASKED,
    worlds="alice_with_an_address",
    expect="400 M_THREEPID_MEDIUM_NOT_SUPPORTED",
)

CASES.add(
    "deactivate_account/good",
    "Alice closes her account; nothing of hers stays but the name.",
    f"POST {V3}/account/deactivate",
    {"auth": PROOF},
    by="alice",
    worlds=("alice_with_a_tablet", "alice_with_account_data"),
)
CASES.add(
    "deactivate_account/good_with_an_address",
    "Alice's address is nobody's any more, either.",
    f"POST {V3}/account/deactivate",
    {"auth": PROOF},
    by="alice",
    worlds="alice_with_an_address",
)
CASES.add(
    "deactivate_account/needs_proof",
    "Alice is asked for her password first.",
    f"POST {V3}/account/deactivate",
    {},
    by="alice",
    expect="401",
)

OPENID = f"POST {V3}/user/{{{{alice}}}}/openid/request_token"
CASES.add(
    "request_openid_token/good",
    "Alice gets a token that proves her to a third party.",
    OPENID,
    {},
    by="alice",
)
CASES.add(
    "request_openid_token/for_another",
    "Bob can't get one for Alice.",
    OPENID,
    {},
    by="bob",
    worlds=("alice", "bob"),
    expect="403 M_FORBIDDEN",
)
