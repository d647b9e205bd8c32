"""S3 on disk: bodies are files in the data folder, the index is in the local cloud's SQLite file.

A body is written and synced under its own name before the index names it, so an object is complete or
missing, whenever the process is stopped. A body that was replaced or deleted stays readable to everyone who
has it open.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from botocore.response import StreamingBody

from local_cloud.aws.files import write_file
from local_cloud.aws.patch import AwsError, Operation
from local_cloud.store import Store

if TYPE_CHECKING:
    from local_cloud.aws.shapes import (
        CompleteUpload,
        CopyObject,
        DeleteObjects,
        ListObjects,
        OfBucket,
        OfObject,
        OfUpload,
        Parsed,
        PutObject,
        UploadPart,
    )

CHUNK = 1024 * 1024
INCOMING = "incoming/"
"""The objects for which the deployment's bucket queues messages."""
OnStored = Callable[[str, int, str], None]

_PROPERTIES = (
    "ContentType",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "CacheControl",
    "Metadata",
)


class S3:
    """The buckets, and the operations on objects that a media repository needs."""

    def __init__(self, store: Store, folder: Path, on_incoming: OnStored | None = None) -> None:
        """Make the service. `on_incoming` is called with each object that is put below `incoming/`: key, size
        and ETag.
        """
        self._store = store
        self._folder = folder
        self._on_incoming = on_incoming

    def operations(self) -> dict[str, Operation]:
        return {
            "CreateBucket": self.create_bucket,
            "HeadBucket": self.head_bucket,
            "PutObject": self.put_object,
            "GetObject": self.get_object,
            "HeadObject": self.head_object,
            "DeleteObject": self.delete_object,
            "DeleteObjects": self.delete_objects,
            "CopyObject": self.copy_object,
            "ListObjectsV2": self.list_objects_v2,
            "CreateMultipartUpload": self.create_multipart_upload,
            "UploadPart": self.upload_part,
            "CompleteMultipartUpload": self.complete_multipart_upload,
            "AbortMultipartUpload": self.abort_multipart_upload,
        }

    # Buckets

    def create_bucket(self, params: OfBucket) -> Parsed:
        self._store.write("INSERT OR IGNORE INTO buckets VALUES (?, ?)", (params["Bucket"], time.time()))
        return {"Location": f"/{params['Bucket']}"}

    def head_bucket(self, params: OfBucket) -> Parsed:
        if not self._has_bucket(params["Bucket"]):
            raise AwsError("404", "Not Found", 404)
        return {}

    def _has_bucket(self, bucket: str) -> bool:
        return self._store.row("SELECT 1 FROM buckets WHERE name = ?", (bucket,)) is not None

    # Objects

    def put_object(self, params: PutObject) -> Parsed:
        content = _content(params.get("Body", b""))
        file, size, etag = self._write(content)
        self._index(params, file, size, etag, _properties(params))
        if self._on_incoming is not None and params["Key"].startswith(INCOMING):
            self._on_incoming(params["Key"], size, etag)
        return {"ETag": f'"{etag}"'}

    def _write(self, content: Iterable[bytes]) -> tuple[str, int, str]:
        name = uuid.uuid4().hex
        digest, size = hashlib.md5(usedforsecurity=False), 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for chunk in content:
                digest.update(chunk)
                size += len(chunk)
                yield chunk

        write_file(self._path(name), counted())
        return name, size, digest.hexdigest()

    def _path(self, file: str) -> Path:
        return self._folder / file[:2] / file

    def _index(self, params: OfObject, file: str, size: int, etag: str, properties: Parsed) -> None:
        """Make `file` the object's body, and delete the previous one. Honours If-None-Match: * and
        If-Match.
        """
        bucket, key = params["Bucket"], params["Key"]
        with self._store.transaction():
            before = self._store.row(
                "SELECT file, etag FROM objects WHERE bucket = ? AND key = ?", (bucket, key)
            )
            refused = self._refusal(params, before)
            if refused is None:
                self._store.write(
                    "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (bucket, key, file, size, etag, time.time(), json.dumps(properties)),
                )
        if refused is not None:
            self._path(file).unlink(missing_ok=True)
            raise refused
        if before is not None:
            self._path(before[0]).unlink(missing_ok=True)

    def _refusal(self, params: OfObject, before: tuple[Any, ...] | None) -> AwsError | None:
        if not self._has_bucket(params["Bucket"]):
            return AwsError("NoSuchBucket", "The specified bucket does not exist", 404)
        if params.get("IfNoneMatch") == "*" and before is not None:
            return AwsError(
                "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", 412
            )
        if "IfMatch" in params and (before is None or before[1] != params["IfMatch"].strip('"')):
            return AwsError(
                "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", 412
            )
        return None

    def _find(self, bucket: str, key: str) -> tuple[Any, ...] | None:
        return self._store.row(
            "SELECT file, size, etag, modified, properties FROM objects WHERE bucket = ? AND key = ?",
            (bucket, key),
        )

    def get_object(self, params: OfObject) -> Parsed:
        while True:
            found = self._find(params["Bucket"], params["Key"])
            if found is None:
                if not self._has_bucket(params["Bucket"]):
                    raise AwsError("NoSuchBucket", "The specified bucket does not exist", 404)
                raise AwsError("NoSuchKey", "The specified key does not exist.", 404)
            answer, first, last = _described(found, params)
            try:
                body = self._path(found[0]).open("rb")
            except FileNotFoundError:
                continue  # it was replaced between the two reads
            body.seek(first)
            length = last - first + 1
            return {**answer, "Body": StreamingBody(_Window(body, length), length)}

    def head_object(self, params: OfObject) -> Parsed:
        found = self._find(params["Bucket"], params["Key"])
        if found is None:
            raise AwsError("404", "Not Found", 404)
        return _described(found, params)[0]

    def delete_object(self, params: OfObject) -> Parsed:
        with self._store.transaction():
            found = self._find(params["Bucket"], params["Key"])
            self._store.write(
                "DELETE FROM objects WHERE bucket = ? AND key = ?", (params["Bucket"], params["Key"])
            )
        if found is not None:
            self._path(found[0]).unlink(missing_ok=True)
        return {}

    def delete_objects(self, params: DeleteObjects) -> Parsed:
        keys = [entry["Key"] for entry in params["Delete"]["Objects"]]
        for key in keys:
            self.delete_object({"Bucket": params["Bucket"], "Key": key})
        return {} if params["Delete"].get("Quiet") else {"Deleted": [{"Key": key} for key in keys]}

    def copy_object(self, params: CopyObject) -> Parsed:
        source = params["CopySource"]
        if isinstance(source, dict):
            bucket, key = source["Bucket"], source["Key"]
        else:
            bucket, _, key = unquote(source.lstrip("/")).partition("/")
        wanted: OfObject = {"Bucket": bucket, "Key": key}
        if "CopySourceIfMatch" in params:
            wanted["IfMatch"] = params["CopySourceIfMatch"]
        original = self.get_object(wanted)
        file, size, etag = self._write(original["Body"].iter_chunks(CHUNK))
        replaced = params.get("MetadataDirective") == "REPLACE"
        self._index(params, file, size, etag, _properties(params if replaced else original))
        return {"CopyObjectResult": {"ETag": f'"{etag}"', "LastModified": datetime.now(UTC)}}

    def list_objects_v2(self, params: ListObjects) -> Parsed:
        if not self._has_bucket(params["Bucket"]):
            raise AwsError("NoSuchBucket", "The specified bucket does not exist", 404)
        prefix, delimiter, limit = (
            params.get("Prefix", ""),
            params.get("Delimiter"),
            params.get("MaxKeys", 1000),
        )
        after = params.get("ContinuationToken") or params.get("StartAfter", "")
        contents: list[Parsed] = []
        common: list[str] = []
        token = None
        for key, size, etag, modified in self._keys(params["Bucket"], prefix, after):
            group = None
            if delimiter and delimiter in key[len(prefix) :]:
                group = prefix + key[len(prefix) :].split(delimiter, 1)[0] + delimiter
                if common and common[-1] == group:
                    after = key
                    continue
            if len(contents) + len(common) == limit:
                token = after
                break
            after = key
            if group is not None:
                common.append(group)
            else:
                stamp = datetime.fromtimestamp(modified, UTC)
                contents.append({"Key": key, "Size": size, "ETag": f'"{etag}"', "LastModified": stamp})
        answer: Parsed = {
            "Name": params["Bucket"],
            "Prefix": prefix,
            "MaxKeys": limit,
            "KeyCount": len(contents) + len(common),
            "IsTruncated": token is not None,
        }
        if contents:
            answer["Contents"] = contents
        if common:
            answer["CommonPrefixes"] = [{"Prefix": group} for group in common]
        if token is not None:
            answer["NextContinuationToken"] = token
        return answer

    def _keys(self, bucket: str, prefix: str, after: str) -> Iterator[tuple[Any, ...]]:
        while page := self._store.rows(
            "SELECT key, size, etag, modified FROM objects WHERE bucket = ? AND key > ? AND key >= ?"
            " ORDER BY key LIMIT 1000",
            (bucket, after, prefix),
        ):
            for row in page:
                if not row[0].startswith(prefix):
                    return
                yield row
            after = page[-1][0]

    # Multipart uploads

    def create_multipart_upload(self, params: PutObject) -> Parsed:
        upload = uuid.uuid4().hex
        self._store.write(
            "INSERT INTO uploads VALUES (?, ?, ?, ?)",
            (upload, params["Bucket"], params["Key"], json.dumps(_properties(params))),
        )
        return {"Bucket": params["Bucket"], "Key": params["Key"], "UploadId": upload}

    def _upload(self, params: OfUpload) -> Parsed:
        found = self._store.row("SELECT properties FROM uploads WHERE id = ?", (params["UploadId"],))
        if found is None:
            raise AwsError("NoSuchUpload", "The specified upload does not exist.", 404)
        properties: Parsed = json.loads(found[0])
        return properties

    def upload_part(self, params: UploadPart) -> Parsed:
        self._upload(params)
        file, size, etag = self._write(_content(params.get("Body", b"")))
        self._store.write(
            "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?)",
            (params["UploadId"], params["PartNumber"], file, size, etag),
        )
        return {"ETag": f'"{etag}"'}

    def complete_multipart_upload(self, params: CompleteUpload) -> Parsed:
        properties = self._upload(params)
        parts = {
            number: (file, etag)
            for number, file, etag in self._store.rows(
                "SELECT number, file, etag FROM parts WHERE upload = ? ORDER BY number", (params["UploadId"],)
            )
        }
        files, digests = [], b""
        for part in params.get("MultipartUpload", {}).get("Parts", ()):
            file, etag = parts.get(part["PartNumber"], ("", ""))
            if etag != part["ETag"].strip('"'):
                raise AwsError("InvalidPart", "One or more of the specified parts could not be found.")
            files.append(file)
            digests += bytes.fromhex(etag)
        file, size, _ = self._write(chunk for name in files for chunk in _chunks(self._path(name)))
        etag = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(files)}"
        self._index(params, file, size, etag, properties)
        self.abort_multipart_upload(params)
        return {"Bucket": params["Bucket"], "Key": params["Key"], "ETag": f'"{etag}"'}

    def abort_multipart_upload(self, params: OfUpload) -> Parsed:
        upload = params["UploadId"]
        with self._store.transaction():
            files = self._store.rows("SELECT file FROM parts WHERE upload = ?", (upload,))
            self._store.write("DELETE FROM parts WHERE upload = ?", (upload,))
            self._store.write("DELETE FROM uploads WHERE id = ?", (upload,))
        for (file,) in files:
            self._path(file).unlink(missing_ok=True)
        return {}


