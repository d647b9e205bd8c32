"""https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url"""

from __future__ import annotations

from tests.fixtures_cases import Cases

CASES = Cases("client_server/url_previews", "a_preview")

for operation, path in (
    ("get_url_preview", "/_matrix/media/v3/preview_url"),
    ("get_url_preview_authed", "/_matrix/client/v1/media/preview_url"),
):
    request = f"GET {path}?url=https%3A%2F%2Ftea.example%2F"
    CASES.add(f"{operation}/good", "What was found there lately.", request, by="alice")
    CASES.add(f"{operation}/missing_token", "Nobody's.", request, expect="401 M_MISSING_TOKEN")
    CASES.add(
        f"{operation}/no_web_page",
        "Only the web is asked.",
        f"GET {path}?url=file%3A%2F%2F%2Fetc%2Fpasswd",
        by="alice",
        expect="400 M_INVALID_PARAM",
    )
    CASES.add(
        f"{operation}/off",
        "The operator wants no previews.",
        request,
        by="alice",
        settings={"url_previews": "off"},
        expect="404 M_UNRECOGNIZED",
    )
