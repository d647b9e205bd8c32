"""The deployment's secrets: created once by a function that CloudFormation calls, stored in SSM free of
charge.

Neither the template nor a function's environment has a secret: functions read them from SSM when needed.
CloudFormation passes the secret that CloudFront adds to its requests to CloudFront, and doesn't show it
anywhere.
"""

from __future__ import annotations

from pathlib import Path

from aws_cdk import CfnCustomResource, CfnDeletionPolicy, Stack
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3

from infra_cdk import assets
from infra_cdk.parts.functions import RUNTIME, logging_config, make_role, may_log
from infra_cdk.parts.policies import allow, arn
from infra_cdk.settings import Settings

VIEWER_SECRET = "viewer-secret"  # noqa: S105 - a parameter's name
LONGEST_RUN_S = 120
LONGEST_WAIT_S = 300
"""How long CloudFormation waits for the function's answer. Without a limit it would wait an hour for a lost
one.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-cloudformation-customresource.html
"""
_SOURCE = Path(__file__).parent.parent / "on_deploy" / "make_secrets.py"


def make_secrets(
    stack: Stack, settings: Settings, log_group: logs.CfnLogGroup, bucket: s3.CfnBucket
) -> tuple[lambda_.CfnFunction, CfnCustomResource]:
    """Make the custom resource of the secrets. Returns the function that creates them, and the resource.

    The resource's attribute `ViewerSecret` proves to functions that a request came through CloudFront;
    `QueueSecret` proves it to queues. With `UploadKey` the viewer function checks signed media IDs.
    """
    parameters = arn("ssm", f"parameter/{settings.prefix}/*")
    statements = [may_log(log_group), allow(["ssm:GetParameter", "ssm:PutParameter"], [parameters])]
    if settings.ephemeral:
        statements += [
            allow(["ssm:DeleteParameters"], [parameters]),
            allow(["s3:ListBucket"], [bucket.attr_arn]),
            allow(["s3:DeleteObject"], [f"{bucket.attr_arn}/*"]),
        ]
    code_bucket, key = assets.add_zip(stack, {_SOURCE.name: _SOURCE})
    function = lambda_.CfnFunction(
        stack,
        "FunctionMakeSecrets",
        function_name=f"{settings.prefix}-deployment-make_secrets",
        description="Makes the deployment's secrets, called by CloudFormation",
        architectures=["arm64"],
        runtime=RUNTIME,
        handler=f"{_SOURCE.stem}.handler",
        code=lambda_.CfnFunction.CodeProperty(s3_bucket=code_bucket, s3_key=key),
        role=make_role(stack, "make_secrets", statements).attr_arn,
        memory_size=256,
        timeout=LONGEST_RUN_S,
        logging_config=logging_config(log_group, settings),
    )
    secrets = CfnCustomResource(
        stack, "Secrets", service_token=function.attr_arn, service_timeout=LONGEST_WAIT_S
    )
    secrets.add_override("Type", "Custom::Secrets")
    secrets.add_property_override("Prefix", settings.prefix)
    secrets.add_property_override("Ephemeral", "true" if settings.ephemeral else "false")
    secrets.add_property_override("Bucket", bucket.ref)
    secrets.add_property_override("SignsUploads", "true")
    # a changed property makes CloudFormation call the function again, which then returns this secret too
    if settings.waits_at_edge:
        secrets.add_property_override("WaitsAtEdge", "true")
    secrets.cfn_options.deletion_policy = CfnDeletionPolicy.DELETE
    return function, secrets


def parameter_name(settings: Settings, name: str) -> str:
    return f"/{settings.prefix}/{name}"
