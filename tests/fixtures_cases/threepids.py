"""https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information"""

from __future__ import annotations

from tests.fixtures_cases import Cases

CASES = Cases("client_server/threepids", "a_link_in_a_mail")

SUBMIT = "/_matrix/client/v3/account/3pid/email/submitToken"
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
