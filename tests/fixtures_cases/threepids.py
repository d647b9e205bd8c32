"""https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information"""

from __future__ import annotations

from tests.fixtures_cases import Cases
from tests.fixtures_cases.account import ASKED, PROOF, PROVED, SENDER

CASES = Cases("client_server/threepids", "a_link_in_a_mail")

THREEPID = "/_matrix/client/v3/account/3pid"
SUBMIT = f"{THREEPID}/email/submitToken"
QUERY = "sid=session-of-the-fixtures&client_secret=secret-of-the-fixtures"

CASES.add(
    "get_submit_page/good",
    "Who followed the link is asked whether it was for them.",
    f"GET {SUBMIT}?{QUERY}&token=token-of-the-fixtures",
    vague=True,
)
CASES.add(
    "submit_token/good",
    "The button was pressed: the address is proved.",
    f"POST {SUBMIT}?{QUERY}&token=token-of-the-fixtures",
    vague=True,
)
CASES.add(
    "submit_token/wrong_token",
    "A token that nobody was sent.",
    f"POST {SUBMIT}?{QUERY}&token=x",
    expect="403 M_FORBIDDEN",
)

CASES.add(
    "request_token/good",
    "A link is sent to an address that is nobody's yet.",
    f"POST {THREEPID}/email/requestToken",
    ASKED,
    worlds="alice",
    settings=SENDER,
)
CASES.add(
    "request_token/in_use",
    "The address is Alice's.",
    f"POST {THREEPID}/email/requestToken",
    ASKED,
    worlds="alice_with_an_address",
    settings=SENDER,
    expect="400 M_THREEPID_IN_USE",
)
CASES.add(
    "request_token/no_sender",
    "The server sends no mail.",
    f"POST {THREEPID}/email/requestToken",
    ASKED,
    worlds="alice",
    expect="400 M_THREEPID_MEDIUM_NOT_SUPPORTED",
)
CASES.add(
    "add_address/good",
    "Alice followed the link and gives her password: the address is hers.",
    f"POST {THREEPID}/add",
    {**PROVED, "auth": PROOF},
    worlds="alice_proved_an_address",
    by="alice",
)
CASES.add(
    "add_address/not_proved",
    "The link was not followed yet.",
    f"POST {THREEPID}/add",
    {**PROVED, "auth": PROOF},
    worlds=("alice", "a_link_in_a_mail"),
    by="alice",
    expect="400 M_THREEPID_AUTH_FAILED",
)
CASES.add(
    "add_address/no_password",
    "Alice has to prove that it's she.",
    f"POST {THREEPID}/add",
    PROVED,
    worlds="alice_proved_an_address",
    by="alice",
    expect="401",
)
OLD_PROOF = {**PROVED, "id_server": "id.example.org", "id_access_token": "none"}
CASES.add(
    "post_address/good",
    "The same by the older endpoint.",
    f"POST {THREEPID}",
    {"three_pid_creds": OLD_PROOF, "auth": PROOF},
    worlds="alice_proved_an_address",
    by="alice",
)
CASES.add(
    "post_address/not_proved",
    "The link was not followed yet.",
    f"POST {THREEPID}",
    {"three_pid_creds": OLD_PROOF},
    worlds=("alice", "a_link_in_a_mail"),
    by="alice",
    expect="400 M_THREEPID_AUTH_FAILED",
)
CASES.add(
    "post_address/no_password",
    "Alice has to prove that it's she.",
    f"POST {THREEPID}",
    {"three_pid_creds": OLD_PROOF},
    worlds="alice_proved_an_address",
    by="alice",
    expect="401",
)
CASES.add(
    "post_address/nothing",
    "There is no address.",
    f"POST {THREEPID}",
    {},
    worlds="alice_proved_an_address",
    by="alice",
    expect="400 M_MISSING_PARAM",
)
CASES.add(
    "get_addresses/good",
    "Alice looks which addresses she has.",
    f"GET {THREEPID}",
    worlds="alice_with_an_address",
    by="alice",
)
CASES.add(
    "get_addresses/missing_token",
    "Nobody's token.",
    f"GET {THREEPID}",
    worlds="alice_with_an_address",
    expect="401 M_MISSING_TOKEN",
)
CASES.add(
    "delete_address/good",
    "The address is Alice's no more.",
    f"POST {THREEPID}/delete",
    {"medium": "email", "address": "alice@mail.example"},
    worlds="alice_with_an_address",
    by="alice",
)
CASES.add(
    "unbind_address/good",
    "The address stays Alice's: no identity server knows it.",
    f"POST {THREEPID}/unbind",
    {"medium": "email", "address": "alice@mail.example"},
    worlds="alice_with_an_address",
    by="alice",
)
CASES.add(
    "unbind_address/no_such_medium",
    "A telephone number, which this server has nothing to do with.",
    f"POST {THREEPID}/unbind",
    {"medium": "msisdn", "address": "491234567"},
    worlds="alice_with_an_address",
    by="alice",
    expect="400 M_THREEPID_MEDIUM_NOT_SUPPORTED",
)
CASES.add(
    "delete_address/no_such_medium",
    "A telephone number, which this server has nothing to do with.",
    f"POST {THREEPID}/delete",
    {"medium": "msisdn", "address": "491234567"},
    worlds="alice_with_an_address",
    by="alice",
    expect="400 M_THREEPID_MEDIUM_NOT_SUPPORTED",
)
