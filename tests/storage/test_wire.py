"""The wire to DynamoDB, SQS, SSM and Lambda: signatures, answers, errors, connections that end."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import botocore
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

from murmuration.aws import calls, wire
from murmuration.aws.calls import ATTEMPTS, SECRET_ATTEMPTS, ServiceError, Unreachable, call
from murmuration.aws.wire import PROTOCOLS, Wire, _authorities
from tests.local_cloud.waiting import PATIENCE_S

Answers = list[Any]
REFUSED = {
    "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
    "Item": {"a": {"N": "1"}},
}


class Service:
    """Answers with what a test has prepared: (status, JSON), bytes as they are, or None to hang up."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.answers: Answers = []
        self.asked: list[tuple[dict[str, str], bytes]] = []
        self.paths: list[str] = []
        self.connections = 0
        self.closes = False
        self.silent = 0  # so many connections, the oldest, are answered no more
        self.stopped = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                service.connections += 1
                self.number = service.connections
                super().setup()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.paths.append(self.path)
                service.asked.append(({name.lower(): value for name, value in self.headers.items()}, body))
                if self.number <= service.silent:
                    service.stopped.wait()
                    return
                answer = service.answers.pop(0)
                if callable(answer):
                    answer = answer()
                if answer is None:
                    self.close_connection = True
                    return
                status, content = answer
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                self.close_connection = service.closes

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http{'s' if certificate else ''}://localhost:{self.server.server_port}"

    def stop(self) -> None:
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    found = Service()
    for name, value in credentials(found.url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    monkeypatch.setattr(calls, "FIRST_PAUSE_S", 0)
    monkeypatch.setattr(calls, "_interceptors", ())
    calls.forget()
    yield found
    found.stop()
    monkeypatch.undo()
    calls.forget()


def credentials(url: str) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        "AWS_REGION": "eu-central-1",
        **{f"AWS_ENDPOINT_URL_{name}": url for name in ("DYNAMODB", "SQS", "SSM", "LAMBDA")},
    }


def get() -> dict[str, Any]:
    return call("dynamodb", "GetItem", {"TableName": "rooms", "Key": {"id": {"B": b"\x00\xff"}}})


def test_an_answer_and_what_was_asked(service: Service) -> None:
    service.answers = [(200, {"Item": {}})]
    assert get() == {"Item": {}}
    ((headers, body),) = service.asked
    assert headers["x-amz-target"] == "DynamoDB_20120810.GetItem"
    assert json.loads(body) == {"TableName": "rooms", "Key": {"id": {"B": "AP8="}}}


def test_an_event_goes_to_a_functions_own_path(service: Service) -> None:
    service.answers = [(202, b"")]
    asked = {"FunctionName": "murmuration-queue-outbound", "InvocationType": "Event", "Payload": "{}"}
    assert call("lambda", "Invoke", asked) == {}
    ((headers, body),) = service.asked
    assert service.paths == ["/2015-03-31/functions/murmuration-queue-outbound/invocations"]
    assert headers["x-amz-invocation-type"] == "Event"
    assert body == b"{}"


