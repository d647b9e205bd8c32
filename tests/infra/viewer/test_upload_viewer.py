"""The function that runs in CloudFront at uploads to created media IDs, and the one at their answers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from infra_cdk.on_deploy import make_secrets
from infra_cdk.parts.edge import PARKING, UPLOAD_RESPONSE, upload_viewer_code, viewer_code, without_comments
from infra_cdk.settings import Settings
from local_cloud.gateway.events import HttpRequest
from local_cloud.gateway.incoming import Accepted, Refused, Rules, decide
from murmuration.endpoint.http import CORS_HEADERS
from murmuration.media.incoming.signed_ids import new_signed_id, upload_key
from tests.infra.viewer.test_viewer import APIS, View, code_for, viewing

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
NOW = 1_800_000_000_000
KEY = upload_key("the viewer side's")
NAME = "example.org:8448"
TOKEN = "mma_YWxpY2U.REVWSUNF.secret.c0ffee"
MEDIA_ID = new_signed_id(KEY, NAME, TOKEN, NOW // 1000 + 1)
RULES = Rules(NAME, KEY, 100_000_000)
SIZE = "60000000"
AUTHORIZED = {"authorization": f"Bearer {TOKEN}", "content-length": SIZE}


def path(media_id: str = MEDIA_ID, server: str = NAME, version: str = "v3") -> str:
    return f"/_matrix/media/{version}/upload/{server}/{media_id}"


def settings(**more: Any) -> Settings:
    return Settings(server_name=NAME, **more)


@pytest.fixture(scope="module", params=APIS)
def view(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    code = upload_viewer_code(settings(api=request.param), KEY)
    with viewing(code, tmp_path_factory.mktemp("viewer")) as found:
        yield found


@pytest.fixture(scope="module")
def response_view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    code = without_comments(UPLOAD_RESPONSE.read_text())
    with viewing(code, tmp_path_factory.mktemp("viewer")) as found:
        yield found


def test_the_bucket_gets_body_type_and_name_and_nothing_else(view: View) -> None:
    """S3 would accept other headers of a client, which could set a storage class or copy another object."""
    headers = {
        **AUTHORIZED,
        "host": "example.org",
        "content-type": "video/mp4",
        "content-encoding": "gzip",
        "content-disposition": "inline",
        "content-md5": "x",
        "cookie": "a=b",
        "if-match": "*",
        "if-none-match": '"x"',
        "range": "bytes=1-2",
        "x-amz-acl": "public-read",
        "x-amz-content-sha256": "x",
        "x-amz-copy-source": "bucket/media/a/b",
        "x-amz-meta-a": "b",
        "x-amz-storage-class": "DEEP_ARCHIVE",
        "x-amz-tagging": "a=b",
        "x-amz-website-redirect-location": "https://example.com",
        "x-http-method-override": "DELETE",
        "x-murmuration-size": "1",
    }
    query = "?filename=a%20b%C3%B6%22%0D%0Ac.mp4&acl&uploadId=1&X-Amz-Security-Token=x"
    found = view(path() + query, "PUT", at=NOW, **headers)
    assert found.pop("origin") == "incoming"
    assert (found["method"], found["uri"]) == ("PUT", f"/incoming/{MEDIA_ID}")
    assert (found["querystring"], found["cookies"]) == ({}, {})
    assert {name: entry["value"] for name, entry in found["headers"].items()} == {
        "content-length": SIZE,
        "content-type": "video/mp4",
        "content-disposition": "attachment; filename*=utf-8''a%20b%C3%B6%22%0D%0Ac.mp4",
        "host": "example.org",
        "if-none-match": "*",
    }


def test_bytes_without_type_and_name_have_none(view: View) -> None:
    found = view(path(), "PUT", at=NOW, **AUTHORIZED)
    assert {name: entry["value"] for name, entry in found["headers"].items()} == {
        "content-length": SIZE,
        "content-type": "application/octet-stream",
        "if-none-match": "*",
    }


def changed(media_id: str, place: int) -> str:
    """Return the ID with another character at a place."""
    return media_id[:place] + ("b" if media_id[place] == "a" else "a") + media_id[place + 1 :]


REQUESTS: dict[str, tuple[str, dict[str, str], int]] = {
    "good": (path(), {}, 200),
    "good by r0": (path(version="r0"), {}, 200),
    "good, with the server's name encoded": (path(server="example.org%3A8448"), {}, 200),
    "good, as large as it may be": (path(), {"content-length": "100000000"}, 200),
    "good, with a name": (path() + "?filename=it%27s%20(a)*!%2B+%C3%B6", {}, 200),
    "good, with the token in the query": (path() + f"?access_token={TOKEN}", {"authorization": ""}, 200),
    "good, in other letters": (path(), {"authorization": f"bearer  {TOKEN} "}, 200),
    "too large": (path(), {"content-length": "100000001"}, 413),
    "to an unsigned ID": (path("a" * 24), {}, 413),
    "to an ID with more": (path(MEDIA_ID + "a"), {}, 413),
    "to an ID with something encoded": (path("%61" + MEDIA_ID[1:]), {}, 413),
    "without a token": (path(), {"authorization": ""}, 401),
    "with another scheme": (path(), {"authorization": f"Basic {TOKEN}"}, 401),
    "with another token": (path(), {"authorization": f"Bearer {TOKEN}x"}, 403),
    "with two tokens": (path() + f"?access_token={TOKEN}", {"authorization": "Bearer x"}, 403),
    "of another server": (path(server="example.org"), {}, 404),
    "expired": (path(new_signed_id(KEY, NAME, TOKEN, NOW // 1000)), {}, 404),
    "signed with another key": (path(new_signed_id(upload_key(""), NAME, TOKEN, NOW // 1000 + 1)), {}, 403),
    "with another random part": (path(changed(MEDIA_ID, 0)), {}, 403),
    "with a later end": (path(MEDIA_ID[:24] + "9999999999" + MEDIA_ID[34:]), {}, 403),
    "with another first character of the signature": (path(changed(MEDIA_ID, 34)), {}, 403),
    "with another last character of the signature": (path(changed(MEDIA_ID, 55)), {}, 403),
    "with too long a name": (path() + f"?filename={'%C3%B6' * 513}", {}, 400),
    "with a name that isn't UTF-8": (path() + "?filename=%FF", {}, 400),
    "of a server that isn't UTF-8": (path(server="%FF"), {}, 400),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_who_may_upload(view: View, name: str) -> None:
    uri, more, status = REQUESTS[name]
    headers = {name: value for name, value in {**AUTHORIZED, **more}.items() if value}
    found = view(uri, "PUT", at=NOW, **headers)
    at, _, query = uri.partition("?")
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    ours = decide(HttpRequest("PUT", at, query, raw, "192.0.2.1", "HTTP/1.1"), RULES, NOW)
    if status == 200:
        assert found["origin"] == "incoming"
        assert isinstance(ours, Accepted)
        sent = found["headers"]
        assert ours == Accepted(
            found["uri"].removeprefix("/"),
            sent["content-type"]["value"],
            sent.get("content-disposition", {"value": ""})["value"],
        )
        return
    assert "origin" not in found
    assert found["statusCode"] == status
    assert found["headers"]["access-control-allow-origin"] == {"value": "*"}
    assert isinstance(ours, Refused)
    assert (ours.status, json.loads(ours.response()[2])) == (status, json.loads(found["body"]))


def test_what_is_smaller_goes_on_as_before(view: View) -> None:
    small = view(path(), "PUT", at=NOW, **(AUTHORIZED | {"content-length": "4194304"}))
    assert (small["method"], small.get("origin")) == ("PUT", None)
    assert small["uri"] == path()
    middling = view(path(), "PUT", at=NOW, **(AUTHORIZED | {"content-length": "10000000"}))
    assert middling["uri"] == f"/uploads/{NAME}/{MEDIA_ID}"
    assert middling.get("origin") in (None, PARKING)
    for method in ("POST", "GET", "DELETE"):
        assert view(path(), method, at=NOW, **AUTHORIZED).get("origin") is None


def test_a_post_of_more_than_the_gateway_takes_is_told_the_other_way(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    for api in APIS:
        with viewing(code_for(api), tmp_path_factory.mktemp("viewer")) as view:
            answer = view("/_matrix/media/v3/upload", "POST", **{"content-length": "10000001"})
            assert (answer["statusCode"], answer["statusDescription"]) == (413, "Content Too Large")
            error = json.loads(answer["body"])
            assert error["errcode"] == "M_TOO_LARGE"
            assert "10000000 bytes, and 100000000 by PUT" in error["error"]
            assert (
                view("/_matrix/media/v3/upload", "POST", **{"content-length": "10000000"})["uri"]
                == "/uploads"
            )


@pytest.mark.parametrize("off", [{"media_put_max_bytes": 0}, {"media_max_bytes": 9_999_999}])
def test_where_it_is_off_the_gateway_refuses(off: dict[str, int], tmp_path: Any) -> None:
    with viewing(upload_viewer_code(settings(**off), KEY), tmp_path) as view:
        found = view(path(), "PUT", at=NOW, **AUTHORIZED)
        assert (found["uri"], found["origin"]) == (f"/uploads/{NAME}/{MEDIA_ID}", PARKING)


@pytest.mark.parametrize("api", APIS)
def test_the_functions_are_small_enough(api: Any) -> None:
    """A CloudFront function may have 10 KB."""
    for code in (upload_viewer_code(settings(api=api), KEY), without_comments(UPLOAD_RESPONSE.read_text())):
        assert len(code.encode()) < 9_000
        assert not any(line.startswith(("//", " ")) for line in code.splitlines())


def test_only_the_uploads_function_has_the_key() -> None:
    assert KEY in upload_viewer_code(settings(), KEY)
    assert "UPLOAD_KEY" not in viewer_code(settings())
    assert "parked" not in upload_viewer_code(settings(), KEY).replace("'parked'", "")


def test_the_deployment_makes_the_same_key_as_functions() -> None:
    assert make_secrets._upload_key("the viewer side's") == KEY


# -- Answers -----------------------------------------------------------------------------------------------


def answered(view: View, status: int, **headers: str) -> Any:
    found = {name.replace("_", "-"): {"value": value} for name, value in headers.items()}
    return view(path(), "PUT", {"statusCode": status, "headers": found, "cookies": {"a": {"value": "b"}}})


def test_the_buckets_answer_becomes_the_specifications(response_view: View) -> None:
    answer = answered(
        response_view, 200, date="Fri", etag='"x"', content_length="0", x_amz_server_side_encryption="AES256"
    )
    assert answer["body"] == {"encoding": "text", "data": "{}"}
    assert answer["cookies"] == {}
    headers = {name: entry["value"] for name, entry in answer["headers"].items()}
    assert headers.pop("date") == "Fri"
    assert headers == {name.lower(): value for name, value in CORS_HEADERS.items()} | {
        "content-type": "application/json",
        "content-length": "2",
    }


def test_functions_answers_stay_as_they_are(response_view: View) -> None:
    for status in (200, 304, 400, 409):
        answer = answered(response_view, status, content_type="application/json", etag="x")
        assert (answer["statusCode"], "body" in answer) == (status, False)
        assert sorted(answer["headers"]) == ["content-type", "etag"]
