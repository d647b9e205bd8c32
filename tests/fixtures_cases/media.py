"""https://spec.matrix.org/v1.19/client-server-api/#content-repository"""

from __future__ import annotations

from tests.fixtures_cases import Cases
from tests.fixtures_plots_kept import png

CASES = Cases("client_server/media", "alice_with_media")

OLD, NEW = "/_matrix/media/v3", "/_matrix/client/v1/media"
PICTURE, TEXT, PENDING = (f"example.org/{{{{{name}}}}}" for name in ("picture", "text", "pending_media"))

OPEN = {"unauthenticated_media_before": "2999-01-01T00:00:00Z"}
"""Lets the old paths serve what is uploaded in these cases."""

UPLOAD = f"POST {OLD}/upload"
PNG = {"Content-Type": "image/png"}
CASES.add(
    "upload_content/good",
    "Alice uploads a picture.",
    f"{UPLOAD}?filename=dot.png",
    png(2, 2),
    by="alice",
    headers=PNG,
)
CASES.add(
    "upload_content/good_bare",
    "Bytes of no type and name.",
    UPLOAD,
    b"\x00\xff",
    by="alice",
    headers={"Content-Type": ""},
)
CASES.add(
    "upload_content/too_large",
    "More than this server takes.",
    UPLOAD,
    b"12345",
    by="alice",
    settings={"media_max_bytes": "4"},
    expect="413 M_TOO_LARGE",
)
CASES.add(
    "upload_content/over_quota",
    "More than Alice has room for, with what she uploaded before.",
    UPLOAD,
    b"12345",
    by="alice",
    settings={"media_quota_bytes": "1000"},
    expect="403 M_FORBIDDEN",
)
CASES.add("upload_content/missing_token", "Nobody's upload.", UPLOAD, b"x", expect="401 M_MISSING_TOKEN")

CASES.add(
    "create_content/good",
    "Alice gets an ID to upload to later.",
    f"POST {OLD.replace('v3', 'v1')}/create",
    {},
    by="alice",
)
CASES.add(
    "create_content/missing_token",
    "Nobody gets one.",
    f"POST {OLD.replace('v3', 'v1')}/create",
    {},
    expect="401 M_MISSING_TOKEN",
)

LATER = f"PUT {OLD}/upload"
CASES.add(
    "upload_content_to_mxc/good",
    "Alice uploads to the ID that she created.",
    f"{LATER}/{PENDING}?filename=dot.png",
    png(2, 2),
    by="alice",
    headers=PNG,
)
CASES.add(
    "upload_content_to_mxc/uploaded_already",
    "What an ID names never changes.",
    f"{LATER}/{PICTURE}",
    png(2, 2),
    by="alice",
    headers=PNG,
    expect="409 M_CANNOT_OVERWRITE_MEDIA",
)
CASES.add(
    "upload_content_to_mxc/anothers",
    "The ID is Alice's.",
    f"{LATER}/{PENDING}",
    png(2, 2),
    by="bob",
    worlds=("alice_with_media", "bob"),
    headers=PNG,
    expect="403 M_FORBIDDEN",
)

PLACE = "POST /uploads"
LARGE = {**PNG, "x-murmuration-size": "6000000"}
CASES.add(
    "place_content/good",
    "Alice begins a large upload: where its body goes, and what she is told then.",
    f"{PLACE}?filename=dot.png",
    by="alice",
    headers=LARGE,
)
CASES.add(
    "place_content/too_large",
    "More than this server takes.",
    PLACE,
    by="alice",
    headers={**LARGE, "x-murmuration-size": "10000001"},
    expect="413 M_TOO_LARGE",
)
CASES.add(
    "place_content/no_size", "The body's size isn't told.", PLACE, by="alice", headers=PNG,
    expect="400 M_MISSING_PARAM",
)  # fmt: skip
CASES.add("place_content/missing_token", "Nobody's.", PLACE, headers=LARGE, expect="401 M_MISSING_TOKEN")
PLACE_LATER = "PUT /uploads"
CASES.add(
    "place_content_to_mxc/good",
    "The same, to an ID that Alice created.",
    f"{PLACE_LATER}/{PENDING}",
    by="alice",
    headers=LARGE,
)
CASES.add(
    "place_content_to_mxc/uploaded_already",
    "What an ID names never changes.",
    f"{PLACE_LATER}/{PICTURE}",
    by="alice",
    headers=LARGE,
    expect="409 M_CANNOT_OVERWRITE_MEDIA",
)

