"""Registration by stages, as the founding draft has it."""

from __future__ import annotations

from tests.fixtures_cases import Cases
from tests.fixtures_cases.login_sso import ONE

V1 = "/_matrix/client/api/v1"
REGISTER = f"POST {V1}/register"
DORA = {"type": "m.login.password", "user": "dora", "password": "explorer"}

CASES = Cases("client_v1/registration")

CASES.add("get_register_flows/good", "One may register by password.", f"GET {V1}/register")
CASES.add(
    "get_register_flows/good_token",
    "One may register with a registration token, then choose a password.",
    f"GET {V1}/register",
    settings={"registration": "token"},
)
CASES.add(
    "get_register_flows/closed",
    "Nobody may.",
    f"GET {V1}/register",
    settings={"registration": "closed"},
    expect="403 M_FORBIDDEN",
)
CASES.add("register/good", "Dora registers with a password.", REGISTER, DORA)
CASES.add(
    "register/good_nameless",
    "The server chooses the name.",
    REGISTER,
    {"type": "m.login.password", "password": "explorer"},
)
CASES.add(
    "register/good_token",
    "Dora's registration token is good: what remains is to choose a password.",
    REGISTER,
    {"type": "m.login.registration_token", "token": "{{registration_token}}"},
    worlds="a_registration_token",
    settings={"registration": "token"},
)
CASES.add(
    "register/good_oauth2",
    "Dora is told where to log in, so that an account is made for her.",
    REGISTER,
    {"type": "m.login.oauth2"},
    settings=ONE,
)
CASES.add(
    "register/taken",
    "Alice's name is taken.",
    REGISTER,
    {**DORA, "user": "alice"},
    worlds="alice",
    expect="400 M_USER_IN_USE",
)
CASES.add(
    "register/no_token",
    "A password without the registration token that comes before it.",
    REGISTER,
    DORA,
    settings={"registration": "token"},
    expect="403 M_FORBIDDEN",
)
CASES.add("register/no_type", "No type at all.", REGISTER, {}, expect="400 M_MISSING_PARAM")
