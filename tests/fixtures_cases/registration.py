"""https://spec.matrix.org/v1.19/client-server-api/#legacy-account-registration"""

from __future__ import annotations

from tests.fixtures_cases import Cases
from tests.fixtures_cases.account import ASKED, BY_MAIL, SENDER

CASES = Cases("client_server/registration")

V3 = "/_matrix/client/v3"
REGISTER = f"POST {V3}/register"
DUMMY = {"type": "m.login.dummy"}
DORA = {"username": "dora", "password": "explorer", "auth": DUMMY}

CASES.add("register/good", "Dora makes an account and is logged in.", REGISTER, DORA)
CASES.add(
    "register/good_no_login",
    "Dora makes an account and no device.",
    REGISTER,
    {**DORA, "inhibit_login": True},
)
CASES.add(
    "register/good_nameless",
    "The server chooses the name.",
    REGISTER,
    {"password": "explorer", "auth": DUMMY},
)
CASES.add(
    "register/good_registration_token",
    "Dora has a token that lets her register, and uses it up.",
    REGISTER,
    {**DORA, "auth": {"type": "m.login.registration_token", "token": "{{registration_token}}"}},
    worlds="a_registration_token",
    settings={"registration": "token"},
)
CASES.add(
    "register/good_address",
    "Dora followed the link in a mail: the address is the new account's.",
    REGISTER,
    {**DORA, "auth": BY_MAIL},
    worlds="somebody_proved_an_address",
    settings=SENDER,
)
CASES.add(
    "register/needs_flow",
    "The first request learns what has to be done.",
    REGISTER,
    {"username": "dora", "password": "explorer"},
    expect="401",
)
CASES.add(
    "register/needs_registration_token",
    "The first request learns that a token is needed.",
    REGISTER,
    {"username": "dora", "password": "explorer"},
    settings={"registration": "token"},
    expect="401",
)
CASES.add(
    "register/taken",
    "Alice's name is taken.",
    REGISTER,
    {**DORA, "username": "alice"},
    worlds="alice",
    expect="400 M_USER_IN_USE",
)
CASES.add(
    "register/bad_name",
    "A name with a character that none may have.",
    REGISTER,
    {**DORA, "username": "do ra"},
    expect="400 M_INVALID_USERNAME",
)
CASES.add(
    "register/guest", "There are no guests here.", f"{REGISTER}?kind=guest", {}, expect="403 M_FORBIDDEN"
)
CASES.add(
    "register/closed",
    "Registration is closed.",
    REGISTER,
    DORA,
    settings={"registration": "closed"},
    expect="403 M_FORBIDDEN",
)

AVAILABLE = f"GET {V3}/register/available"
CASES.add("check_username_availability/good", "Dora's name is free.", f"{AVAILABLE}?username=dora")
CASES.add(
    "check_username_availability/taken",
    "Alice's isn't.",
    f"{AVAILABLE}?username=alice",
    worlds="alice",
    expect="400 M_USER_IN_USE",
)
CASES.add(
    "check_username_availability/bad_name",
    "None could be called so.",
    f"{AVAILABLE}?username=do%20ra",
    expect="400 M_INVALID_USERNAME",
)
CASES.add("check_username_availability/missing", "No name given.", AVAILABLE, expect="400 M_MISSING_PARAM")

VALIDITY = "GET /_matrix/client/v1/register/m.login.registration_token/validity"
TOKENS = {"registration": "token"}
CASES.add(
    "registration_token_validity/good",
    "The token lets one register.",
    f"{VALIDITY}?token=fizzbuzz",
    worlds="a_registration_token",
    settings=TOKENS,
)
CASES.add(
    "registration_token_validity/good_unknown",
    "There is no such token.",
    f"{VALIDITY}?token=fizz",
    worlds="a_registration_token",
    settings=TOKENS,
)
CASES.add(
    "registration_token_validity/closed",
    "Where nobody can register, no token helps.",
    f"{VALIDITY}?token=fizzbuzz",
    settings={"registration": "closed"},
    expect="403 M_FORBIDDEN",
)

REQUEST = f"POST {V3}/register/email/requestToken"
CASES.add(
    "request_registration_token/good",
    "A link is sent to an address that is to be the new account's.",
    REQUEST,
    ASKED,
    settings=SENDER,
)
CASES.add(
    "request_registration_token/in_use",
    "The address has an account.",
    REQUEST,
    ASKED,
    worlds="alice_with_an_address",
    settings=SENDER,
    expect="400 M_THREEPID_IN_USE",
)
CASES.add(
    "request_registration_token/closed",
    "Nobody can register.",
    REQUEST,
    ASKED,
    settings={**SENDER, "registration": "closed"},
    expect="403 M_FORBIDDEN",
)
