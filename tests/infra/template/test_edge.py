"""The template's CloudFront distribution."""

from __future__ import annotations

import json
import re

import pytest

from infra_cdk.names import distribution_comment
from infra_cdk.parts.edge import (
    CACHED_PATHS,
    CACHING_DISABLED,
    PARKING,
    QUEUES,
    SYNC_PATHS,
    UPLOADS_PATH,
)
from infra_cdk.settings import Settings
from infra_shared.parking import PATH, PATH_AT_EDGE
from murmuration.media.headers import SANDBOX
from tests.infra.conftest import REST, StackWith, Synthesised

pytestmark = pytest.mark.xdist_group("template")  # which is synthesised once for them all


def test_no_error_is_kept_for_the_next_who_asks(stack: Synthesised) -> None:
    """CloudFront caches some errors by default, whatever the cache policy and the origin say."""
    (distribution,) = stack.properties("AWS::CloudFront::Distribution")
    kept = {
        error["ErrorCode"]: error["ErrorCachingMinTTL"]
        for error in distribution["DistributionConfig"]["CustomErrorResponses"]
    }
    assert kept == dict.fromkeys((400, 403, 404, 405, 414, 500, 501, 502, 503, 504), 0)


MOST = {"CacheBehaviors": 75, "Origins": 100}
"""What a distribution may have: https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html"""


@pytest.mark.parametrize("api", ["http", "rest"])
def test_the_distribution_keeps_to_cloudfronts_quotas(stack_with: StackWith, api: str) -> None:
    stack = stack_with(**(REST if api == "rest" else {}))
    (distribution,) = stack.properties("AWS::CloudFront::Distribution")
    config = distribution["DistributionConfig"]
    for part, most in MOST.items():
        assert len(config[part]) < most / 3
    for origin in config["Origins"]:
        assert len(origin.get("OriginCustomHeaders", ())) <= 10
        assert origin.get("CustomOriginConfig", {}).get("OriginReadTimeout", 30) <= 120
    # An account may have 20 of each kind of policy: there is room for six deployments.
    for kind in ("CachePolicy", "OriginRequestPolicy", "ResponseHeadersPolicy"):
        assert 1 <= len(stack.of_type(f"AWS::CloudFront::{kind}")) <= 3
    for behaviour in (config["DefaultCacheBehavior"], *config["CacheBehaviors"]):
        events = [each["EventType"] for each in behaviour["FunctionAssociations"]]
        assert len(events) == len(set(events))


def test_no_request_is_answered_with_anothers_answer(stack: Synthesised) -> None:
    """CloudFront lets requests for one path at a time share an answer, but not with this policy.

    https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/RequestAndResponseBehaviorCustomOrigin.html
    """
    (distribution,) = stack.properties("AWS::CloudFront::Distribution")
    config = distribution["DistributionConfig"]
    policies = {each["PathPattern"]: each["CachePolicyId"] for each in config["CacheBehaviors"]}
    kept = {path for path, policy in policies.items() if policy != CACHING_DISABLED}
    assert kept == set(CACHED_PATHS)
    assert config["DefaultCacheBehavior"]["CachePolicyId"] == CACHING_DISABLED


def test_two_regions_can_stand_beside_each_other(stack: Synthesised) -> None:
    """CloudFront has one list of names for all regions of an account."""
    names = [found["Name"] for found in stack.properties("AWS::CloudFront::Function")]
    for kind, config in (
        ("CachePolicy", "CachePolicyConfig"),
        ("OriginRequestPolicy", "OriginRequestPolicyConfig"),
        ("ResponseHeadersPolicy", "ResponseHeadersPolicyConfig"),
    ):
        names += [found[config]["Name"] for found in stack.properties(f"AWS::CloudFront::{kind}")]
    names += [
        found["OriginAccessControlConfig"]["Name"]
        for found in stack.properties("AWS::CloudFront::OriginAccessControl")
    ]
    assert len(names) == 10
    assert all("${AWS::Region}" in name["Fn::Sub"] for name in names)
    (distribution,) = stack.properties("AWS::CloudFront::Distribution")
    assert "${AWS::Region}" in distribution["DistributionConfig"]["Comment"]["Fn::Sub"]


