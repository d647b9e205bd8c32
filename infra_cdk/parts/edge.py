"""CloudFront, to which clients connect: in front of the REST APIs, the WebSocket API and `/.well-known`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aws_cdk import CfnCustomResource, Fn, Stack
from aws_cdk import aws_apigatewayv2 as apigatewayv2
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_s3 as s3

from infra_cdk.names import distribution_comment, global_name
from infra_cdk.parts import api as rest
from infra_cdk.parts.dns import make_certificate, make_records
from infra_cdk.parts.media_bucket import HSTS_SECONDS, any_origin, incoming_origin, make_media_headers
from infra_cdk.settings import Settings
from infra_shared import edge_waits
from infra_shared.apis import PATTERNS, Part, part_of
from infra_shared.parking import TEMPLATES
from murmuration.endpoint.http import CORS_HEADERS

VIEWER = TEMPLATES.with_name("viewer.js")
VIEWER_RESPONSE = TEMPLATES.with_name("viewer_response.js")
UPLOAD_RESPONSE = TEMPLATES.with_name("upload_response.js")
SECRET_HEADER = "x-murmuration-viewer-secret"  # noqa: S105 - a header's name
SOCKET_PATHS = ("/ws", "/_matrix/client/??/stream")
CACHED_PATHS = ("/", "/.well-known/matrix/*", "/_matrix/client/versions", "/_matrix/key/v2/server*")
"""Paths whose answer is the same for everybody: the first requests of clients and servers, and the page for
people. Keys are cached for 5 minutes."""

# CloudFront's own policies, by the IDs that it publishes.
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
ALL_BUT_HOST = "b689b0a8-53d0-40ab-baf2-38268df52e36"

ERRORS = (400, 403, 404, 405, 414, 500, 501, 502, 503, 504)
"""CloudFront caches these errors for ten seconds unless told not to, even if it caches nothing else.

One user's 404 would be the answer to another user's request for the same path.
https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/custom-error-pages-expiration.html
"""

PARKING = "parking"
"""The REST API beside the functions' APIs, which has the route to the queues, and large uploads."""
QUEUES = "queues"
"""SQS's endpoint, where clients wait at the edge."""
REST_APIS = "const HTTP_APIS = false;"
"""The line of the viewer function that sets the kind of the APIs."""
BY_API = "const AT_EDGE = false;\nconst QUEUES = '/';"
"""The lines of the viewer function that set where clients wait, and the prefix of queues' paths."""
MOST_PUT = "const MOST_PUT_BYTES = 0;"
NAMES = "const UPLOAD_KEY = '';\nconst SERVER_NAME = '';"
"""The lines of the viewer function that set which uploads go to the bucket."""
UPLOADS_PATH = "/_matrix/media/*/upload/*"
"""The path of uploads to media IDs that were created before."""
SYNC_PATHS = ("/_matrix/client/r0/sync", "/_matrix/client/v3/sync")
"""The paths at which clients wait by GET; in version 4 it is sliding sync, by POST."""
ANSWERS_PATH = "/answers/*"
"""The path of answers that are too large for functions. The paths are signed as the bucket requires."""
MEDIA_PATHS = ("/media/*", "/remote/*")
"""The same for media of this server, and of others that are kept for a while."""

Behaviour = dict[str, object]
"""The parameters of CloudFront's behaviour for a path, without the path."""
_METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"]
_LONGEST_WAIT = 60
"""How many seconds CloudFront waits for an answer: longer than API Gateway waits for a function."""


