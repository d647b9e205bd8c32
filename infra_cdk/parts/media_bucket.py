"""The bucket of media and large answers, and the headers that CloudFront adds to its answers.

It is private, reachable only over TLS, and encrypted with S3's own keys.
"""

from __future__ import annotations

from aws_cdk import Fn, Stack
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_s3 as s3

from infra_cdk.names import global_name
from infra_cdk.parts.policies import document
from infra_cdk.parts.queues import INCOMING, Queues
from infra_cdk.parts.tables import keep
from infra_cdk.settings import Settings
from murmuration.media.headers import SANDBOX
from murmuration.media.incoming.settling import FOLDER

Policy = cloudfront.CfnResponseHeadersPolicy
HSTS_SECONDS = 31_536_000
INCOMING_DAYS = 3
"""How long an upload that CloudFront stored stays below FOLDER: longer than a media ID can be used, and long
enough to settle it."""
_SECURITY = ("Content-Security-Policy", "X-Content-Type-Options")
"""Headers for which CloudFront has separate settings."""


def make_media_bucket(stack: Stack, settings: Settings, queues: Queues) -> s3.CfnBucket:
    """Make the bucket, which queues a message for each upload that CloudFront stores.

    Its CORS rules allow browsers to upload with a signed URL, which no function hands out yet.
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
        lifecycle_configuration=_lifecycle(settings),
        notification_configuration=_notifications(queues) if INCOMING in queues.by_name else None,
    )
    keep(bucket, settings)
    if queues.incoming_policy is not None:
        bucket.add_resource_dependency(queues.incoming_policy)  # S3 tests whether it may send
    return bucket


def _lifecycle(settings: Settings) -> s3.CfnBucket.LifecycleConfigurationProperty:
    """Return the rules by which objects are deleted that are no longer needed."""
    return s3.CfnBucket.LifecycleConfigurationProperty(
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
            # An object that is used is copied onto itself before this time is over, and so counts as new.
            s3.CfnBucket.RuleProperty(
                id="media-of-others",
                status="Enabled",
                prefix="remote/",
                expiration_in_days=settings.remote_media_days + 1,
            ),
            # An upload is settled within minutes. After that it is an empty object that prevents a second
            # upload.
            s3.CfnBucket.RuleProperty(
                id="incoming-uploads",
                status="Enabled",
                prefix=f"{FOLDER}/",
                expiration_in_days=INCOMING_DAYS,
            ),
        ]
    )


def _notifications(queues: Queues) -> s3.CfnBucket.NotificationConfigurationProperty:
    """Return the rule by which the bucket queues a message for each object stored below FOLDER."""
    rule = s3.CfnBucket.FilterRuleProperty(name="prefix", value=f"{FOLDER}/")
    return s3.CfnBucket.NotificationConfigurationProperty(
        queue_configurations=[
            s3.CfnBucket.QueueConfigurationProperty(
                event="s3:ObjectCreated:Put",
                queue=queues.by_name[INCOMING].attr_arn,
                filter=s3.CfnBucket.NotificationFilterProperty(
                    s3_key=s3.CfnBucket.S3KeyFilterProperty(rules=[rule])
                ),
            )
        ]
    )


def make_bucket_policy(stack: Stack, bucket: s3.CfnBucket, distribution: cloudfront.CfnDistribution) -> None:
    """Make the bucket's policy: it requires TLS, and lets this distribution store uploads below FOLDER.

    https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-restricting-access-to-s3.html
    """
    source = Fn.sub(
        "arn:${AWS::Partition}:cloudfront::${AWS::AccountId}:distribution/${Id}", {"Id": distribution.ref}
    )
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
                },
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "cloudfront.amazonaws.com"},
                    "Action": "s3:PutObject",
                    "Resource": [f"{bucket.attr_arn}/{FOLDER}/*"],
                    "Condition": {"StringEquals": {"AWS:SourceArn": source}},
                },
            ]
        ),
    )


def incoming_origin(
    stack: Stack, settings: Settings, bucket: s3.CfnBucket
) -> cloudfront.CfnDistribution.OriginProperty:
    """Return the origin at which CloudFront stores uploads. It signs these requests itself."""
    access = cloudfront.CfnOriginAccessControl(
        stack,
        "IncomingAccess",
        origin_access_control_config=cloudfront.CfnOriginAccessControl.OriginAccessControlConfigProperty(
            name=global_name(settings, FOLDER),
            origin_access_control_origin_type="s3",
            signing_behavior="always",
            signing_protocol="sigv4",
        ),
    )
    return cloudfront.CfnDistribution.OriginProperty(
        id=FOLDER,
        domain_name=bucket.attr_regional_domain_name,
        origin_access_control_id=access.attr_id,
        s3_origin_config=cloudfront.CfnDistribution.S3OriginConfigProperty(origin_access_identity=""),
    )


def make_media_headers(stack: Stack, settings: Settings) -> Policy:
    """Make the policy that sandboxes media, because strangers upload them. Any web page may show media."""
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
