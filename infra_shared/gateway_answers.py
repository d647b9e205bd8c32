"""The answers that API Gateway gives without calling a function, in Matrix's form.

https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

MAX_REQUEST_BYTES = 4 * 1024 * 1024
"""The size of a request's body that a function can receive in any case.

A function is called with at most 6 MB. Base64 makes a body a third larger, and headers need some room.
"""

GATEWAY_ANSWERS: Mapping[str, tuple[int, Mapping[str, str | int]]] = MappingProxyType(
    {
        "DEFAULT_4XX": (400, {"errcode": "M_UNRECOGNIZED", "error": "The request can't be understood"}),
        "DEFAULT_5XX": (500, {"errcode": "M_UNKNOWN", "error": "Internal server error"}),
        "INTEGRATION_FAILURE": (502, {"errcode": "M_UNKNOWN", "error": "Internal server error"}),
        "INTEGRATION_TIMEOUT": (504, {"errcode": "M_UNKNOWN", "error": "The server took too long"}),
        "MISSING_AUTHENTICATION_TOKEN": (404, {"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"}),
        "REQUEST_TOO_LARGE": (
            413,
            {
                "errcode": "M_TOO_LARGE",
                "error": f"The request is too large: its body may have {MAX_REQUEST_BYTES} bytes",
            },
        ),
        "THROTTLED": (
            429,
            {"errcode": "M_LIMIT_EXCEEDED", "error": "Too many requests", "retry_after_ms": 1000},
        ),
    }
)
"""Status and body by type of gateway response. The headers are those of CORS."""