def make_edge(
    stack: Stack,
    settings: Settings,
    apis: Mapping[Part, rest.Api],
    beside: rest.Api | None,
    socket_api: apigatewayv2.CfnApi | None,
    secrets: CfnCustomResource,
    bucket: s3.CfnBucket,
) -> cloudfront.CfnDistribution:
    """Make the distribution, which chooses an API by the path. `beside` is the API of
    `Settings.has_rest_beside`.

    With a domain, it is updated after the APIs' stages. Without one, the functions' environment has the
    distribution's address: so it is made before the functions, and the stages after them.
    """
    behaviours = _Behaviours(stack, settings)
    origins = _origins(stack, settings, apis, beside, socket_api, secrets, bucket)
    config = cloudfront.CfnDistribution.DistributionConfigProperty(
        comment=distribution_comment(settings),
        enabled=True,
        http_version="http2and3",
        ipv6_enabled=True,
        price_class="PriceClass_100",
        aliases=list(settings.hosts) or None,
        viewer_certificate=_certificate(make_certificate(stack, settings)),
        origins=origins,
        custom_error_responses=[
            cloudfront.CfnDistribution.CustomErrorResponseProperty(error_code=code, error_caching_min_ttl=0)
            for code in ERRORS
        ],
        default_cache_behavior=cloudfront.CfnDistribution.DefaultCacheBehaviorProperty(
            **behaviours.of_origin("rest")  # type: ignore[arg-type]
        ),
        cache_behaviors=[
            cloudfront.CfnDistribution.CacheBehaviorProperty(
                path_pattern=path,
                **behaviour,  # type: ignore[arg-type]
            )
            for path, behaviour in behaviours.by_path(secrets, has_sockets=socket_api is not None)
        ],
    )
    distribution = cloudfront.CfnDistribution(stack, "Distribution", distribution_config=config)
    for api in [*apis.values(), *([beside] if beside else [])] if settings.domain else ():
        distribution.add_resource_dependency(api.stage)
    make_records(stack, settings, distribution)
    return distribution


def _origins(
    stack: Stack,
    settings: Settings,
    apis: Mapping[Part, rest.Api],
    beside: rest.Api | None,
    socket_api: apigatewayv2.CfnApi | None,
    secrets: CfnCustomResource,
    bucket: s3.CfnBucket,
) -> list[cloudfront.CfnDistribution.OriginProperty]:
    """Return the places to which requests go: APIs, queues if clients wait at the edge, the bucket."""
    secret = {SECRET_HEADER: secrets.get_att("ViewerSecret").to_string()}
    places = [(_origin_name(part), api.id, api.path) for part, api in apis.items()]
    if beside is not None:
        places.append((PARKING, beside.id, beside.path))
    origins = [_waiting_origin(name, rest.origin_domain(id_), path, secret) for name, id_, path in places]
    if settings.waits_at_edge:
        origins.append(_queues_origin(secrets))
    if socket_api is not None:
        origins.append(_waiting_origin("socket", rest.origin_domain(socket_api.ref), "", secret))
    return [*origins, _answers_origin(bucket), incoming_origin(stack, settings, bucket)]


