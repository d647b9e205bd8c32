"""Calls of an AWS service over kept connections, signed with Signature Version 4.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import json
import os
import socket
import time
from base64 import b64encode
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from murmuration.aws.calls import Answer as ServiceAnswer
from murmuration.aws.calls import Parameters, ServiceError, Unreachable
from murmuration.aws.http1 import Answer, Connection, ProtocolError

if TYPE_CHECKING:
    import ssl

PROTOCOLS = {
    "dynamodb": ("DynamoDB_20120810", "application/x-amz-json-1.0"),
    "sqs": ("AmazonSQS", "application/x-amz-json-1.0"),
    "ssm": ("AmazonSSM", "application/x-amz-json-1.1"),
    "lambda": ("", "application/json"),
}
"""The prefix of the operation's name, and the content type, by service.

Lambda's operations have paths instead. Only `Invoke` is supported, and only asynchronously.
https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
"""
CONNECT_S = 3
READ_S = {"dynamodb": 8, "sqs": 25, "ssm": 8, "lambda": 8}
"""SQS may wait 20 s for messages. Any other service that is silent for that long has lost the connection."""
KEPT_CONNECTIONS = 64


class Wire:
    """One service at one endpoint. Thread-safe."""

    def __init__(self, service: str, region: str, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        self._service, self._region = service, region
        self._prefix, self._content_type = PROTOCOLS[service]
        self._secure, self._host, self._address = parts.scheme == "https", parts.netloc, parts.hostname or ""
        self._port = parts.port or (443 if self._secure else 80)
        self._free: deque[Connection] = deque(maxlen=KEPT_CONNECTIONS)

    def post(self, operation: str, parameters: Parameters) -> ServiceAnswer:
        """Send one request and return the answer. Raises ServiceError."""
        if self._service == "lambda":
            path = f"/2015-03-31/functions/{parameters['FunctionName']}/invocations"
            body = parameters["Payload"].encode()
            signed = self._headers(path, body, "x-amz-invocation-type", parameters["InvocationType"])
        else:
            path, body = "/", _encode(parameters).encode()
            signed = self._headers(path, body, "x-amz-target", f"{self._prefix}.{operation}")
        try:
            status, headers, content, _ = self._exchange(_request(path, signed, body))
        except (OSError, ProtocolError) as error:
            raise Unreachable(f"{self._service} {operation}: {error!r}") from error
        try:
            answer: ServiceAnswer = json.loads(content) if content else {}
        except ValueError as error:
            raise Unreachable(f"{self._service} {operation} answered {status} without JSON") from error
        if status in (200, 202):
            return answer
        kind = headers.get("x-amzn-errortype", "")
        code = (answer.get("__type") or kind or str(status)).rpartition("#")[2].partition(":")[0]
        raise ServiceError(code, answer, status)

    def _exchange(self, request: bytes) -> Answer:
        """Send a request and return its answer.

        The server may have closed a kept connection; then the request is sent over another one. Raises
        OSError, ProtocolError.
        """
        while True:
            kept = self._take()
            connection = kept or self._connect()
            try:
                answer = connection.exchange(request)
            except TimeoutError:
                connection.close()
                # the other kept connections may be dead too, and would take as long to fail
                self._forget_kept()
                raise
            except (OSError, ProtocolError):
                connection.close()
                if kept is None:
                    raise
                continue
            except BaseException:
                connection.close()
                raise
            if answer.closes:
                connection.close()
            else:
                self._free.append(connection)
            return answer

    def _take(self) -> Connection | None:
        """Return the most recently used open connection; None if there is none."""
        while True:
            try:
                connection = self._free.pop()
            except IndexError:
                return None
            if not connection.is_readable:
                return connection
            connection.close()  # no answer is due, so readable means closed

    def _forget_kept(self) -> None:
        while True:
            try:
                self._free.pop().close()
            except IndexError:
                return

    def _connect(self) -> Connection:
        opened = socket.create_connection((self._address, self._port), CONNECT_S)
        try:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._secure:
                opened = _tls().wrap_socket(opened, server_hostname=self._address)
            opened.settimeout(READ_S[self._service])
        except BaseException:
            opened.close()
            raise
        return Connection(opened)

    # -- Signing ---------------------------------------------------------------------------------------------

    def _headers(self, path: str, body: bytes, how: str, what: str) -> dict[str, str]:
        """Return the headers of a signed request. The header named `how` has the value `what`, the requested
        operation.
        """
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        signed = {
            "content-type": self._content_type,
            "host": self._host,
            "x-amz-date": moment,
            "x-amz-security-token": os.environ.get("AWS_SESSION_TOKEN", ""),
            how: what,
        }
        if not signed["x-amz-security-token"]:
            del signed["x-amz-security-token"]
        signed = dict(sorted(signed.items()))
        key_id, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
        scope = f"{moment[:8]}/{self._region}/{self._service}/aws4_request"
        names = ";".join(signed)
        lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
        request = f"POST\n{path}\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
        digest = hashlib.sha256(request.encode()).hexdigest()
        key = _signing_key(secret, moment[:8], self._region, self._service)
        signature = hmac.digest(
            key, f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}".encode(), "sha256"
        ).hex()
        signed["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return signed


@functools.lru_cache(maxsize=8)
def _signing_key(secret: str, *parts: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (*parts, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


@functools.cache
def _tls() -> ssl.SSLContext:
    import ssl

    return ssl.create_default_context(cafile=_authorities(ssl.get_default_verify_paths()))


def _authorities(known: ssl.DefaultVerifyPaths) -> str | None:
    """Return the file of trusted certificate authorities: a configured one, None for the system's, or
    botocore's.
    """
    asked = os.environ.get("AWS_CA_BUNDLE") or None
    if asked or known.cafile or known.capath:
        return asked
    from importlib.util import find_spec

    spec = find_spec("botocore")
    folders = spec.submodule_search_locations if spec is not None else None
    return os.path.join(folders[0], "cacert.pem") if folders else None


def _base64(value: object) -> str:
    if isinstance(value, bytes):
        return b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} can't be sent")


_encode = json.JSONEncoder(separators=(",", ":"), default=_base64, check_circular=False).encode


def _request(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return the bytes of a POST request."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body
