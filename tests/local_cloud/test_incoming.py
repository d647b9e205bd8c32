"""Uploads by PUT that exceed API Gateway's limit, through CloudFront into the bucket."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from local_cloud.testing import LocalCloud, local_cloud

PIECE = bytes(range(250)) * 4_000
TIMEOUT_S = 120


@pytest.fixture(scope="module", params=["http", pytest.param("rest", marks=pytest.mark.long)])
def cloud(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with local_cloud(tmp_path_factory.mktemp("cloud"), api=request.param) as made:
        yield made


def register(cloud: LocalCloud, name: str) -> dict[str, str]:
    """Return the headers of a new user's requests."""
    body: Any = {"username": name, "password": "wonderland-1865", "auth": {"type": "m.login.dummy"}}
    answer = requests.post(f"{cloud.url}/_matrix/client/v3/register", json=body, timeout=TIMEOUT_S)
    return {"Authorization": f"Bearer {answer.json()['access_token']}", "Content-Type": "video/mp4"}


@pytest.fixture(scope="module")
def headers(cloud: LocalCloud) -> dict[str, str]:
    return register(cloud, "alice")


def create(cloud: LocalCloud, headers: dict[str, str]) -> str:
    answer = requests.post(f"{cloud.url}/_matrix/media/v1/create", headers=headers, timeout=TIMEOUT_S)
    uri: str = answer.json()["content_uri"]
    return uri.removeprefix("mxc://")


def put(
    cloud: LocalCloud, name: str, headers: dict[str, str], data: Any, query: str = ""
) -> requests.Response:
    url = f"{cloud.url}/_matrix/media/v3/upload/{name}{query}"
    return requests.put(url, data, headers=headers, timeout=TIMEOUT_S)


def get(cloud: LocalCloud, name: str, headers: dict[str, str]) -> requests.Response:
    url = f"{cloud.url}/_matrix/client/v1/media/download/{name}"
    return requests.get(url, headers=headers, timeout=TIMEOUT_S)


def file_of(folder: Path, megabytes: int) -> Path:
    """Return a file of this many megabytes, which requests sends piece by piece."""
    path = folder / "video.mp4"
    with path.open("wb") as file:
        for _ in range(megabytes):
            file.write(PIECE)
    return path


def test_a_video_goes_in_and_comes_out(cloud: LocalCloud, headers: dict[str, str], tmp_path: Path) -> None:
    name = create(cloud, headers)
    with file_of(tmp_path, 11).open("rb") as file:
        answer = put(cloud, name, headers, file, "?filename=a%20video.mp4")
    assert (answer.status_code, answer.json()) == (200, {})
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    found = get(cloud, name, headers)
    assert found.content == PIECE * 11
    assert found.headers["Content-Type"] == "video/mp4"
    assert found.headers["Content-Disposition"] == 'inline; filename="a video.mp4"'
    again = put(cloud, name, headers, PIECE * 12)
    assert again.status_code == 412, "S3 stores nothing over the object that is there"
    assert get(cloud, name, headers).content == PIECE * 11


def test_three_videos_of_sixty_megabytes_at_once(
    cloud: LocalCloud, headers: dict[str, str], tmp_path: Path
) -> None:
    """The gateway holds only a piece of each in memory."""
    video = file_of(tmp_path, 60)
    names = [create(cloud, headers) for _ in range(3)]
    before = peak_bytes(cloud)

    def upload(name: str) -> int:
        with video.open("rb") as file:
            return put(cloud, name, headers, file).status_code

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(upload, names)) == [200] * 3
    assert peak_bytes(cloud) - before < 60_000_000
    for name in names:
        found = get(cloud, name, headers)
        assert (len(found.content), found.content == PIECE * 60) == (60_000_000, True)
        assert [each.status_code for each in found.history] == [307]


def peak_bytes(cloud: LocalCloud) -> int:
    """Return the most memory that the server has used at a time."""
    lines = Path(f"/proc/{cloud.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def test_nobody_else_uploads_to_an_id(cloud: LocalCloud, headers: dict[str, str]) -> None:
    """Other users can't, even if they know the ID, since it may be in a room before the file is uploaded."""
    name = create(cloud, headers)
    mallory = register(cloud, "mallory")
    for found, status, errcode in (
        (mallory, 403, "M_FORBIDDEN"),
        ({"Authorization": ""}, 401, "M_MISSING_TOKEN"),
    ):
        answer = put(cloud, name, {**headers, **found}, PIECE * 11)
        assert (answer.status_code, answer.json()["errcode"]) == (status, errcode)
    answer = put(cloud, name, headers, PIECE * 101)
    assert (answer.status_code, answer.json()["errcode"]) == (413, "M_TOO_LARGE")
    answer = requests.post(
        f"{cloud.url}/_matrix/media/v3/upload", PIECE * 11, headers=headers, timeout=TIMEOUT_S
    )
    assert (answer.status_code, answer.json()["errcode"]) == (413, "M_TOO_LARGE")
    assert "100000000 by PUT" in answer.json()["error"]
    assert put(cloud, name, headers, PIECE * 11).status_code == 200


def test_what_was_logged_out_meanwhile_is_not_taken(cloud: LocalCloud, headers: dict[str, str]) -> None:
    carol = register(cloud, "carol")
    name = create(cloud, carol)
    requests.post(f"{cloud.url}/_matrix/client/v3/logout", headers=carol, timeout=TIMEOUT_S)
    assert put(cloud, name, carol, PIECE * 11).status_code == 200, "CloudFront reads no table"
    assert get(cloud, name, headers).status_code == 404


def test_an_upload_survives_a_restart_of_the_server(cloud: LocalCloud, headers: dict[str, str]) -> None:
    name = create(cloud, headers)
    assert put(cloud, name, headers, PIECE * 11).status_code == 200
    cloud.kill9()
    cloud.restart()
    assert get(cloud, name, headers).content == PIECE * 11
