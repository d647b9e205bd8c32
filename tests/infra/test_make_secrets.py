"""The function that CloudFormation calls for the deployment's secrets, with moto's SSM and S3."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from infra_cdk.on_deploy import make_secrets
from infra_cdk.parts.secrets import LONGEST_RUN_S, LONGEST_WAIT_S

PREFIX, BUCKET = "murmuration-try", "murmuration-try-media"


class Context:
    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return self.seconds * 1000


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """Yield the answers to CloudFormation. The account has a bucket."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "nobody's")
    for name in [name for name in os.environ if name.startswith("AWS_ENDPOINT_URL")]:
        monkeypatch.delenv(name)  # the database of other tests
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    found: list[dict[str, Any]] = []

    class Answered:
        def __enter__(self) -> None:
            """Do nothing."""

        def __exit__(self, *_: object) -> None:
            """Do nothing."""

    def urlopen(request: Any, timeout: int) -> Answered:
        assert (request.full_url, request.get_method()) == ("https://cloudformation.example/answer", "PUT")
        found.append(json.loads(request.data))
        return Answered()

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield found


def ask(kind: str, *, ephemeral: bool = True, seconds: int = LONGEST_RUN_S, bucket: str = BUCKET) -> None:
    properties = {"Prefix": PREFIX, "Bucket": bucket, "Ephemeral": "true" if ephemeral else "false"}
    event: Any = {
        "RequestType": kind,
        "ResourceProperties": properties,
        "StackId": "stack",
        "RequestId": "request",
        "LogicalResourceId": "Secrets",
        "ResponseURL": "https://cloudformation.example/answer",
    }
    make_secrets.handler(event, Context(seconds))


def names() -> set[str]:
    found = boto3.client("ssm").get_parameters_by_path(Path=f"/{PREFIX}", Recursive=True)["Parameters"]
    return {each["Name"].rpartition("/")[2] for each in found}


def objects() -> int:
    return int(boto3.client("s3").list_objects_v2(Bucket=BUCKET)["KeyCount"])


def test_secrets_are_made_once_and_told_again(answers: list[dict[str, Any]]) -> None:
    ask("Create")
    ask("Update")
    first, second = answers
    assert first["Status"] == second["Status"] == "SUCCESS"
    assert first["Data"] == second["Data"]
    assert first["NoEcho"] is True
    assert set(first["Data"]) == {"ViewerSecret", "QueueSecret", "UploadKey"}
    assert names() == {"signing-key", "viewer-secret", "queue-secret"}


def test_a_try_goes_with_its_media_and_secrets(answers: list[dict[str, Any]]) -> None:
    ask("Create")
    for number in range(3):
        boto3.client("s3").put_object(Bucket=BUCKET, Key=f"media/{number}", Body=b"")
    ask("Delete")
    assert [answer["Status"] for answer in answers] == ["SUCCESS", "SUCCESS"]
    assert (names(), objects()) == (set(), 0)


def test_other_deployments_keep_both(answers: list[dict[str, Any]]) -> None:
    ask("Create", ephemeral=False)
    boto3.client("s3").put_object(Bucket=BUCKET, Key="media/1", Body=b"")
    ask("Delete", ephemeral=False)
    assert answers[-1]["Status"] == "SUCCESS"
    assert (len(names()), objects()) == (3, 1)


def test_who_has_more_media_than_time_is_told_to_come_again(answers: list[dict[str, Any]]) -> None:
    """CloudFormation gets an answer before the function's time is over. Secrets stay until all media are
    deleted.
    """
    ask("Create")
    boto3.client("s3").put_object(Bucket=BUCKET, Key="media/1", Body=b"")
    with pytest.raises(make_secrets.NotEmpty):
        ask("Delete", seconds=make_secrets.TIME_TO_ANSWER_S)
    assert answers[-1]["Status"] == "FAILED"
    assert "delete the stack once more" in answers[-1]["Reason"]
    assert len(names()) == 3
    ask("Delete")
    assert (answers[-1]["Status"], names(), objects()) == ("SUCCESS", set(), 0)


def test_a_bucket_that_somebody_deleted_is_no_obstacle(answers: list[dict[str, Any]]) -> None:
    ask("Create")
    ask("Delete", bucket="murmuration-gone")
    assert (answers[-1]["Status"], names()) == ("SUCCESS", set())


def test_a_role_that_is_seconds_old_is_waited_for(
    answers: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure, paused, codes = make_secrets._ensure, list[float](), ["AccessDeniedException"] * 3
    monkeypatch.setattr("time.sleep", paused.append)

    def refused(name: str, value: str) -> str:
        if codes:
            raise ClientError({"Error": {"Code": codes.pop()}}, "PutParameter")
        return ensure(name, value)

    monkeypatch.setattr(make_secrets, "_ensure", refused)
    ask("Create")
    assert (answers[-1]["Status"], paused) == ("SUCCESS", [make_secrets.PAUSE_S] * 3)
    assert names() == {"signing-key", "viewer-secret", "queue-secret"}


@pytest.mark.parametrize(("code", "seconds"), [
    ("AccessDeniedException", make_secrets.TIME_TO_ANSWER_S), ("ThrottlingException", LONGEST_RUN_S),
])  # fmt: skip
def test_what_is_refused_for_good_is_told(
    answers: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, code: str, seconds: int
) -> None:
    def refused(name: str, value: str) -> str:
        raise ClientError({"Error": {"Code": code}}, "PutParameter")

    monkeypatch.setattr(make_secrets, "_ensure", refused)
    with pytest.raises(ClientError):
        ask("Create", seconds=seconds)
    assert answers[-1]["Status"] == "FAILED"
    assert code in answers[-1]["Reason"]


def test_cloudformation_waits_longer_than_the_function_runs() -> None:
    assert make_secrets.TIME_TO_ANSWER_S < LONGEST_RUN_S < LONGEST_WAIT_S < 3_600