def test_a_ring_is_no_part_of_a_circle(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lambda stops a function that calls itself, if the call has the header that the function was given."""
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5f84c7a1-0;Lineage=1:a87bd80c:16")
    service.answers = [(202, b"")]
    call("lambda", "Invoke", {"FunctionName": "f", "InvocationType": "Event", "Payload": "{}"})
    ((headers, _),) = service.asked
    assert "x-amz-invocation-type" in headers
    assert "x-amzn-trace-id" not in headers


@given(
    st.sampled_from(sorted(PROTOCOLS)),
    st.sampled_from(["/", "/2015-03-31/functions/some-name_1/invocations"]),
    st.sampled_from([("x-amz-target", "Service.DoIt"), ("x-amz-invocation-type", "Event")]),
    st.text(),
    st.one_of(st.just(""), st.text("abc/+=", min_size=1)),
)
def test_signatures_are_botocores(name: str, where: str, how: tuple[str, str], text: str, token: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        given_ = {**credentials("http://x"), "AWS_SESSION_TOKEN": token}
        for variable, value in given_.items():
            patch.setenv(variable, value)
        sender = Wire(name, "eu-central-1", "https://service.example")
        body = json.dumps({"text": text}).encode()
        headers = sender._headers(where, body, *how)
    request = AWSRequest("POST", f"https://service.example{where}", data=body)
    for header in ("content-type", how[0]):
        request.headers[header] = headers[header]
    request.context["timestamp"] = headers["x-amz-date"]
    who = Credentials(given_["AWS_ACCESS_KEY_ID"], given_["AWS_SECRET_ACCESS_KEY"], token or None)
    auth = SigV4Auth(who, name, "eu-central-1")
    if token:
        request.headers["X-Amz-Security-Token"] = token
    request.headers["X-Amz-Date"] = headers["x-amz-date"]
    request.context["payload_signing_enabled"] = True
    canonical = auth.canonical_request(request)
    signature = auth.signature(auth.string_to_sign(request, canonical), request)
    assert headers["authorization"].endswith(f"Signature={signature}")


def test_a_refusal_has_its_code_and_its_answer(service: Service) -> None:
    service.answers = [(400, REFUSED)]
    with pytest.raises(ServiceError) as error:
        get()
    assert (error.value.code, error.value.status) == ("ConditionalCheckFailedException", 400)
    assert error.value.answer["Item"] == {"a": {"N": "1"}}
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    "passing",
    [
        (400, {"__type": "x#ThrottlingException"}),
        (400, {"__type": "x#ProvisionedThroughputExceededException"}),
        (400, {"__type": "x#TransactionInProgressException"}),
        (500, {"__type": "x#InternalServerError"}),
        (503, b"busy"),
        (200, b"not JSON"),
        None,
    ],
)
def test_what_passes_is_tried_again(service: Service, passing: Any) -> None:
    service.answers = [passing, passing, (200, {"Item": {}})]
    assert get() == {"Item": {}}
    service.answers = [passing] * ATTEMPTS
    with pytest.raises(ServiceError):
        get()
    assert service.answers == []


def test_a_transaction_repeated_is_the_same_transaction(service: Service) -> None:
    service.answers = [None, (200, {})]
    call("dynamodb", "TransactWriteItems", {"TransactItems": []})
    first, second = (json.loads(body)["ClientRequestToken"] for _, body in service.asked)
    assert first == second


def test_a_connection_is_kept(service: Service) -> None:
    service.answers = [(200, {})] * 3
    for _ in range(3):
        get()
    assert service.connections == 1


@pytest.mark.parametrize("silently", [True, False])
def test_a_kept_connection_that_ended_costs_no_attempt(
    service: Service, monkeypatch: pytest.MonkeyPatch, silently: bool
) -> None:
    monkeypatch.setattr(calls, "ATTEMPTS", 1)
    service.answers = [(200, {}), (200, {})] if silently else [(200, {}), None, (200, {})]
    service.closes = silently
    get()
    get()
    assert service.connections == 2


def test_connections_that_fell_silent_cost_one_attempt(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function that was frozen for long may have such connections."""
    monkeypatch.setattr(calls, "ATTEMPTS", 2)
    monkeypatch.setitem(wire.READ_S, "dynamodb", 2.0)
    together = threading.Barrier(4)

    def meet() -> Any:
        together.wait(PATIENCE_S)
        return 200, {}

    service.answers = [meet] * 4
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: get(), range(4)))
    service.silent = service.connections
    service.answers = [(200, {"Item": {}})]
    assert get() == {"Item": {}}
    assert service.connections == service.silent + 1


def test_a_secret_is_asked_for_longer(service: Service) -> None:
    busy = (400, {"__type": "ThrottlingException", "message": "Rate exceeded"})
    service.answers = [busy] * (SECRET_ATTEMPTS - 1) + [(200, {"Parameter": {"Value": "a"}})]
    assert call("ssm", "GetParameter", {"Name": "/a"}) == {"Parameter": {"Value": "a"}}
    service.answers = [busy] * SECRET_ATTEMPTS
    with pytest.raises(ServiceError, match="Rate exceeded"):
        call("ssm", "GetParameter", {"Name": "/a"})


def test_nobody_there(service: Service) -> None:
    service.stop()
    with pytest.raises(Unreachable):
        get()