class _Behaviours:
    """Makes CloudFront's behaviours: for each path, the origin that gets its requests, and how.

    Each runs the viewer function, unless it says otherwise. Policies and functions of a few paths are
    made together with their behaviours.
    """

    def __init__(self, stack: Stack, settings: Settings) -> None:
        self._stack = stack
        self._settings = settings
        comment = "Keeps the exact URI, answers preflights"
        self._viewer = _make_function(stack, settings, "viewer", viewer_code(settings), comment)
        self._headers = _make_headers_policy(stack, settings, "headers", _functions_cors()).ref

    def of_origin(self, origin: str, cache_policy: str = CACHING_DISABLED) -> Behaviour:
        """Return the behaviour that passes requests on to an origin."""
        return {
            "target_origin_id": origin,
            "viewer_protocol_policy": "https-only",
            "allowed_methods": _METHODS,
            "cache_policy_id": cache_policy,
            "origin_request_policy_id": ALL_BUT_HOST,
            "response_headers_policy_id": self._headers,
            "compress": cache_policy != CACHING_DISABLED,
            "function_associations": [_runs("viewer-request", self._viewer)],
        }

    def by_path(self, secrets: CfnCustomResource, *, has_sockets: bool) -> list[tuple[str, Behaviour]]:
        """Make the behaviours of paths, except the default one. The first whose path fits counts."""
        cache = _make_cache_policy(self._stack, self._settings).ref
        found = [(UPLOADS_PATH, self._uploads(secrets))]
        found += [(path, self.of_origin(_origin_name(part_of(path)), cache)) for path in CACHED_PATHS]
        if has_sockets:
            found += [(path, self.of_origin("socket")) for path in SOCKET_PATHS]
        found += [(pattern, self.of_origin(_origin_name(part))) for pattern, part in PATTERNS]
        if self._settings.waits_at_edge:
            sync = self._sync()
            found += [(path, sync) for path in SYNC_PATHS]
        answers = self._answers()
        media_headers = make_media_headers(self._stack, self._settings).ref
        media = answers | {"response_headers_policy_id": media_headers}
        return [*found, (ANSWERS_PATH, answers), *((path, media) for path in MEDIA_PATHS)]

    def _sync(self) -> Behaviour:
        """Make the function that answers clients that wait. Returns the behaviour, which runs it."""
        code = without_comments(VIEWER_RESPONSE.read_text())
        comment = "Answers clients that wait"
        response = _make_function(self._stack, self._settings, "viewer-response", code, comment)
        return self.of_origin(_origin_name(part_of(SYNC_PATHS[0]))) | {
            # For these methods CloudFront tries the second origin, if they are also cached methods.
            "allowed_methods": ["GET", "HEAD", "OPTIONS"],
            "cached_methods": ["GET", "HEAD", "OPTIONS"],
            "function_associations": [
                _runs("viewer-request", self._viewer),
                _runs("viewer-response", response),
            ],
        }

    def _uploads(self, secrets: CfnCustomResource) -> Behaviour:
        """Make the functions for uploads to created media IDs. Returns the behaviour, which runs them."""
        stack, settings = self._stack, self._settings
        code = upload_viewer_code(settings, secrets.get_att("UploadKey").to_string())
        request = _make_function(stack, settings, "upload-viewer", code, "Sends large uploads to the bucket")
        code = without_comments(UPLOAD_RESPONSE.read_text())
        response = _make_function(stack, settings, "upload-response", code, "Answers large uploads")
        return self.of_origin(_origin_name(part_of(UPLOADS_PATH))) | {
            "function_associations": [_runs("viewer-request", request), _runs("viewer-response", response)]
        }

    def _answers(self) -> Behaviour:
        """Return the behaviour for answers that are too large for functions."""
        stack, settings = self._stack, self._settings
        return self.of_origin("answers") | {
            "allowed_methods": ["GET", "HEAD", "OPTIONS"],
            "origin_request_policy_id": _make_answers_policy(stack, settings).ref,
            "response_headers_policy_id": _make_headers_policy(stack, settings, "answers", any_origin()).ref,
        }


def _runs(
    event_type: str, function: cloudfront.CfnFunction
) -> cloudfront.CfnDistribution.FunctionAssociationProperty:
    return cloudfront.CfnDistribution.FunctionAssociationProperty(
        event_type=event_type, function_arn=function.attr_function_arn
    )


def viewer_code(settings: Settings) -> str:
    """Return the code of the viewer function for all requests except uploads to created media IDs.

    It has no comments, and is made for the kind of API to which it sends requests.
    """
    return _viewer_code(settings, without="to-bucket")


def upload_viewer_code(settings: Settings, upload_key: str) -> str:
    """Return the code of the viewer function for uploads to created media IDs.

    `upload_key` checks signed media IDs; in a template it stands for a secret that only CloudFormation knows.
    """
    names = f"const UPLOAD_KEY = '{upload_key}';\nconst SERVER_NAME = '{settings.server_name}';"
    return _viewer_code(settings, without="waiting").replace(NAMES, names)


def _viewer_code(settings: Settings, without: str) -> str:
    """Return the code of the viewer function without the parts with the name `without`.

    If it chooses an origin for waiting clients or for large uploads, its first line must be an import.
    https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/helper-functions-origin-modification.html
    """
    part = rf"^ *// <{without}>$.*?^ *// </{without}>$"
    code = without_comments(re.sub(part, "", VIEWER.read_text(), flags=re.DOTALL | re.MULTILINE))
    if settings.api == "http":
        code = code.replace(REST_APIS, REST_APIS.replace("false", "true"))
    if settings.waits_at_edge:
        queues = f"/{settings.prefix}-{rest.queue_prefix(settings)}"
        code = code.replace(BY_API, f"const AT_EDGE = true;\nconst QUEUES = '{queues}';")
    code = code.replace(MOST_PUT, MOST_PUT.replace("0", str(settings.most_put_bytes)))
    chooses = settings.has_rest_beside or without == "waiting"
    return f"import cf from 'cloudfront';\n{code}" if chooses else code


