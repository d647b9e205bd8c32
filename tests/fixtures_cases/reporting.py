"""https://spec.matrix.org/v1.19/client-server-api/#reporting-content"""

from __future__ import annotations

from tests.fixtures_cases import Cases

CASES = Cases("client_server/reporting", "a_room_with_history")

ARCHIVE = "/_matrix/client/v3/rooms/{{archive}}"
USERS = "/_matrix/client/v3/users"
WITH_CAROL = ("a_room_with_history", "carol")
RUDE = {"reason": "This is rude."}

CASES.add(
    "report_event/good",
    "Alice reports what Bob began the thread with.",
    f"POST {ARCHIVE}/report/{{{{thread}}}}",
    RUDE,
    by="alice",
)
CASES.add(
    "report_event/not_in_the_room",
    "Carol isn't there.",
    f"POST {ARCHIVE}/report/{{{{thread}}}}",
    RUDE,
    by="carol",
    worlds=WITH_CAROL,
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "report_room/good",
    "Carol needn't be in the room.",
    f"POST {ARCHIVE}/report",
    RUDE,
    by="carol",
    worlds=WITH_CAROL,
)
CASES.add(
    "report_room/no_reason",
    "A reason may be empty, but not missing.",
    f"POST {ARCHIVE}/report",
    {},
    by="alice",
    expect="400 M_MISSING_PARAM",
)
CASES.add(
    "report_user/good",
    "Alice reports Bob.",
    f"POST {USERS}/@bob:example.org/report",
    RUDE,
    by="alice",
)
CASES.add(
    "report_user/unknown",
    "There is nobody of that name.",
    f"POST {USERS}/@nobody:example.org/report",
    RUDE,
    by="alice",
    expect="404 M_NOT_FOUND",
)