@pytest.mark.parametrize(
    ("asked", "system", "found"),
    [
        ("", "/etc/ssl/certs", None),
        ("/mine.pem", "/etc/ssl/certs", "/mine.pem"),
        ("/mine.pem", None, "/mine.pem"),
        ("", None, str(Path(botocore.__file__).parent / "cacert.pem")),
    ],
)
def test_whom_it_trusts(
    monkeypatch: pytest.MonkeyPatch, asked: str, system: str | None, found: str | None
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", asked)
    known = ssl.get_default_verify_paths()
    known = known._replace(cafile=None, capath=system)  # type: ignore[arg-type]  # they may be None
    assert (_authorities(known) or None) == found
    assert found in (None, "/mine.pem") or Path(found).is_file()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Return a certificate for localhost that nobody has signed, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + made.public_bytes(Encoding.PEM))
    return path


@pytest.mark.parametrize("trusted", [True, False])
def test_a_service_must_be_who_it_says(
    monkeypatch: pytest.MonkeyPatch, certificate: Path, trusted: bool
) -> None:
    service = Service(certificate)
    for name, value in credentials(service.url).items():
        monkeypatch.setenv(name, value)
    if trusted:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    else:
        monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    service.answers = [(200, {"Item": {}})]
    wire._tls.cache_clear()
    try:
        sender = Wire("dynamodb", "eu-central-1", service.url)
        if trusted:
            assert sender.post("GetItem", {}) == {"Item": {}}
        else:
            with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
                sender.post("GetItem", {})
            assert service.asked == []
    finally:
        wire._tls.cache_clear()
        service.stop()


def test_interceptors_see_each_call_in_turn(service: Service) -> None:
    seen = []

    def first(asked: calls.Call, proceed: calls.Proceed) -> calls.Answer:
        seen.append(asked.operation)
        return {**proceed(asked), "first": True}

    def second(asked: calls.Call, proceed: calls.Proceed) -> calls.Answer:
        return {"second": True}

    calls.intercept(first)
    calls.intercept(second)
    assert get() == {"first": True, "second": True}
    calls.release(second)
    service.answers = [(200, {})]
    assert get() == {"first": True}
    calls.intercept(second, first=True)  # what it answers itself, the one after it doesn't see
    assert get() == {"second": True}
    calls.release(second)
    calls.release(first)
    assert seen == ["GetItem"] * 2


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def by_wire(patch: pytest.MonkeyPatch, url: str) -> None:
    for name, value in credentials(url).items():
        patch.setenv(name, value)


def by_botocore(patch: pytest.MonkeyPatch, url: str) -> None:
    by_wire(patch, url)
    patch.setattr(calls, "_wire", lambda _: None)
    patch.setenv("AWS_DEFAULT_REGION", "eu-central-1")


@pytest.mark.parametrize("way", [by_wire, by_botocore])
def test_services_understand_and_are_understood(
    monkeypatch: pytest.MonkeyPatch, moto: str, way: Callable[[pytest.MonkeyPatch, str], None]
) -> None:
    monkeypatch.setattr(calls, "_interceptors", ())
    way(monkeypatch, moto)
    clear = [accessor for accessor in (calls._client, calls._wire) if hasattr(accessor, "cache_clear")]
    for accessor in clear:
        accessor.cache_clear()
    name = way.__name__
    url = call("sqs", "CreateQueue", {"QueueName": name})["QueueUrl"]
    call("sqs", "SendMessage", {"QueueUrl": url, "MessageBody": "hello ✉"})
    (message,) = call("sqs", "ReceiveMessage", {"QueueUrl": url})["Messages"]
    assert message["Body"] == "hello ✉"
    with pytest.raises(ServiceError) as error:
        call("sqs", "SendMessage", {"QueueUrl": f"{url}-2", "MessageBody": "x"})
    assert error.value.code == "QueueDoesNotExist"
    with pytest.raises(ServiceError) as error:
        call("ssm", "GetParameter", {"Name": "/none", "WithDecryption": True})
    assert error.value.code == "ParameterNotFound"
    with pytest.raises(ServiceError) as error:
        call("dynamodb", "GetItem", {"TableName": "none", "Key": {"id": {"S": "a"}}})
    assert error.value.code == "ResourceNotFoundException"
    for accessor in clear:
        accessor.cache_clear()
