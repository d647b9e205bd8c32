"""Large answers in the bucket can be fetched by their signed paths only, and only for a while."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest

from local_cloud.gateway.answers import is_signed
from murmuration.aws import objects
from murmuration.endpoint import Auth, endpoint
from tests.limits.conftest import BUCKET

BODY = {"text": "é" * 3_500_000}


def ask(method: str, **headers: str) -> Any:
    @endpoint(method, "/large", auth=Auth.NONE)
    def handler(_request: Any) -> Any:
        return BODY

    return handler({"httpMethod": method, "path": "/large", "headers": headers})


def split(location: str) -> tuple[str, dict[str, str]]:
    path, _, query = location.partition("?")
    return path, dict(parse_qsl(query))


@pytest.mark.parametrize(("method", "status"), [("GET", 307), ("POST", 303)])
def test_the_redirect_fits_the_method_and_leads_to_the_answer(method: str, status: int) -> None:
    answer = ask(method)
    assert answer["statusCode"] == status
    assert answer["headers"]["Cache-Control"] == "no-store"
    assert answer["headers"]["Access-Control-Allow-Origin"] == "*"
    path, query = split(answer["headers"]["Location"])
    assert is_signed(path, query, BUCKET, datetime.now(UTC))
    found = objects.get(path[1:])
    assert found is not None
    assert json.loads(found.data) == BODY
    assert found.content_type == "application/json"


def test_what_fits_compressed_is_not_redirected() -> None:
    assert ask("GET", **{"Accept-Encoding": "gzip"})["statusCode"] == 200


def test_a_path_is_good_for_its_object_and_its_time() -> None:
    path, query = split(ask("GET")["headers"]["Location"])
    now = datetime.now(UTC)
    assert not is_signed(path + "x", query, BUCKET, now)
    assert not is_signed(path, query, "another-bucket", now)
    assert not is_signed(path, query | {"X-Amz-Expires": "99999"}, BUCKET, now)
    assert not is_signed(path, {}, BUCKET, now)
    assert is_signed(path, query, BUCKET, now + timedelta(minutes=9))
    assert not is_signed(path, query, BUCKET, now + timedelta(minutes=11))


def test_an_answer_that_cannot_be_stored_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError("no bucket")

    monkeypatch.setattr(objects, "put", fail)
    assert ask("GET")["statusCode"] == 500
