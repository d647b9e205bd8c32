"""Read data of the account.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridaccount_datatype
"""

from __future__ import annotations

from murmuration import account_data
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint("GET", "/_matrix/client/{version}/user/{userId}/account_data/{type}", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    params = request.params
    return account_data.get_account_data(request.requester, params["userId"], params["type"])