def without_comments(code: str) -> str:
    """Return the code without its comment lines and indentation, because a CloudFront function may have 10
    KB.
    """
    lines = (line.lstrip() for line in code.splitlines(True))
    return "".join(line for line in lines if line and not line.startswith("//"))


def _make_function(
    stack: Stack, settings: Settings, name: str, code: str, comment: str
) -> cloudfront.CfnFunction:
    """Make a function that runs in CloudFront."""
    return cloudfront.CfnFunction(
        stack,
        f"{name.title().replace('-', '')}Function",
        name=global_name(settings, name),
        auto_publish=True,
        function_code=code,
        function_config=cloudfront.CfnFunction.FunctionConfigProperty(
            comment=comment, runtime="cloudfront-js-2.0"
        ),
    )


def _queues_origin(secrets: CfnCustomResource) -> cloudfront.CfnDistribution.OriginProperty:
    """Return the origin that is SQS's endpoint. CloudFront adds the secret that the queues' policies require.

    https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/add-origin-custom-headers.html
    """
    secret = secrets.get_att("QueueSecret").to_string()
    return _waiting_origin(
        QUEUES,
        Fn.sub("sqs.${AWS::Region}.${AWS::URLSuffix}"),
        Fn.sub("/${AWS::AccountId}"),
        dict.fromkeys(edge_waits.SECRET_HEADERS, secret),
    )


def _waiting_origin(
    name: str, domain: str, path: str, headers: Mapping[str, str]
) -> cloudfront.CfnDistribution.OriginProperty:
    """Return an origin that may take as long as a client waits. CloudFront adds `headers` to its requests."""
    return cloudfront.CfnDistribution.OriginProperty(
        id=name,
        domain_name=domain,
        origin_path=path,
        custom_origin_config=cloudfront.CfnDistribution.CustomOriginConfigProperty(
            origin_protocol_policy="https-only",
            origin_ssl_protocols=["TLSv1.2"],
            origin_read_timeout=_LONGEST_WAIT,
            origin_keepalive_timeout=_LONGEST_WAIT,
        ),
        origin_custom_headers=[
            cloudfront.CfnDistribution.OriginCustomHeaderProperty(header_name=header, header_value=value)
            for header, value in headers.items()
        ],
    )


def _origin_name(part: Part) -> str:
    return part.lower() or "rest"


def _answers_origin(bucket: s3.CfnBucket) -> cloudfront.CfnDistribution.OriginProperty:
    """Return the bucket as an origin, under the host in the signed URLs. CloudFront adds no signature of its
    own.
    """
    return cloudfront.CfnDistribution.OriginProperty(
        id="answers",
        domain_name=bucket.attr_regional_domain_name,
        custom_origin_config=cloudfront.CfnDistribution.CustomOriginConfigProperty(
            origin_protocol_policy="https-only", origin_ssl_protocols=["TLSv1.2"]
        ),
    )


def _make_answers_policy(stack: Stack, settings: Settings) -> cloudfront.CfnOriginRequestPolicy:
    """Make the policy that forwards the query, which has the signature, and no header, not even the access
    token.

    The bucket refuses a request with both. CloudFront drops Authorization unless a policy names it.
    """
    policy = cloudfront.CfnOriginRequestPolicy
    return policy(
        stack,
        "AnswersPolicy",
        origin_request_policy_config=policy.OriginRequestPolicyConfigProperty(
            name=global_name(settings, "signed-query"),
            cookies_config=policy.CookiesConfigProperty(cookie_behavior="none"),
            headers_config=policy.HeadersConfigProperty(header_behavior="none"),
            query_strings_config=policy.QueryStringsConfigProperty(query_string_behavior="all"),
        ),
    )