for operation, request in (("get_config", f"GET {OLD}/config"), ("get_config_authed", f"GET {NEW}/config")):
    CASES.add(f"{operation}/good", "How large an upload may be.", request, by="alice")
    CASES.add(f"{operation}/missing_token", "Nobody is told.", request, expect="401 M_MISSING_TOKEN")

for operation, base, who in (("get_content", OLD, None), ("get_content_authed", NEW, "alice")):
    request = f"GET {base}/download"
    opened = {} if who else OPEN
    CASES.add(
        f"{operation}/good",
        "The picture, as it was uploaded.",
        f"{request}/{PICTURE}",
        by=who,
        settings=opened,
    )
    CASES.add(
        f"{operation}/good_text",
        "A text under the name it was uploaded with.",
        f"{request}/{TEXT}",
        by=who,
        settings=opened,
    )
    CASES.add(
        f"{operation}/unknown",
        "There are no such media.",
        f"{request}/example.org/nothing",
        by=who,
        expect="404 M_NOT_FOUND",
    )
    CASES.add(
        f"{operation}/pending",
        "Not uploaded yet.",
        f"{request}/{PENDING}?timeout_ms=0",
        by=who,
        expect="504 M_NOT_YET_UPLOADED",
    )
CASES.add(
    "get_content/frozen",
    "Without a token nothing is given out but what was uploaded long ago.",
    f"GET {OLD}/download/{PICTURE}",
    expect="404 M_NOT_FOUND",
)
CASES.add(
    "get_content/pending_without_waiting",
    "Nobody waits without a token.",
    f"GET {OLD}/download/{PENDING}?timeout_ms=20000",
    expect="504 M_NOT_YET_UPLOADED",
)
CASES.add(
    "get_content_authed/missing_token",
    "Nobody's.",
    f"GET {NEW}/download/{PICTURE}",
    expect="401 M_MISSING_TOKEN",
)

for operation, base, who in (
    ("get_content_override_name", OLD, None),
    ("get_content_override_name_authed", NEW, "alice"),
):
    request = f"GET {base}/download"
    CASES.add(
        f"{operation}/good",
        "The picture under another name.",
        f"{request}/{PICTURE}/caf%C3%A9.png",
        by=who,
        settings={} if who else OPEN,
    )
    CASES.add(
        f"{operation}/unknown",
        "There are no such media.",
        f"{request}/example.org/nothing/x",
        by=who,
        expect="404 M_NOT_FOUND",
    )

for operation, base, who in (
    ("get_content_thumbnail", OLD, None),
    ("get_content_thumbnail_authed", NEW, "alice"),
):
    request = f"GET {base}/thumbnail"
    size = "width=32&height=32&method=crop"
    CASES.add(
        f"{operation}/good",
        "A thumbnail, made now and kept.",
        f"{request}/{PICTURE}?{size}",
        by=who,
        settings={} if who else OPEN,
        vague=True,
    )
    CASES.add(
        f"{operation}/not_an_image",
        "A text has none.",
        f"{request}/{TEXT}?{size}",
        by=who,
        settings={} if who else OPEN,
        expect="400 M_UNKNOWN",
    )
    CASES.add(
        f"{operation}/missing_size",
        "How large?",
        f"{request}/{PICTURE}",
        by=who,
        expect="400 M_MISSING_PARAM",
    )
