"""Two local clouds exchange media over TLS, as deployed servers do."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from local_cloud.database.dynoxide import DynoxideError, find_binary
from local_cloud.federate.certificates import Authority
from local_cloud.testing import LocalCloud
from tests.federation.clouds import start
from tests.federation.media.test_fetching import picture

SECONDS = 60


@pytest.fixture(scope="module", autouse=True)
def _needs_dynoxide() -> None:
    try:
        find_binary()
    except DynoxideError as error:
        pytest.skip(str(error))


class User:
    """A user of one of the clouds."""

    def __init__(self, cloud: LocalCloud, name: str) -> None:
        self.url = cloud.url
        body: Any = {"username": name, "password": "wonderland-1865", "auth": {"type": "m.login.dummy"}}
        answer = requests.post(f"{self.url}/_matrix/client/v3/register", json=body, timeout=SECONDS)
        self._headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def upload(self, data: bytes, kind: str) -> str:
        """Upload a file, and return the part of its mxc: URI after the scheme."""
        headers = {**self._headers, "Content-Type": kind}
        url = f"{self.url}/_matrix/media/v3/upload"
        answer = requests.post(url, data, headers=headers, timeout=SECONDS)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["content_uri"]).removeprefix("mxc://")

    def get(self, what: str, name: str, **more: str) -> requests.Response:
        url = f"{self.url}/_matrix/client/v1/media/{what}/{name}"
        return requests.get(url, headers={**self._headers, **more}, timeout=SECONDS)


@pytest.fixture(scope="module")
def users(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[User]]:
    clouds: list[LocalCloud] = []
    try:
        for _ in range(2):
            clouds.append(start(Path(tmp_path_factory.mktemp("cloud")), authority))
        yield [User(cloud, f"user{number}") for number, cloud in enumerate(clouds)]
    finally:
        for cloud in clouds:
            cloud.stop()


def test_a_large_file_goes_across(users: list[User]) -> None:
    """It is returned as a signed URL, from which the other server downloads it."""
    data = bytes(range(250)) * 36_000
    for here, there in (users, users[::-1]):
        name = here.upload(data, "video/mp4")
        for _ in range(2):
            found = there.get("download", name)
            assert found.content == data
            assert found.headers["Content-Type"] == "video/mp4"
            assert [each.status_code for each in found.history] == [307]
        part = there.get("download", name, Range="bytes=8999000-")
        assert (part.status_code, part.content) == (206, data[-1000:])


def test_an_avatar_has_thumbnails_on_the_other_side(users: list[User]) -> None:
    here, there = users
    name = here.upload(picture(1200, 900), "image/png")
    found = there.get("thumbnail", f"{name}?width=96&height=96&method=crop")
    with Image.open(BytesIO(found.content)) as image:
        assert image.size == (96, 96)


def test_what_the_other_does_not_have(users: list[User]) -> None:
    here, there = users
    name = here.upload(b"text", "text/plain")
    unknown = f"{name.partition('/')[0]}/nothing"
    answer = there.get("download", unknown)
    assert (answer.status_code, answer.json()["errcode"]) == (404, "M_NOT_FOUND")
