"""The bucket of media and large answers: private, reached over TLS alone, encrypted with S3's own keys."""

from __future__ import annotations

from aws_cdk import Stack
from aws_cdk import aws_s3 as s3

from infra_cdk.parts.policies import document
from infra_cdk.parts.tables import keep
from infra_cdk.settings import Settings


def make_media_bucket(stack: Stack, settings: Settings) -> s3.CfnBucket:
    """The bucket. Browsers may upload straight into it with a signed URL, which no function hands out yet."""
    bucket = s3.CfnBucket(
        stack,
        "MediaBucket",
        public_access_block_configuration=s3.CfnBucket.PublicAccessBlockConfigurationProperty(
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
        ),
        ownership_controls=s3.CfnBucket.OwnershipControlsProperty(
            rules=[s3.CfnBucket.OwnershipControlsRuleProperty(object_ownership="BucketOwnerEnforced")]
        ),
        bucket_encryption=s3.CfnBucket.BucketEncryptionProperty(
            server_side_encryption_configuration=[
                s3.CfnBucket.ServerSideEncryptionRuleProperty(
                    server_side_encryption_by_default=s3.CfnBucket.ServerSideEncryptionByDefaultProperty(
                        sse_algorithm="AES256"
                    )
                )
            ]
        ),
        cors_configuration=s3.CfnBucket.CorsConfigurationProperty(
            cors_rules=[
                s3.CfnBucket.CorsRuleProperty(
                    allowed_methods=["GET", "PUT"],
                    allowed_origins=["*"],
                    allowed_headers=["content-type", "content-length"],
                    max_age=3600,
                )
            ]
        ),
        lifecycle_configuration=s3.CfnBucket.LifecycleConfigurationProperty(
            rules=[
                s3.CfnBucket.RuleProperty(
                    id="abandoned-uploads",
                    status="Enabled",
                    abort_incomplete_multipart_upload=s3.CfnBucket.AbortIncompleteMultipartUploadProperty(
                        days_after_initiation=1
                    ),
                ),
                s3.CfnBucket.RuleProperty(
                    id="large-answers", status="Enabled", prefix="answers/", expiration_in_days=1
                ),
                # What is used is copied onto itself before this is over, and so counts as new.
                s3.CfnBucket.RuleProperty(
                    id="media-of-others",
                    status="Enabled",
                    prefix="remote/",
                    expiration_in_days=settings.remote_media_days + 1,
                ),
            ]
        ),
    )
    keep(bucket, settings)
    s3.CfnBucketPolicy(
        stack,
        "MediaBucketPolicy",
        bucket=bucket.ref,
        policy_document=document(
            [
                {
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:*",
                    "Resource": [bucket.attr_arn, f"{bucket.attr_arn}/*"],
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                }
            ]
        ),
    )
    return bucket
