"""Uploads past what a function takes: who is sent to the bucket, and what comes of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from infra_shared import uploads
from local_cloud.gateway.events import HttpRequest
from local_cloud.gateway.parking import render
from local_cloud.gateway.uploads import SIZE_HEADER, forwarded
from local_cloud.testing import LocalCloud, local_cloud
from murmuration.endpoint.uploads import REFUSED, placing
from tests.local_cloud.gateway.test_parking import _RUN, VIEWER

LARGE = uploads.LARGE_BYTES + 1
REQUESTS = [
    ("POST", "/_matrix/media/v3/upload", LARGE, "/uploads"),
    ("POST", "/_matrix/media/r0/upload", LARGE, "/uploads"),
    ("POST", "/_matrix/media/v1/upload", 99_999_999, "/uploads"),
    ("PUT", "/_matrix/media/v3/upload/example.org/abc", LARGE, "/uploads/example.org/abc"),
    ("PUT", "/_matrix/media/v3/upload/a%2Fb:8448/abc", LARGE, "/uploads/a%2Fb:8448/abc"),
    ("POST", "/_matrix/media/v3/upload", LARGE - 1, ""),
    ("POST", "/_matrix/media/v3/upload", None, ""),
    ("PUT", "/_matrix/media/v3/upload", LARGE, ""),
    ("POST", "/_matrix/media/v3/upload/example.org/abc", LARGE, ""),
    ("POST", "/_matrix/media/v2/upload", LARGE, ""),
    ("POST", "/_matrix/media/v3/upload/", LARGE, ""),
    ("POST", "/x/_matrix/media/v3/upload", LARGE, ""),
    ("POST", "/_matrix/client/v3/createRoom", LARGE, ""),
]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_both_send_the_same_uploads_to_the_bucket() -> None:
    asked = [
        {
            "method": method,
            "uri": path,
            "querystring": {},
            "headers": {
                "x-murmuration-size": {"value": "1"},
                **({"content-length": {"value": str(size)}} if size is not None else {}),
            },
        }
        for method, path, size, _ in REQUESTS
    ]
    done = subprocess.run(
        ["node", "-e", _RUN, str(VIEWER), "0"],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
    )
    for (method, path, size, to), answer in zip(REQUESTS, json.loads(done.stdout), strict=True):
        length = [] if size is None else [(b"content-length", str(size).encode())]
        request = HttpRequest(method, path, "", [*length, (SIZE_HEADER, b"1")], "127.0.0.1", "HTTP/1.1")
        ours = forwarded(request)
        assert ours.path == answer["uri"] == (to or path)
        said = dict(ours.headers).get(SIZE_HEADER, b"").decode()
        assert said == answer["headers"].get("x-murmuration-size", {}).get("value", "")
        assert said == (str(size) if to else ""), "what the client itself says doesn't count"


# -- What the client is told -------------------------------------------------------------------------------


def answered(context: dict[str, str], bucket: str) -> tuple[int, Any]:
    import base64

    override: dict[str, Any] = {}
    known = {"authorizer": context, "responseOverride": override}
    text = render(uploads.template(), {}, 0, base64.b64encode(bucket.encode()).decode(), known)
    return int(override.get("status", 200)), json.loads(text)


def granted(status: int, body: Any) -> dict[str, str]:
    answer: Any = {"statusCode": status, "body": json.dumps(body)}
    found: dict[str, str] = placing({"methodArn": "arn:x"}, answer)["context"]
    return found


def test_what_is_stored_is_told_in_the_functions_words() -> None:
    uri = {"content_uri": "mxc://example.org/a-_b"}
    context = granted(200, {"object": "media/a-_b/c", "answer": uri})
    assert (context["folder"], context["media"], context["name"]) == ("media", "a-_b", "c")
    assert answered(context, "") == (200, uri)


@pytest.mark.parametrize("status", uploads.STATUSES)
def test_a_refusal_is_told_whatever_the_bucket_says(status: int) -> None:
    error = {"errcode": "M_LIMIT_EXCEEDED", "error": 'Wait, "you"', "retry_after_ms": 2000}
    context = granted(status, error)
    assert context["folder"] == REFUSED != uploads.FOLDER
    assert answered(context, "<Error><Code>AccessDenied</Code></Error>") == (status, error)


@pytest.mark.parametrize(
    ("code", "status"), [("PreconditionFailed", 409), ("ConditionalRequestConflict", 409), ("SlowDown", 503)]
)
def test_what_the_bucket_refuses(code: str, status: int) -> None:
    context = granted(200, {"object": "media/a/b", "answer": {}})
    told, body = answered(context, f"<Error><Code>{code}</Code></Error>")
    assert (told, body["errcode"].startswith("M_")) == (status, True)


# -- The whole way -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["http", pytest.param("rest", marks=pytest.mark.long)])
def cloud(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with local_cloud(tmp_path_factory.mktemp("cloud"), api=request.param) as made:
        yield made


@pytest.fixture(scope="module")
def headers(cloud: LocalCloud) -> dict[str, str]:
    body: Any = {"username": "alice", "password": "wonderland-1865", "auth": {"type": "m.login.dummy"}}
    answer = requests.post(f"{cloud.url}/_matrix/client/v3/register", json=body, timeout=90)
    return {"Authorization": f"Bearer {answer.json()['access_token']}", "Content-Type": "image/png"}


def data(size: int = 6_000_000) -> bytes:
    return bytes(range(250)) * (size // 250)


def test_a_photo_of_six_megabytes_goes_in_and_comes_out(cloud: LocalCloud, headers: dict[str, str]) -> None:
    answer = requests.post(
        f"{cloud.url}/_matrix/media/v3/upload?filename=a.png", data(), headers=headers, timeout=90
    )
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")
    name = answer.json()["content_uri"].removeprefix("mxc://")
    url = f"{cloud.url}/_matrix/client/v1/media/download/{name}"
    found = requests.get(url, headers=headers, timeout=90)
    assert found.content == data()
    assert [each.status_code for each in found.history] == [307]
    assert found.headers["Content-Type"] == "image/png"
    assert found.headers["Content-Disposition"] == 'inline; filename="a.png"'
    assert found.headers["Content-Security-Policy"].startswith("sandbox")
    part = requests.get(url, headers={**headers, "Range": "bytes=5999990-"}, timeout=90)
    assert (part.status_code, part.content) == (206, data()[-10:])
    assert part.headers["Content-Range"] == "bytes 5999990-5999999/6000000"


def test_a_created_id_takes_one_of_two(cloud: LocalCloud, headers: dict[str, str]) -> None:
    created = requests.post(f"{cloud.url}/_matrix/media/v1/create", headers=headers, timeout=90).json()
    url = f"{cloud.url}/_matrix/media/v3/upload/{created['content_uri'].removeprefix('mxc://')}"
    answers = [requests.put(url, data(), headers=headers, timeout=90) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 409]
    assert answers[0].json() == {}
    assert answers[1].json()["errcode"] == "M_CANNOT_OVERWRITE_MEDIA"


def test_what_is_refused_is_not_stored(cloud: LocalCloud, headers: dict[str, str]) -> None:
    requests.post(f"{cloud.url}/_matrix/media/v3/upload", data(), headers=headers, timeout=90)
    before = stored(cloud)
    assert before > 0
    url = f"{cloud.url}/_matrix/media/v3/upload"
    for more, status, errcode in (
        ({"Authorization": "Bearer mma_none"}, 401, "M_UNKNOWN_TOKEN"),
        ({"Authorization": ""}, 401, "M_MISSING_TOKEN"),
    ):
        answer = requests.post(url, data(), headers={**headers, **more}, timeout=90)
        assert (answer.status_code, answer.json()["errcode"]) == (status, errcode)
    answer = requests.post(f"{url}?filename={'x' * 2000}", data(), headers=headers, timeout=90)
    assert (answer.status_code, answer.json()["errcode"]) == (400, "M_INVALID_PARAM")
    answer = requests.post(url, data(10_000_250), headers=headers, timeout=90)
    assert (answer.status_code, answer.json()["errcode"]) == (413, "M_TOO_LARGE")
    answer = requests.post(url, data(11_000_000), headers=headers, timeout=90)
    assert (answer.status_code, answer.json()["errcode"]) == (413, "M_TOO_LARGE")
    assert stored(cloud) == before


def stored(cloud: LocalCloud) -> int:
    return sum(
        path.stat().st_size > 5_000_000
        for path in cloud.data.rglob("*")
        if path.parent.parent.name == "objects"
    )


def test_the_path_of_uploads_is_for_nobody_outside(cloud: LocalCloud, headers: dict[str, str]) -> None:
    for path in ("/uploads", "/%75ploads", "/x/../uploads"):
        answer = requests.post(f"{cloud.url}{path}", data(), headers=headers, timeout=90)
        assert (answer.status_code, answer.json()["errcode"]) == (404, "M_UNRECOGNIZED")


def test_the_limit_is_told(cloud: LocalCloud, headers: dict[str, str]) -> None:
    answer = requests.get(f"{cloud.url}/_matrix/client/v1/media/config", headers=headers, timeout=90)
    assert answer.json() == {"m.upload.size": 10_000_000}
