"""Intercepts the calls of AWS services in this process, before they are signed and sent.

`install` intercepts the calls that go through `calls`, and once adds handlers to botocore's built-in ones;
every client that is made afterwards, in any session, uses the current `Services`. If botocore is used, it
validates and serialises the parameters first; then they reach a service as the caller gave them.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any

from botocore import handlers
from botocore.awsrequest import AWSResponse

from local_cloud.aws.shapes import Parsed
from murmuration.aws import calls
from murmuration.aws.calls import Answer, Call, Proceed, ServiceError

Operation = Callable[[Any], Parsed]
"""An operation of a service: it gets the parameters, and returns the parsed answer."""

OnWrite = Callable[[Collection[str] | None], None]
WRITES = frozenset({"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"})

DYNAMODB = ("dynamodb", "dynamodb-streams")


class AwsError(Exception):
    """The error of an operation: the service's error code, a message, an HTTP status.

    `shape` is the exception's name if it differs from the code, as with SQS.
    """

    def __init__(self, code: str, message: str, status: int = 400, *, shape: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.shape = shape


class Services:
    """The operations that are simulated in this process: for each service id in lower case, by name.

    `on_write` is called after each DynamoDB write, with the tables if they are known. With `moto_dynamodb`,
    moto simulates DynamoDB as well.
    """

    def __init__(
        self,
        operations: Mapping[str, Mapping[str, Operation]],
        on_write: OnWrite = lambda _tables: None,
        *,
        moto_dynamodb: bool = False,
    ) -> None:
        self.operations = operations
        self.on_write = on_write
        self.moto_dynamodb = moto_dynamodb


_current: Services | None = None
_installed = False
_moto_lock = threading.Lock()


def install(services: Services) -> None:
    """Answer calls with `services` from now on. Clients that were made before the first `install` aren't
    affected.
    """
    global _current, _installed
    _current = services
    if not _installed:
        _installed = True
        calls.intercept(_intercept)
        handlers.BUILTIN_HANDLERS.extend(
            [
                ("before-parameter-build", _keep_parameters),
                ("before-call", _answer),
                ("before-send", _answer_by_moto),
                ("after-call.dynamodb", _notice_write),
            ]
        )


def uninstall(services: Services) -> None:
    """Stop answering with `services`."""
    global _current
    if _current is services:
        _current = None


def _intercept(call: Call, proceed: Proceed) -> Answer:
    operations = _current.operations.get(call.service) if _current is not None else None
    if operations is not None:
        try:
            return _operation(operations, call.service, call.operation)(call.parameters)
        except AwsError as error:
            raise ServiceError(error.shape or error.code, {"message": error.message}, error.status) from error
    answer = proceed(call)
    if _current is not None and call.operation in WRITES:
        _current.on_write(_tables_written(call))
    return answer


def _tables_written(call: Call) -> set[str]:
    """Return the tables that a call writes to."""
    if call.operation == "TransactWriteItems":
        items = call.parameters["TransactItems"]
        return {request["TableName"] for item in items for request in item.values()}
    if call.operation == "BatchWriteItem":
        return set(call.parameters["RequestItems"])
    return {call.parameters["TableName"]}


def _operation(operations: Mapping[str, Operation], service: str, name: str) -> Operation:
    operation = operations.get(name)
    if operation is None:
        raise AwsError("NotImplemented", f"The local cloud has no {service} {name}", 501)
    return operation


def _keep_parameters(params: Any, context: dict[str, Any], **_: Any) -> None:
    if _current is not None:
        context["local_cloud_parameters"] = params


def _answer(model: Any, context: dict[str, Any], **_: Any) -> tuple[AWSResponse, dict[str, Any]] | None:
    if _current is None:
        return None
    service = model.service_model.service_id.hyphenize()
    operations = _current.operations.get(service)
    if operations is None:
        return None
    request_id = str(uuid.uuid4())
    try:
        parsed = _operation(operations, service, model.name)(context["local_cloud_parameters"])
        status = 200
    except AwsError as error:
        parsed = {"Error": {"Code": error.code, "Message": error.message}}
        if error.shape:
            parsed["Error"]["QueryErrorCode"] = error.shape
        status = error.status
    parsed["ResponseMetadata"] = {
        "RequestId": request_id,
        "HTTPStatusCode": status,
        "HTTPHeaders": {"x-amzn-requestid": request_id},
        "RetryAttempts": 0,
    }
    return AWSResponse("", status, {}, None), parsed


def _answer_by_moto(event_name: str, request: Any, **_: Any) -> AWSResponse | None:
    if _current is None:
        return None
    if event_name.split(".")[1] in DYNAMODB and not _current.moto_dynamodb:
        return None
    with _moto_lock:
        from moto.core.botocore_stubber import BotocoreStubber

        stubber = BotocoreStubber()
        stubber.enabled = True
        response: AWSResponse | None = stubber(event_name, request)
        return response


def _notice_write(model: Any, **_: Any) -> None:
    if _current is not None and model.name in WRITES:
        _current.on_write(None)
