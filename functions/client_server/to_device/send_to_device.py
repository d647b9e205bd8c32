"""Send messages to devices.

https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3sendtodeviceeventtypetxnid
"""

from __future__ import annotations

from murmuration import to_device
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.federation.devices import messages


@endpoint("PUT", "/_matrix/client/{version}/sendToDevice/{eventType}/{txnId}", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    params = request.params
    to_device.send_to_device(
        request.requester,
        params["eventType"],
        params["txnId"],
        request.json_object(),
        received_ms=request.received_ms,
        send_on=messages.send,
    )
    return {}
