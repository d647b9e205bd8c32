"""Files on a server of ours or on a Synapse: the same requests go to either."""

from __future__ import annotations

import random
from dataclasses import dataclass
from io import BytesIO

import requests
from PIL import Image

from .people import Person

SECONDS = 120


@dataclass(frozen=True, slots=True)
class Got:
    """What a client gets when it asks for a file and follows redirects."""

    data: bytes
    content_type: str
    disposition: str

    @property
    def size(self) -> tuple[int, int]:
        """The size of a picture, (width, height)."""
        with Image.open(BytesIO(self.data)) as image:
            return image.size


def upload(person: Person, data: bytes, content_type: str, file_name: str = "") -> str:
    """Return the mxc: URI of an uploaded file."""
    query = {"filename": file_name} if file_name else {}
    headers = {**_token(person), "Content-Type": content_type}
    url = f"{person.url}/_matrix/media/v3/upload"
    answer = requests.post(url, data, params=query, headers=headers, timeout=SECONDS)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["content_uri"])


def fill(person: Person, uri: str, data: bytes, content_type: str) -> None:
    """Upload the file for an ID that was created before."""
    headers = {**_token(person), "Content-Type": content_type}
    url = f"{person.url}/_matrix/media/v3/upload/{uri.removeprefix('mxc://')}"
    answer = requests.put(url, data, headers=headers, timeout=SECONDS)
    assert answer.status_code == 200, answer.text


def ask(person: Person, what: str, uri: str, byte_range: str = "", **query: str) -> requests.Response:
    """Return the answer to `download` or `thumbnail`, whatever it is. Redirects are followed."""
    url = f"{person.url}/_matrix/client/v1/media/{what}/{uri.removeprefix('mxc://')}"
    headers = {**_token(person), **({"Range": byte_range} if byte_range else {})}
    return requests.get(url, params=query, headers=headers, timeout=SECONDS)


def get(person: Person, what: str, uri: str, **query: str) -> Got:
    """Return a file or its thumbnail."""
    answer = ask(person, what, uri, **query)
    assert answer.status_code == 200, answer.text[:500]
    headers = answer.headers
    return Got(answer.content, headers["Content-Type"], headers.get("Content-Disposition", ""))


def picture(width: int, height: int) -> bytes:
    """Return a PNG."""
    file = BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(file, "PNG")
    return file.getvalue()


def noise(size: int) -> bytes:
    """Return random bytes, so that a part in the wrong place is noticed."""
    return random.Random(size).randbytes(size)


def _token(person: Person) -> dict[str, str]:
    return {"Authorization": f"Bearer {person.token}"}
