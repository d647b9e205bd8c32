"""The bucket of media and large answers, and the headers that CloudFront adds to what it serves from there.

It is private, reached over TLS alone, and encrypted with S3's own keys.
"""

from __future__ import annotations

from aws_cdk import Stack
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_s3 as s3

from infra_cdk.names import global_name
from infra_cdk.parts.policies import document
from infra_cdk.parts.tables import keep
from infra_cdk.settings import Settings
from murmuration.media.headers import SANDBOX

Policy = cloudfront.CfnResponseHeadersPolicy
HSTS_SECONDS = 31_536_000
_SECURITY = ("Content-Security-Policy", "X-Content-Type-Options")
"""CloudFront has settings of their own for these."""


def make_media_bucket(stack: Stack, settings: Settings) -> s3.CfnBucket:
    """Make the bucket. Its CORS rules allow browsers to upload with a signed URL, which no function hands
    out yet.
    """
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


def make_media_headers(stack: Stack, settings: Settings) -> Policy:
    """Make the policy that sandboxes media, because strangers upload them. Any web page may show them."""
    others = {name: value for name, value in SANDBOX.items() if name not in _SECURITY}
    return Policy(
        stack,
        "MediaResponsePolicy",
        response_headers_policy_config=Policy.ResponseHeadersPolicyConfigProperty(
            name=global_name(settings, "media"),
            cors_config=any_origin(),
            custom_headers_config=Policy.CustomHeadersConfigProperty(
                items=[
                    Policy.CustomHeaderProperty(header=name, value=value, override=True)
                    for name, value in others.items()
                ]
            ),
            security_headers_config=Policy.SecurityHeadersConfigProperty(
                content_security_policy=Policy.ContentSecurityPolicyProperty(
                    content_security_policy=SANDBOX["Content-Security-Policy"], override=True
                ),
                content_type_options=Policy.ContentTypeOptionsProperty(override=True),
                strict_transport_security=Policy.StrictTransportSecurityProperty(
                    access_control_max_age_sec=HSTS_SECONDS,
                    include_subdomains=False,
                    preload=False,
                    override=True,
                ),
            ),
        ),
    )


def any_origin() -> Policy.CorsConfigProperty:
    """Return the CORS headers that let any web page read an answer, as the specification requires of a
    homeserver.
    """
    return Policy.CorsConfigProperty(
        access_control_allow_credentials=False,
        access_control_allow_headers=Policy.AccessControlAllowHeadersProperty(items=["*"]),
        access_control_allow_methods=Policy.AccessControlAllowMethodsProperty(
            items=["GET", "HEAD", "OPTIONS"]
        ),
        access_control_allow_origins=Policy.AccessControlAllowOriginsProperty(items=["*"]),
        origin_override=True,
    )
