"""The server's descriptions of itself."""

from __future__ import annotations

from tests.fixtures_cases import UNKNOWN_TOKEN, Cases

CASES = Cases("client_server")

CASES.add("versions/get_versions/good", "The versions that are served.", "GET /_matrix/client/versions")
CASES.add("well_known/get_landing_page/good", "What people see who open the server's address.", "GET /")
CASES.add("well_known/get_wellknown/good", "Where the homeserver is.", "GET /.well-known/matrix/client")
CASES.add(
    "capabilities/get_capabilities/good",
    "What Alice may do here.",
    "GET /_matrix/client/v3/capabilities",
    by="alice",
    worlds=("alice",),
)
CASES.add(
    "capabilities/get_capabilities/missing_token",
    "Who isn't logged in isn't told.",
    "GET /_matrix/client/v3/capabilities",
    expect="401 M_MISSING_TOKEN",
)
CASES.add(
    "fallback/answer_unrecognized/unknown_path",
    "A path that nothing serves.",
    "GET /_matrix/client/v3/teapot",
    expect="404 M_UNRECOGNIZED",
)
CASES.add(
    "fallback/answer_unrecognized/unknown_method",
    "A method that the path lacks.",
    "PATCH /_matrix/client/v3/logout",
    {},
    expect="405 M_UNRECOGNIZED",
)
CASES.add(
    "fallback/answer_unrecognized/good_preflight",
    "A browser asks before it sends.",
    "OPTIONS /_matrix/client/v3/logout",
    headers={"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"},
)

CALLS = {"livekit_service_url": "https://rtc.example.org/livekit/jwt"}
CASES.add(
    "voip/get_rtc_transports/good",
    "Calls go by LiveKit; apps ask without a token, too.",
    "GET /_matrix/client/unstable/org.matrix.msc4143/rtc/transports",
    settings=CALLS,
)
CASES.add(
    "voip/get_rtc_transports/none",
    "There is no server for calls.",
    "GET /_matrix/client/v1/rtc/transports",
    by="alice",
    worlds=("alice",),
)
CASES.add(
    "voip/get_rtc_transports/unknown_token",
    "A token that is there must be good.",
    "GET /_matrix/client/v1/rtc/transports",
    headers={"Authorization": f"Bearer {UNKNOWN_TOKEN}"},
    expect="401 M_UNKNOWN_TOKEN",
)
CASES.add(
    "well_known/get_wellknown/good_with_calls",
    "Where the homeserver is, and by which servers calls go.",
    "GET /.well-known/matrix/client",
    settings=CALLS,
)
TURN = {"turn_uris": "turn:turn.example.org?transport=udp,turns:turn.example.org"}
CASES.add(
    "voip/get_turn_server/good",
    "Alice may use the TURN server for a day.",
    "GET /_matrix/client/v3/voip/turnServer",
    by="alice",
    worlds=("alice",),
    settings=TURN,
)
CASES.add(
    "voip/get_turn_server/none",
    "There is no TURN server.",
    "GET /_matrix/client/v3/voip/turnServer",
    by="alice",
    worlds=("alice",),
)
CASES.add(
    "voip/get_turn_server/missing_token",
    "Who isn't logged in gets none.",
    "GET /_matrix/client/v3/voip/turnServer",
    expect="401 M_MISSING_TOKEN",
    settings=TURN,
)
