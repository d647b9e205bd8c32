from __future__ import annotations

import json
import queue
import threading
from typing import Any

import pytest
from botocore.exceptions import ClientError
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from local_cloud.config import Config
from local_cloud.environment import environment
from murmuration.endpoint import WebSocket
from tests.local_cloud.routed import routed
from tests.local_cloud.waiting import PATIENCE_S

PATH = "/_matrix/client/unstable/stream"


class Recorder:
    """Functions for the three routes, which keep their events; `answers` by route key."""

    def __init__(self, **answers):
        self.events: queue.Queue = queue.Queue()
        connect_answer = answers.get("connect", {"statusCode": 200})

        @routed(WebSocket("$connect"))
        def on_connect(event, context):
            self.events.put(event)
            return connect_answer(event) if callable(connect_answer) else connect_answer

        @routed(WebSocket("$default"))
        def on_message(event, context):
            self.events.put(event)
            return {"statusCode": 200, "body": "not for the client"}

        @routed(WebSocket("$disconnect"))
        def on_disconnect(event, context):
            self.events.put(event)
            return {"statusCode": 200}

        self.functions = (on_connect, on_message, on_disconnect)

    def next(self):
        return self.events.get(timeout=PATIENCE_S)


def open_socket(gateway, uri=PATH, **options) -> ClientConnection:
    socket: ClientConnection = connect(f"ws://127.0.0.1:{gateway.port}{uri}", proxy=None, **options)
    return socket


@pytest.fixture
def management(make_client):
    """Return a client of the management API over a gateway's connections."""

    def make(gateway):
        return make_client("apigatewaymanagementapi", apigatewaymanagementapi=gateway.sockets.operations())

    return make


def test_a_connections_life_as_events(serve):
    recorder = Recorder(
        connect={"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "m.json"}},
    )
    gateway = serve(*recorder.functions)
    with open_socket(gateway, PATH + "?since=a%2Bb", subprotocols=["x", "m.json"]) as socket:
        assert socket.subprotocol == "m.json"
        connected = recorder.next()
        assert connected["queryStringParameters"] == {"since": "a+b"}
        assert connected["headers"]["Sec-Websocket-Protocol"] == "x, m.json"
        assert connected["headers"]["x-murmuration-uri"] == PATH + "?since=a%2Bb"
        context = connected["requestContext"]
        assert (context["routeKey"], context["eventType"]) == ("$connect", "CONNECT")
        assert context["domainName"].startswith(context["apiId"])
        socket.send('{"id":"1"}')
        message = recorder.next()
        assert message["body"] == '{"id":"1"}'
        assert message["requestContext"]["connectionId"] == context["connectionId"]
        assert message["requestContext"]["connectedAt"] == context["connectedAt"]
        assert (message["requestContext"]["routeKey"], message["requestContext"]["eventType"]) == (
            "$default",
            "MESSAGE",
        )
        assert message["requestContext"]["messageId"]
        socket.close(1000, "bye")
    gone = recorder.next()["requestContext"]
    assert (gone["routeKey"], gone["eventType"]) == ("$disconnect", "DISCONNECT")
    assert (gone["disconnectStatusCode"], gone["disconnectReason"]) == (1000, "bye")
    assert gone["connectionId"] == context["connectionId"]


@pytest.mark.parametrize("status", [401, 403, 500])
def test_connect_can_refuse(serve, status):
    recorder = Recorder(connect={"statusCode": status})
    with pytest.raises(InvalidStatus) as refused:
        open_socket(serve(*recorder.functions))
    assert refused.value.response.status_code == status


def test_a_failing_connect_refuses(serve):
    def fail(event):
        raise ValueError

    with pytest.raises(InvalidStatus) as refused:
        open_socket(serve(*Recorder(connect=fail).functions))
    assert refused.value.response.status_code == 500


def test_other_paths_are_no_websockets(serve):
    with pytest.raises(InvalidStatus) as refused:
        open_socket(serve(*Recorder().functions), "/_matrix/client/v3/sync")
    assert refused.value.response.status_code == 403


def test_messages_reach_the_client_in_order_and_answers_do_not(serve, management):
    recorder = Recorder()
    gateway = serve(*recorder.functions)
    client = management(gateway)
    with open_socket(gateway, "/ws") as socket:
        connection = recorder.next()["requestContext"]["connectionId"]
        socket.send("hello")
        recorder.next()
        for number in range(50):
            client.post_to_connection(ConnectionId=connection, Data=json.dumps(number).encode())
        assert [json.loads(socket.recv(timeout=PATIENCE_S)) for _ in range(50)] == list(range(50))
        found = client.get_connection(ConnectionId=connection)
        assert found["ConnectedAt"] <= found["LastActiveAt"]
        assert "sourceIp" in found["Identity"] or "SourceIp" in found["Identity"]


def test_a_connection_is_gone_before_it_is_there_and_after_it_ends(serve, management):
    clients: list[Any] = []

    def post_early(event):
        with pytest.raises(ClientError) as error:
            clients[0].post_to_connection(
                ConnectionId=event["requestContext"]["connectionId"], Data=b"too early"
            )
        return {"statusCode": 200 if error.value.response["Error"]["Code"] == "GoneException" else 500}

    recorder = Recorder(connect=post_early)
    gateway = serve(*recorder.functions)
    clients.append(management(gateway))
    with open_socket(gateway) as socket:
        connection = recorder.next()["requestContext"]["connectionId"]
        clients[0].post_to_connection(ConnectionId=connection, Data=b"now")
        assert socket.recv(timeout=PATIENCE_S) == "now"
    recorder.next()
    with pytest.raises(clients[0].exceptions.GoneException) as gone:
        clients[0].post_to_connection(ConnectionId=connection, Data=b"too late")
    assert gone.value.response["ResponseMetadata"]["HTTPStatusCode"] == 410


def test_delete_connection_ends_it(serve, management):
    recorder = Recorder()
    gateway = serve(*recorder.functions)
    client = management(gateway)
    with open_socket(gateway) as socket:
        client.delete_connection(ConnectionId=recorder.next()["requestContext"]["connectionId"])
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=PATIENCE_S)
    assert recorder.next()["requestContext"]["eventType"] == "DISCONNECT"


