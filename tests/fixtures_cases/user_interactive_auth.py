"""https://spec.matrix.org/v1.19/client-server-api/#fallback"""

from __future__ import annotations

from tests.fixtures_cases import Cases
from tests.fixtures_cases.login_sso import ONE

CASES = Cases("client_server/user_interactive_auth", "alice")

SESSION = "c2Vzc2lvbi1vZi1maXh0dXJl.ZGlnZXN0LTEyMzQ1"
AUTH = "/_matrix/client/v3/auth"
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}


def page(kind: str, session: str = SESSION) -> str:
    return f"{AUTH}/{kind}/fallback/web?session={session}"


CASES.add(
    "get_stage_page/good", "A form for Alice's password.", f"GET {page('m.login.password')}", vague=True
)
CASES.add(
    "get_stage_page/good_sso",
    "Alice is asked whether she began this, before she logs in at an identity provider again.",
    f"GET {page('m.login.sso')}",
    settings=ONE,
    vague=True,
)
CASES.add(
    "get_stage_page/good_sso_redirect",
    "She did: her browser goes there.",
    f"GET {page('m.login.sso')}&provider=cedar",
    settings=ONE,
    expect="302",
)
CASES.add(
    "get_stage_page/unknown_session",
    "No session of this server's has such an ID.",
    f"GET {page('m.login.password', 'x')}",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "get_stage_page/unknown_stage",
    "A stage that has no page.",
    f"GET {page('m.login.recaptcha')}",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "submit_stage_page/good",
    "Alice's password is right: the stage is complete.",
    f"POST {page('m.login.password')}",
    b"user=alice&password=wonderland",
    headers=FORM,
    vague=True,
)
CASES.add(
    "submit_stage_page/wrong_password",
    "It's wrong: the form comes again, and says so.",
    f"POST {page('m.login.password')}",
    b"user=alice&password=x",
    headers=FORM,
    expect="403",
    vague=True,
)
CASES.add(
    "submit_stage_page/no_form",
    "A single sign-on isn't completed by a form.",
    f"POST {page('m.login.sso')}",
    b"",
    settings=ONE,
    expect="404 M_NOT_FOUND",
)
