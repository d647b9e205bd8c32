"""Login and registration by stages, as the founding draft has them."""

from __future__ import annotations

from tests.fixtures_cases import Cases
from tests.fixtures_cases.login_sso import ONE, TWO

V1 = "/_matrix/client/api/v1"
LOGIN = f"POST {V1}/login"
PASSWORD = {"type": "m.login.password", "user": "alice", "password": "wonderland"}
OAUTH2 = {"type": "m.login.oauth2", "user": "alice"}
EMAIL = {"user": "alice", "email": "Alice@Mail.Example"}
BY_MAIL = {"mail_sender": "server@example.org"}
TWO_STAGES = {**ONE, "login_flows": "m.login.password,m.login.oauth2"}

CASES = Cases("client_v1/login", "alice")

CASES.add("get_login_flows/good", "One may log in by password.", f"GET {V1}/login")
CASES.add(
    "get_login_flows/good_stages",
    "One may log in by a password and an identity provider, one after the other.",
    f"GET {V1}/login",
    settings=TWO_STAGES,
)
CASES.add("login/good", "Alice logs in by password.", LOGIN, PASSWORD)
CASES.add(
    "login/good_next",
    "The password was right; what remains is to come back from an identity provider.",
    LOGIN,
    PASSWORD,
    settings=TWO_STAGES,
)
CASES.add(
    "login/good_oauth2",
    "Alice is told where to log in.",
    LOGIN,
    OAUTH2,
    settings=ONE,
)
CASES.add(
    "login/good_oauth2_choice",
    "Alice is told where to choose between two identity providers.",
    LOGIN,
    OAUTH2,
    settings=TWO,
)
CASES.add(
    "login/good_email_code",
    "Alice is sent a code.",
    LOGIN,
    {"type": "m.login.email.code", **EMAIL},
    worlds="alice_with_an_address",
    settings=BY_MAIL,
)
CASES.add(
    "login/good_email_url",
    "Alice is sent a link.",
    LOGIN,
    {"type": "m.login.email.url", **EMAIL},
    worlds="alice_with_an_address",
    settings=BY_MAIL,
)
CASES.add(
    "login/good_email_of_another",
    "Nobody is sent anything: the address isn't the user's. The answer is as if it were.",
    LOGIN,
    {"type": "m.login.email.code", **EMAIL, "email": "mallory@mail.example"},
    worlds="alice_with_an_address",
    settings=BY_MAIL,
)
CASES.add(
    "login/wrong_code",
    "A code of a session that has none.",
    LOGIN,
    {"type": "m.login.email.code", "code": "12345678"},
    settings=BY_MAIL,
    expect="403 M_FORBIDDEN",
)
CASES.add(
    "login/wrong_password",
    "A wrong password.",
    LOGIN,
    {**PASSWORD, "password": "x"},
    expect="403 M_FORBIDDEN",
)
CASES.add("login/unknown_type", "A type that isn't offered.", LOGIN, OAUTH2, expect="400 M_UNKNOWN")
CASES.add("login/no_type", "No type at all.", LOGIN, {"user": "alice"}, expect="400 M_MISSING_PARAM")
CASES.add(
    "login/wrong_stage",
    "The second stage before the first.",
    LOGIN,
    OAUTH2,
    settings=TWO_STAGES,
    expect="403 M_FORBIDDEN",
)
CASES.add(
    "choose_provider/good",
    "Alice's browser is shown the identity providers.",
    f"GET {V1}/login/oauth2?choice=choice-of-the-fixtures",
    worlds="a_login_at_the_choice_of_a_provider",
    settings=TWO,
    vague=True,
)
CASES.add(
    "choose_provider/good_chosen",
    "She chose one, and her browser goes there.",
    f"GET {V1}/login/oauth2?choice=choice-of-the-fixtures&provider=birch",
    worlds="a_login_at_the_choice_of_a_provider",
    settings=TWO,
    expect="302",
)
CASES.add(
    "choose_provider/unknown",
    "No login waits for this choice.",
    f"GET {V1}/login/oauth2?choice=x",
    settings=TWO,
    expect="403 M_FORBIDDEN",
)