@pytest.mark.parametrize("length", [11, 100, 230])
def test_the_distributions_comment_is_as_long_as_cloudfront_takes_it(length: int) -> None:
    from aws_cdk import Stack

    server_name = "a." * ((length - 10) // 2) + "a" * (length % 2) + "example.org"[-10:]
    settings = Settings(server_name=server_name, stage="a-very-long-name")
    text = Stack().resolve(distribution_comment(settings))["Fn::Sub"]
    assert len(text.replace("${AWS::Region}", "ap-southeast-1")) <= 128
    assert text.endswith((f": {server_name}", "..."))


def test_browsers_are_told_to_come_by_https_alone(stack: Synthesised) -> None:
    policies = stack.of_type("AWS::CloudFront::ResponseHeadersPolicy")
    for resource in policies.values():
        security = resource["Properties"]["ResponseHeadersPolicyConfig"]["SecurityHeadersConfig"]
        assert security["StrictTransportSecurity"] == {
            "AccessControlMaxAgeSec": 31_536_000,
            "IncludeSubdomains": False,
            "Override": True,
            "Preload": False,
        }
    (distribution,) = stack.properties("AWS::CloudFront::Distribution")
    config = distribution["DistributionConfig"]
    for behaviour in (config["DefaultCacheBehavior"], *config["CacheBehaviors"]):
        assert behaviour["ResponseHeadersPolicyId"]["Ref"] in policies
        assert behaviour["ViewerProtocolPolicy"] == "https-only"


def test_large_answers_come_from_the_bucket_without_the_clients_token(stack: Synthesised) -> None:
    (distribution,) = stack.properties("AWS::CloudFront::Distribution")
    config = distribution["DistributionConfig"]
    (origin,) = [each for each in config["Origins"] if each["Id"] == "answers"]
    assert origin["DomainName"] == {"Fn::GetAtt": ["MediaBucket", "RegionalDomainName"]}
    behaviours = [each for each in config["CacheBehaviors"] if each["TargetOriginId"] == "answers"]
    assert [each["PathPattern"] for each in behaviours] == ["/answers/*", "/media/*", "/remote/*"]
    assert {str(each["OriginRequestPolicyId"]) for each in behaviours} == {str({"Ref": "AnswersPolicy"})}
    (policy,) = stack.properties("AWS::CloudFront::OriginRequestPolicy")
    forwarded = policy["OriginRequestPolicyConfig"]
    assert forwarded["HeadersConfig"] == {"HeaderBehavior": "none"}
    assert forwarded["QueryStringsConfig"] == {"QueryStringBehavior": "all"}
    (bucket,) = stack.properties("AWS::S3::Bucket")
    rules = {rule.get("Prefix"): rule for rule in bucket["LifecycleConfiguration"]["Rules"]}
    assert rules["answers/"]["ExpirationInDays"] == 1
    assert rules["remote/"]["ExpirationInDays"] == 31


def test_media_are_sandboxed_by_cloudfront_too(stack: Synthesised) -> None:
    """CloudFront adds the same header to files that it reads from the bucket."""
    policies = stack.properties("AWS::CloudFront::ResponseHeadersPolicy")
    configs = [policy["ResponseHeadersPolicyConfig"] for policy in policies]
    (config,) = [each for each in configs if "CustomHeadersConfig" in each]
    security = config["SecurityHeadersConfig"]
    found = {item["Header"]: item["Value"] for item in config["CustomHeadersConfig"]["Items"]}
    found["Content-Security-Policy"] = security["ContentSecurityPolicy"]["ContentSecurityPolicy"]
    found["X-Content-Type-Options"] = "nosniff" if security["ContentTypeOptions"]["Override"] else ""
    assert found == SANDBOX
    assert config["CorsConfig"]["AccessControlAllowOrigins"] == {"Items": ["*"]}


def test_clients_wait_at_the_edge_where_they_are_to(stack: Synthesised, rest_stack: Synthesised) -> None:
    """CloudFront calls SQS with a secret that isn't in the template, and the REST API if SQS refuses."""
    (distribution,) = stack.properties("AWS::CloudFront::Distribution")
    config = distribution["DistributionConfig"]
    origins = {origin["Id"]: origin for origin in config["Origins"]}
    queues = origins[QUEUES]
    assert queues["DomainName"] == {"Fn::Sub": "sqs.${AWS::Region}.${AWS::URLSuffix}"}
    assert queues["OriginPath"] == {"Fn::Sub": "/${AWS::AccountId}"}
    assert queues["CustomOriginConfig"]["OriginProtocolPolicy"] == "https-only"
    assert queues["CustomOriginConfig"]["OriginReadTimeout"] > 20, "SQS answers after twenty seconds"
    assert queues["OriginCustomHeaders"] == [
        {"HeaderName": name, "HeaderValue": {"Fn::GetAtt": ["Secrets", "QueueSecret"]}}
        for name in ("User-Agent", "Referer")
    ]
    assert stack.resources["Secrets"]["Properties"]["WaitsAtEdge"] == "true"
    behaviours = {each["PathPattern"]: each for each in config["CacheBehaviors"]}
    sync, same = (behaviours[path] for path in SYNC_PATHS)
    assert {**sync, "PathPattern": ""} == {**same, "PathPattern": ""}
    assert sync["AllowedMethods"] == ["GET", "HEAD", "OPTIONS"], "for others there is no second origin"
    assert sync["CachedMethods"] == sync["AllowedMethods"], "there is none without OPTIONS among these"
    assert sync["CachePolicyId"] == CACHING_DISABLED
    assert [each["EventType"] for each in sync["FunctionAssociations"]] == [
        "viewer-request",
        "viewer-response",
    ]
    assert sync["TargetOriginId"] == config["DefaultCacheBehavior"]["TargetOriginId"]
    sliding = "/_matrix/client/v4/sync"
    patterns = [path.replace("?", ".").replace("*", ".*") for path in behaviours]
    assert not [pattern for pattern in patterns if re.fullmatch(pattern, sliding)]
    assert "POST" in config["DefaultCacheBehavior"]["AllowedMethods"], "which sliding sync is"
    operations = stack.api_documents["ParkingRestApi"]["paths"][PATH_AT_EDGE]
    assert sorted(operations) == ["get", "post"]
    for operation in operations.values():
        uri = operation["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"]
        assert uri.endswith(":sqs:path/${AWS::AccountId}/{queue}")
    (role,) = (
        role["Policies"][0]["PolicyDocument"]["Statement"][0]
        for role in stack.properties("AWS::IAM::Role")
        if "sqs:ReceiveMessage" in json.dumps(role) and "apigateway" in json.dumps(role)
    )
    assert "-wake-3-*" in json.dumps(role["Resource"])
    assert not any(PATH in body["paths"] for body in stack.api_documents.values())
    for found, waits in ((stack, "edge"), (rest_stack, "rest")):
        for function in found.properties("AWS::Lambda::Function"):
            if "Environment" in function:
                assert function["Environment"]["Variables"]["MURMURATION_WAITS"] == waits
    (plain,) = rest_stack.properties("AWS::CloudFront::Distribution")
    assert not {QUEUES, PARKING} & {origin["Id"] for origin in plain["DistributionConfig"]["Origins"]}


def test_clients_that_functions_hold_wait_nowhere_else(stack_with: StackWith) -> None:
    held = stack_with(waiting="held")
    (distribution,) = held.properties("AWS::CloudFront::Distribution")
    origins = {origin["Id"] for origin in distribution["DistributionConfig"]["Origins"]}
    assert QUEUES not in origins
    paths = [behaviour["PathPattern"] for behaviour in distribution["DistributionConfig"]["CacheBehaviors"]]
    assert not {*SYNC_PATHS} & {*paths}


def test_large_uploads_go_into_the_bucket(stack: Synthesised, rest_stack: Synthesised) -> None:
    """CloudFront signs the uploads, and has no other permissions there. The template doesn't contain the
    media key.
    """
    for found in (stack, rest_stack):
        (distribution,) = found.properties("AWS::CloudFront::Distribution")
        config = distribution["DistributionConfig"]
        (origin,) = [each for each in config["Origins"] if each["Id"] == "incoming"]
        assert origin == {
            "Id": "incoming",
            "DomainName": {"Fn::GetAtt": ["MediaBucket", "RegionalDomainName"]},
            "OriginAccessControlId": {"Fn::GetAtt": ["IncomingAccess", "Id"]},
            "S3OriginConfig": {"OriginAccessIdentity": ""},
        }
        (access,) = found.properties("AWS::CloudFront::OriginAccessControl")
        signed = access["OriginAccessControlConfig"]
        assert (
            signed.items()
            >= {
                "OriginAccessControlOriginType": "s3",
                "SigningBehavior": "always",
                "SigningProtocol": "sigv4",
            }.items()
        )
        targets = {each["PathPattern"]: each["TargetOriginId"] for each in config["CacheBehaviors"]}
        assert "incoming" not in targets.values(), "no path leads there but by the function"
        behaviour = config["CacheBehaviors"][0]
        assert behaviour["PathPattern"] == UPLOADS_PATH, "before that of all media"
        assert behaviour["TargetOriginId"] == targets["/_matrix/media/*"]
        assert behaviour["CachePolicyId"] == CACHING_DISABLED
        assert "PUT" in behaviour["AllowedMethods"]
        functions = {
            each["EventType"]: each["FunctionARN"]["Fn::GetAtt"][0]
            for each in behaviour["FunctionAssociations"]
        }
        assert functions == {
            "viewer-request": "UploadViewerFunction",
            "viewer-response": "UploadResponseFunction",
        }
        code = found.resources["UploadViewerFunction"]["Properties"]["FunctionCode"]
        before, key, after = code["Fn::Join"][1]
        assert key == {"Fn::GetAtt": ["Secrets", "UploadKey"]}
        assert before.endswith("const UPLOAD_KEY = '")
        assert after.startswith("';\nconst SERVER_NAME = 'example.org';")
        assert isinstance(found.resources["ViewerFunction"]["Properties"]["FunctionCode"], str)
        assert found.resources["Secrets"]["Properties"]["SignsUploads"] == "true"
        (policy,) = [
            each["ResponseHeadersPolicyConfig"]
            for name, each in (
                (name, each["Properties"])
                for name, each in found.of_type("AWS::CloudFront::ResponseHeadersPolicy").items()
            )
            if {"Ref": name} == behaviour["ResponseHeadersPolicyId"]
        ]
        cors = policy["CorsConfig"]
        assert cors["AccessControlAllowOrigins"] == {"Items": ["*"]}, "for S3's errors"
        assert cors["OriginOverride"] is False


def test_the_bucket_takes_uploads_and_tells_of_them(stack: Synthesised) -> None:
    policy = stack.resources["MediaBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    (allowed,) = [each for each in policy if each["Effect"] == "Allow"]
    assert allowed == {
        "Effect": "Allow",
        "Principal": {"Service": "cloudfront.amazonaws.com"},
        "Action": "s3:PutObject",
        "Resource": [{"Fn::Join": ["", [{"Fn::GetAtt": ["MediaBucket", "Arn"]}, "/incoming/*"]]}],
        "Condition": {
            "StringEquals": {
                "AWS:SourceArn": {
                    "Fn::Sub": [
                        "arn:${AWS::Partition}:cloudfront::${AWS::AccountId}:distribution/${Id}",
                        {"Id": {"Ref": "Distribution"}},
                    ]
                }
            }
        },
    }
    bucket = stack.resources["MediaBucket"]
    (told,) = bucket["Properties"]["NotificationConfiguration"]["QueueConfigurations"]
    assert told == {
        "Event": "s3:ObjectCreated:Put",
        "Filter": {"S3Key": {"Rules": [{"Name": "prefix", "Value": "incoming/"}]}},
        "Queue": {"Fn::GetAtt": ["QueueIncomingUploads", "Arn"]},
    }
    assert "QueueIncomingUploadsPolicy" in bucket["DependsOn"], "S3 tries whether it may send"
    statements = stack.resources["QueueIncomingUploadsPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    (sends,) = [each for each in statements if each["Effect"] == "Allow"]
    assert (sends["Principal"], sends["Action"]) == ({"Service": "s3.amazonaws.com"}, "sqs:SendMessage")
    assert sends["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    rules = {rule.get("Prefix"): rule for rule in bucket["Properties"]["LifecycleConfiguration"]["Rules"]}
    assert rules["incoming/"]["ExpirationInDays"] == 3, "longer than a media ID can be used"