def _make_cache_policy(stack: Stack, settings: Settings) -> cloudfront.CfnCachePolicy:
    """Make the policy that caches by path, for an hour.

    AWS's own policies forward the Host header, which API Gateway refuses.
    """
    return cloudfront.CfnCachePolicy(
        stack,
        "CachePolicy",
        cache_policy_config=cloudfront.CfnCachePolicy.CachePolicyConfigProperty(
            name=global_name(settings, "by-path"),
            min_ttl=0,
            default_ttl=3600,
            max_ttl=86_400,
            parameters_in_cache_key_and_forwarded_to_origin=(
                cloudfront.CfnCachePolicy.ParametersInCacheKeyAndForwardedToOriginProperty(
                    cookies_config=cloudfront.CfnCachePolicy.CookiesConfigProperty(cookie_behavior="none"),
                    headers_config=cloudfront.CfnCachePolicy.HeadersConfigProperty(header_behavior="none"),
                    query_strings_config=cloudfront.CfnCachePolicy.QueryStringsConfigProperty(
                        query_string_behavior="none"
                    ),
                    enable_accept_encoding_brotli=True,
                    enable_accept_encoding_gzip=True,
                )
            ),
        ),
    )


def _make_headers_policy(
    stack: Stack,
    settings: Settings,
    name: str,
    cors: cloudfront.CfnResponseHeadersPolicy.CorsConfigProperty | None = None,
) -> cloudfront.CfnResponseHeadersPolicy:
    """Make the policy that makes browsers use HTTPS for a year. It excludes subdomains, because they may
    belong to others.

    With `cors`, the answers also say which web pages may read them.
    """
    return cloudfront.CfnResponseHeadersPolicy(
        stack,
        "HeadersPolicy" if name == "headers" else f"{name.capitalize()}ResponsePolicy",
        response_headers_policy_config=cloudfront.CfnResponseHeadersPolicy.ResponseHeadersPolicyConfigProperty(
            name=global_name(settings, name),
            cors_config=cors,
            security_headers_config=cloudfront.CfnResponseHeadersPolicy.SecurityHeadersConfigProperty(
                strict_transport_security=cloudfront.CfnResponseHeadersPolicy.StrictTransportSecurityProperty(
                    access_control_max_age_sec=HSTS_SECONDS,
                    include_subdomains=False,
                    preload=False,
                    override=True,
                )
            ),
        ),
    )


def _functions_cors() -> cloudfront.CfnResponseHeadersPolicy.CorsConfigProperty:
    """Return functions' CORS headers, for the requests that an HTTP API refuses by itself."""
    policy = cloudfront.CfnResponseHeadersPolicy

    def items(name: str) -> list[str]:
        return CORS_HEADERS[f"Access-Control-{name}"].split(", ")

    return policy.CorsConfigProperty(
        access_control_allow_credentials=False,
        access_control_allow_headers=policy.AccessControlAllowHeadersProperty(items=items("Allow-Headers")),
        access_control_allow_methods=policy.AccessControlAllowMethodsProperty(items=items("Allow-Methods")),
        access_control_allow_origins=policy.AccessControlAllowOriginsProperty(items=["*"]),
        access_control_expose_headers=policy.AccessControlExposeHeadersProperty(
            items=items("Expose-Headers")
        ),
        origin_override=False,
    )


def _certificate(arn: Any) -> cloudfront.CfnDistribution.ViewerCertificateProperty:
    if not arn:
        return cloudfront.CfnDistribution.ViewerCertificateProperty(cloud_front_default_certificate=True)
    return cloudfront.CfnDistribution.ViewerCertificateProperty(
        acm_certificate_arn=arn,
        minimum_protocol_version="TLSv1.2_2021",
        ssl_support_method="sni-only",
    )


def public_url(settings: Settings, distribution: cloudfront.CfnDistribution) -> str:
    """Return the URL at which clients reach the server."""
    if settings.domain:
        return f"https://{settings.domain}"
    return Fn.join("", ["https://", distribution.attr_domain_name])