def test_frames_and_messages_have_limits(serve, management):
    recorder = Recorder()
    gateway = serve(*recorder.functions)
    client = management(gateway)
    with open_socket(gateway) as socket:
        connection = recorder.next()["requestContext"]["connectionId"]
        socket.send(["x" * 32_768] * 4)
        assert len(recorder.next()["body"]) == 131_072
        with pytest.raises(client.exceptions.PayloadTooLargeException):
            client.post_to_connection(ConnectionId=connection, Data=b"x" * 131_073)
        socket.send("x" * 32_769)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=PATIENCE_S)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
    recorder.next()
    with open_socket(gateway) as socket:
        recorder.next()
        socket.send(["x" * 32_768] * 4 + ["x"])
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=PATIENCE_S)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


def test_an_idle_connection_ends_and_an_active_one_lives_on(serve, management):
    recorder = Recorder()
    gateway = serve(*recorder.functions, socket_idle=2)
    client = management(gateway)
    with open_socket(gateway) as busy, open_socket(gateway) as idle:
        connections = [recorder.next()["requestContext"]["connectionId"] for _ in range(2)]
        ended = threading.Event()

        def keep_busy():
            while not ended.wait(0.02):
                client.post_to_connection(ConnectionId=connections[0], Data=b"tick")

        ticker = threading.Thread(target=keep_busy)
        ticker.start()
        try:
            with pytest.raises(ConnectionClosed):
                idle.recv(timeout=PATIENCE_S)
            assert busy.recv(timeout=PATIENCE_S) == "tick"
        finally:
            ended.set()
            ticker.join()


def test_a_connection_ends_of_old_age(serve):
    recorder = Recorder()
    gateway = serve(*recorder.functions, socket_lifetime=0.05)
    with open_socket(gateway) as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=PATIENCE_S)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001


def test_the_functions_are_told_where_the_management_api_is():
    assert environment(Config(), None)["MURMURATION_SOCKET_ENDPOINT"].startswith("https://")
