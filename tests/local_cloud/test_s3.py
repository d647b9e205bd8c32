from __future__ import annotations

import io
import threading

import pytest
from botocore.exceptions import ClientError

BUCKET = "media"


@pytest.fixture
def s3(make_client):
    client = make_client("s3")
    client.create_bucket(Bucket=BUCKET)
    return client


def body(s3, key, **options):
    return s3.get_object(Bucket=BUCKET, Key=key, **options)["Body"].read()


def test_put_get_head_delete(s3):
    put = s3.put_object(
        Bucket=BUCKET, Key="a/b ö", Body=b"content", ContentType="image/png", Metadata={"who": "alice"}
    )
    got = s3.get_object(Bucket=BUCKET, Key="a/b ö")
    assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (
        b"content",
        "image/png",
        {"who": "alice"},
    )
    assert got["ETag"] == put["ETag"] == '"9a0364b9e99bb480dd25e1f0284c8555"'
    assert s3.head_object(Bucket=BUCKET, Key="a/b ö")["ContentLength"] == 7
    s3.delete_object(Bucket=BUCKET, Key="a/b ö")
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=BUCKET, Key="a/b ö")
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket=BUCKET, Key="a/b ö")


def test_no_bucket(s3):
    with pytest.raises(s3.exceptions.NoSuchBucket):
        s3.put_object(Bucket="none", Key="k", Body=b"")


def test_bodies_from_files_and_in_chunks(s3):
    s3.put_object(Bucket=BUCKET, Key="k", Body=io.BytesIO(b"x" * 3_000_000))
    chunks = list(s3.get_object(Bucket=BUCKET, Key="k")["Body"].iter_chunks(1_000_000))
    assert [len(chunk) for chunk in chunks] == [1_000_000] * 3


@pytest.mark.parametrize(
    ("wanted", "content", "told"),
    [
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
    ],
)
def test_ranges(s3, wanted, content, told):
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"0123456789")
    got = s3.get_object(Bucket=BUCKET, Key="k", Range=wanted)
    assert (got["Body"].read(), got["ContentRange"], got["ContentLength"]) == (content, told, len(content))


def test_a_range_past_the_end_is_refused(s3):
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"0123456789")
    with pytest.raises(ClientError, match="InvalidRange"):
        s3.get_object(Bucket=BUCKET, Key="k", Range="bytes=10-")


def test_conditional_puts_have_one_winner(s3):
    refused = []

    def put(number):
        try:
            s3.put_object(Bucket=BUCKET, Key="k", Body=str(number).encode(), IfNoneMatch="*")
        except ClientError as error:
            refused.append(error.response["Error"]["Code"])

    threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["PreconditionFailed"] * 7


def test_a_replaced_body_stays_readable_and_leaves_no_file(s3, tmp_path):
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"old")
    old = s3.get_object(Bucket=BUCKET, Key="k")["Body"]
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"new")
    assert old.read() == b"old"
    assert body(s3, "k") == b"new"
    assert len([path for path in (tmp_path / "objects").rglob("*") if path.is_file()]) == 1


def test_copies(s3):
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"content", ContentType="image/png")
    s3.copy_object(Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": "k"})
    assert s3.head_object(Bucket=BUCKET, Key="copy")["ContentType"] == "image/png"
    assert body(s3, "copy") == b"content"


def test_lists_by_prefix_delimiter_and_page(s3):
    keys = ["a", "b/1", "b/2", "b/c/3", "d"]
    for key in keys:
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"")

    def listed(**options):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, **options)
        found = [
            entry.get("Key") or entry.get("Prefix")
            for page in pages
            for entry in page.get("Contents", []) + page.get("CommonPrefixes", [])
        ]
        return sorted(found)

    for size in (1, 2, 1000):
        pages = {"PaginationConfig": {"PageSize": size}}
        assert listed(**pages) == keys
        assert listed(Prefix="b/", **pages) == ["b/1", "b/2", "b/c/3"]
        assert listed(Delimiter="/", **pages) == ["a", "b/", "d"]
        assert listed(Prefix="b/", Delimiter="/", **pages) == ["b/1", "b/2", "b/c/"]


def test_multipart_uploads(s3):
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="k", ContentType="video/mp4")["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(
                Bucket=BUCKET, Key="k", UploadId=upload, PartNumber=number, Body=bytes([number])
            )["ETag"],
        }
        for number in (1, 2)
    ]
    s3.complete_multipart_upload(Bucket=BUCKET, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
    assert body(s3, "k") == b"\x01\x02"
    assert s3.head_object(Bucket=BUCKET, Key="k")["ContentType"] == "video/mp4"
    with pytest.raises(ClientError, match="NoSuchUpload"):
        s3.upload_part(Bucket=BUCKET, Key="k", UploadId=upload, PartNumber=3, Body=b"")


def test_objects_are_there_for_the_next_process(s3, make_client):
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"content", Metadata={"a": "b"})
    again = make_client("s3")
    got = again.get_object(Bucket=BUCKET, Key="k")
    assert (got["Body"].read(), got["Metadata"]) == (b"content", {"a": "b"})


def test_a_copy_of_what_has_changed_is_refused(s3):
    put = s3.put_object(Bucket=BUCKET, Key="a", Body=b"one")
    source = {"Bucket": BUCKET, "Key": "a"}
    s3.copy_object(Bucket=BUCKET, Key="b", CopySource=source, CopySourceIfMatch=put["ETag"])
    s3.put_object(Bucket=BUCKET, Key="a", Body=b"two")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.copy_object(Bucket=BUCKET, Key="c", CopySource=source, CopySourceIfMatch=put["ETag"])
    assert body(s3, "b") == b"one"