class _Window(io.RawIOBase):
    """The next `length` bytes of an open file."""

    def __init__(self, file: io.BufferedReader, length: int) -> None:
        self._file = file
        self._left = length

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0 or size > self._left:
            size = self._left
        if not size:
            return b""
        data = self._file.read(size)
        self._left -= len(data)
        if not self._left:
            self._file.close()
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _content(body: Any) -> Iterator[bytes]:
    if isinstance(body, str):
        body = body.encode()
    if isinstance(body, (bytes, bytearray)):
        yield bytes(body)
        return
    if hasattr(body, "seek"):
        body.seek(0)
    while chunk := body.read(CHUNK):
        yield chunk


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _properties(params: Mapping[str, Any]) -> Parsed:
    return {
        "ContentType": "binary/octet-stream",
        **{name: params[name] for name in _PROPERTIES if name in params},
    }


def _described(found: tuple[Any, ...], params: OfObject) -> tuple[Parsed, int, int]:
    """Return the answer without its body, and the first and last requested byte. Raises AwsError."""
    _, size, etag, modified, properties = found
    if "IfMatch" in params and params["IfMatch"].strip('"') != etag:
        raise AwsError(
            "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", 412
        )
    if params.get("IfNoneMatch", "").strip('"') == etag:
        raise AwsError("304", "Not Modified", 304)
    answer = {
        "Metadata": {},
        **json.loads(properties),
        "ETag": f'"{etag}"',
        "LastModified": datetime.fromtimestamp(int(modified), UTC),
        "AcceptRanges": "bytes",
    }
    first, last = 0, size - 1
    if wanted := params.get("Range"):
        first, last = _range(wanted, size)
        answer["ContentRange"] = f"bytes {first}-{last}/{size}"
    answer["ContentLength"] = last - first + 1
    return answer, first, last


def _range(wanted: str, size: int) -> tuple[int, int]:
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
    if match is None or match.groups() == ("", ""):
        return 0, size - 1
    start, end = match.groups()
    if not start:
        first, last = max(0, size - int(end)), size - 1
    else:
        first, last = int(start), min(int(end), size - 1) if end else size - 1
    if first > last or first >= size:
        raise AwsError("InvalidRange", "The requested range is not satisfiable", 416)
    return first, last
