"""Operators' commands, on a deployment that moto stands for and on a data folder."""

from __future__ import annotations

import io
import json
import os
import re
import time
from argparse import Namespace
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from local_cloud.testing import LocalCloud, local_cloud
from murmuration.protocol.identifiers import EventId, RoomId, ServerName, UserId
from operators import doctor, operating
from operators.cli import main
from operators.doctor import Answer, Standing, Unreachable
from operators.operating import NotOperable, Server

pytestmark = pytest.mark.usefixtures("no_deployment")
PASSWORD = "a long enough password"
SERVER = Server("murmuration-test", ServerName("example.org"), "https://matrix.example.org")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    path = tmp_path_factory.mktemp("data")
    with local_cloud(path, registration="closed", server_name="example.org") as running:
        yield running


@pytest.fixture(scope="module")
def folder(cloud: LocalCloud) -> Path:
    """Return a data folder that a server is running on."""
    return cloud.data


@pytest.fixture
def command(folder: Path, capsys, monkeypatch):
    """Run a sub-command on the folder, and return its exit status, output and errors."""

    def run(*words: str, given: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(given))
        status = main([*words, "--data", str(folder)])
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


class TestUsers:
    def test_an_account_is_made_changed_and_closed(self, command) -> None:
        status, output, _ = command("users", "create", "@Carol", "--admin", given=PASSWORD + "\n")
        assert (status, output.split()[0]) == (0, "@carol:example.org")
        assert self.listed(command)["@carol:example.org"]["admin"] is True

        assert command("users", "make-admin", "carol", "--revoke")[0] == 0
        assert self.listed(command)["@carol:example.org"]["admin"] is None

        before = self.account(UserId("@carol:example.org"))
        assert command("users", "reset-password", "carol", given="another good password\n")[0] == 0
        assert self.account(UserId("@carol:example.org"))["password_hash"] != before["password_hash"]

        assert command("users", "deactivate", "carol", given="no\n")[0] == 1
        assert self.listed(command)["@carol:example.org"]["deactivated_ms"] is None
        assert command("users", "deactivate", "carol", given="@carol:example.org\n")[0] == 0
        assert self.listed(command)["@carol:example.org"]["deactivated_ms"] > 0
        assert "deactivated" in command("users", "list")[1]

    def listed(self, command) -> dict:
        lines = command("users", "list", "--json")[1].splitlines()
        return {found["user_id"]: found for found in map(json.loads, lines)}

    def account(self, user_id: UserId) -> dict:
        from murmuration.storage.users.accounts import read_account

        with operating.connected(self.folder, None):
            return dict(read_account(user_id) or {})

    @pytest.fixture(autouse=True)
    def _folder(self, folder: Path) -> None:
        self.folder = folder

    def test_what_cannot_be_done_is_a_sentence(self, command) -> None:
        assert command("users", "create", "dave", given="\n")[0] == 1
        assert command("users", "create", "dave", given=PASSWORD)[0] == 0
        status, _, error = command("users", "create", "dave", given=PASSWORD)
        assert (status, "taken" in error) == (1, True)
        assert command("users", "make-admin", "nobody")[0] == 1
        assert command("users", "reset-password", "nobody", given=PASSWORD)[0] == 1
        assert command("users", "deactivate", "nobody", "--yes")[0] == 1
        assert "is not a user of" in command("users", "make-admin", "@dave:elsewhere.org")[2]


def test_registration_tokens(command) -> None:
    status, output, _ = command("registration-tokens", "create", "--uses", "2", "--days", "1")
    token = output.strip()
    assert status == 0
    assert re.search(rf"^{token}  0 used of 2, until ", command("registration-tokens", "list")[1], re.M)
    assert command("registration-tokens", "create", "--token", token)[0] == 1
    assert command("registration-tokens", "create", "--token", "not a token")[0] == 1
    assert command("registration-tokens", "delete", token)[0] == 0
    assert command("registration-tokens", "delete", token)[0] == 2
    assert command("registration-tokens", "list")[1] == ""


def test_reports(command, folder: Path) -> None:
    from murmuration.storage import reports

    with operating.connected(folder, None):
        reports.add(
            reports.Report(
                1, "@carol:example.org", "\x1b[2J", room_id=RoomId("!room"), event_id=EventId("$event")
            )
        )
        reports.add(reports.Report(2, "@carol:example.org", "", user_id=UserId("@mallory:example.org")))
    status, output, _ = command("reports", "list")
    event, user = output.splitlines()
    assert status == 0
    assert "\x1b" not in output
    assert "1970-01-01 00:00 UTC  @carol:example.org reports event $event" in event
    assert user.endswith('reports user @mallory:example.org: ""')
    assert command("reports", "delete", event.split()[0])[0] == 0
    assert command("reports", "delete", event.split()[0])[0] == 2
    assert command("reports", "list")[1].splitlines() == [user]


def test_destinations(command, folder: Path) -> None:
    from murmuration.storage.servers import backlogs, destinations
    from murmuration.storage.servers.destinations import Health

    with operating.connected(folder, None):
        destinations.write_failure(ServerName("dead.example"), Health(1000, 2000, 3000, 4000), 5)
        for room_id in (RoomId("!a"), RoomId("!b")):
            backlogs.open_backlog(
                ServerName("dead.example"),
                room_id,
                1,
                now_ms=1,
                due_ms=2**50,
                sending={"made_ms": 1, "parts": []},
            )
        destinations.write_failure(ServerName("other.example"), Health(1000, 2000, 3000, 4000), 5)
        backlogs.open_backlog(
            ServerName("slow.example"),
            RoomId(">"),
            0,
            now_ms=1,
            due_ms=2**50,
            sending={"made_ms": 1, "parts": []},
        )
    status, output, _ = command("destinations", "list")
    dead, other, slow = output.splitlines()
    assert slow == "slow.example  answers, messages to devices or news of them are owed to it"
    assert "Deleted what was owed" in command("destinations", "reset", "slow.example", "--forget")[1]
    assert status == 0
    assert dead == (
        "dead.example  fails since 1970-01-01 00:00 UTC, asked again at 1970-01-01 00:00 UTC,"
        " events of 2 rooms are owed to it"
    )
    assert other.startswith("other.example  fails since")
    assert command("destinations", "reset", "no name")[0] == 2
    assert command("destinations", "reset", "other.example")[:2] == (0, "Nothing is owed to other.example.\n")
    assert "within a minute" in command("destinations", "reset", "dead.example")[1]
    with operating.connected(folder, None):
        assert backlogs.read_waiting() == [("dead.example", 0)]
        assert destinations.read(ServerName("dead.example")) == Health()
    assert command("destinations", "list")[1].startswith("dead.example  answers, events of 2 rooms")
    assert "2 rooms" in command("destinations", "reset", "dead.example", "--forget")[1]
    assert command("destinations", "list")[1] == ""


def test_a_room_is_rejoined(command, monkeypatch) -> None:
    from murmuration.federation.membership import repairing

    asked: list[Any] = []

    def note(*words: Any) -> list[str]:
        asked.append(words)
        return ["@alice:example.org"]

    with monkeypatch.context() as patch:
        patch.setattr(repairing, "rejoin_room", note)
        status, out, _ = command("room", "rejoin", "!a:b.example", "--via", "c.example", "--via", "d.example")
    assert (status, asked) == (0, [("!a:b.example", ["c.example", "d.example"])])
    assert out == "@alice:example.org is in the room.\n"
    status, _, error = command("room", "rejoin", "!unknown:b.example")
    assert (status, error) == (1, "Room !unknown:b.example is not known\n")


def test_keys_of_another_server_are_fetched(command, monkeypatch) -> None:
    from murmuration.federation.keys import fetching
    from murmuration.federation.requests.errors import Unreachable as NoAnswer
    from murmuration.protocol.pdus.keys import VerifyKey
    from murmuration.storage.servers.remote_keys import StoredKey

    def fetch(server: ServerName) -> list[StoredKey]:
        if server != "there.example":
            raise NoAnswer("nobody there")
        keys = [
            VerifyKey("ed25519:a", b"k" * 32, valid_until_ts=0),
            VerifyKey("ed25519:b", b"l" * 32, expired_ts=0),
        ]
        return [StoredKey(server, key, "origin", 0) for key in keys]

    monkeypatch.setattr(fetching, "fetch_from_origin", fetch)
    status, output, _ = command("keys", "fetch", "there.example")
    assert status == 0
    assert [line.split("  ")[2] for line in output.splitlines()] == [
        "valid until 1970-01-01 00:00 UTC", "a former key, until 1970-01-01 00:00 UTC",
    ]  # fmt: skip
    status, _, error = command("keys", "fetch", "gone.example")
    assert (status, "nobody there" in error) == (2, True)
    assert command("keys", "fetch", "no name")[0] == 2


def test_a_rotation_keeps_the_former_key_and_what_is_derived_from_it(command, folder: Path) -> None:
    from murmuration import server_keys

    with operating.connected(folder, None):
        secret, before = server_keys.derived_key("test"), server_keys.signing_key()
    assert command("keys", "make")[0] == 2
    assert command("keys", "rotate")[0] == 0
    with operating.connected(folder, None):
        assert server_keys.derived_key("test") == secret
        assert server_keys.signing_key().key_id != before.key_id
        ((former, until_ms),) = server_keys.former_keys()
        assert former.public_base64 == before.public_base64
        assert 0 < until_ms / 1000 - time.time() <= 24 * 3600
    assert command("keys", "rotate")[0] == 0
    with operating.connected(folder, None):
        assert server_keys.derived_key("test") == secret
        assert len(server_keys.former_keys()) == 2
    lines = command("keys", "list")[1].splitlines()
    assert [line.endswith("in use") for line in lines] == [True, False, False]


def test_a_folder_without_a_server_is_told_of(tmp_path: Path, capsys) -> None:
    assert main(["users", "list", "--data", str(tmp_path)]) == 2
    assert "No server has run in" in capsys.readouterr().err


def test_the_running_server_and_commands_see_each_other_s_changes(command, cloud: LocalCloud) -> None:
    assert command("users", "create", "erin", given=PASSWORD)[0] == 0
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "erin"},
        "password": PASSWORD,
    }
    assert _post(f"{cloud.url}/_matrix/client/v3/login", login)["user_id"] == "@erin:example.org"
    _, output, _ = command("doctor", "--url", cloud.url)
    assert " ok  versions" in output
    assert " ok  tables" in output


def test_commands_work_on_what_no_server_runs_on(tmp_path: Path, capsys) -> None:
    with local_cloud(tmp_path, server_name="stopped.example"):
        pass
    assert main(["doctor", "--data", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "no server is running" in output
    assert " ok  tables" in output


def _post(url: str, body: dict) -> Any:
    import urllib.request

    request = urllib.request.Request(url, json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request) as response:
        return json.load(response)


class TestDoctor:
    @pytest.fixture(autouse=True)
    def _answers(self, monkeypatch) -> None:
        self.answers: dict[str, Answer] = {}

        def fetch(url: str) -> Answer:
            if url not in self.answers:
                raise Unreachable("no route to it")
            return self.answers[url]

        monkeypatch.setattr(doctor, "fetch", fetch)

    def answer(self, url: str, body: dict | None, status: int = 200, *, skew: float = 0) -> Answer:
        now = time.time()
        self.answers[url] = Answer(status, body, formatdate(now + skew, usegmt=True), now)
        return self.answers[url]

    def test_versions_and_clock(self) -> None:
        assert doctor.check_versions(self.answer("x", {"versions": ["v1.1"]})).standing is Standing.OK
        assert doctor.check_versions(self.answer("x", {"versions": []})).standing is Standing.FAILED
        assert doctor.check_versions(self.answer("x", None, 502)).standing is Standing.FAILED
        assert doctor.check_clock(self.answer("x", {})).standing is Standing.OK
        assert doctor.check_clock(self.answer("x", {}, skew=-60)).standing is Standing.WARNING

    def test_well_knowns_are_looked_for_at_the_server_name(self) -> None:
        where = "https://example.org/.well-known/matrix/client"
        check = lambda: doctor.check_wellknown_client(SERVER, "https://matrix.example.org")  # noqa: E731
        self.answer(where, {"m.homeserver": {"base_url": "https://matrix.example.org/"}})
        assert check().standing is Standing.OK
        self.answer(where, {"m.homeserver": {"base_url": "https://old.example.org"}})
        assert check().standing is Standing.FAILED
        self.answer(where, None, 404)
        assert check().standing is Standing.WARNING

    def test_others_must_be_told_of_port_443(self, monkeypatch) -> None:
        """In a deployment, nothing listens at another port."""
        from murmuration.settings import Settings

        monkeypatch.setattr("murmuration.settings.settings", lambda: Settings(ServerName("example.org"), ""))
        where = "https://example.org/.well-known/matrix/server"
        for answer, standing in (
            ({"m.server": "matrix.example.org:443"}, Standing.OK),
            ({"m.server": "matrix.example.org"}, Standing.FAILED),
            ({"m.server": "matrix.example.org:8448"}, Standing.FAILED),
            (None, Standing.FAILED),
        ):
            self.answer(where, answer)
            assert doctor.check_wellknown_server(SERVER, "https://matrix.example.org").standing is standing
        local = Server("murmuration-test", ServerName("example.org"), "https://matrix.example.org", Path())
        assert doctor.check_wellknown_server(local, "https://m").standing is Standing.SKIPPED

    def test_servers_that_fail_are_listed(self, monkeypatch) -> None:
        from murmuration.settings import Settings
        from murmuration.storage.servers import standings
        from murmuration.storage.servers.standings import ServerStanding

        monkeypatch.setattr("murmuration.settings.settings", lambda: Settings(ServerName("example.org"), ""))
        found = [
            ServerStanding(ServerName(f"s{number}.example"), 1000 + number, 1, number) for number in range(12)
        ]
        monkeypatch.setattr(
            standings, "scan_standings", lambda: iter([*found, ServerStanding(ServerName("well.example"))])
        )
        findings = list(doctor.check_destinations())
        assert {finding.standing for finding in findings} == {Standing.WARNING}
        assert len(findings) == 11
        assert findings[0].sentence.startswith("s0.example has failed for")
        assert findings[-1].sentence.startswith("and 2 more")
        monkeypatch.setattr(standings, "scan_standings", lambda: iter(()))
        (fine,) = doctor.check_destinations()
        assert fine.standing is Standing.OK

    def test_federation(self, monkeypatch) -> None:
        """Other servers must find this server's own keys and its API at the address to which the server name
        resolves.
        """
        from murmuration.protocol.pdus.keys import build_server_keys
        from murmuration.protocol.pdus.signing import SigningKey
        from murmuration.settings import Settings

        config = Settings(ServerName("example.org"), "")
        monkeypatch.setattr("murmuration.settings.settings", lambda: config)
        own, strange = SigningKey(b"k" * 32, "a_1"), SigningKey(b"x" * 32, "a_1")
        monkeypatch.setattr(doctor, "_own_keys", lambda: {own.public_key})

        def check() -> Standing:
            return doctor.check_federation(SERVER, "https://public").standing

        def keys(key: SigningKey) -> Any:
            return build_server_keys(ServerName("example.org"), [key], int((time.time() + 86_400) * 1000))

        wellknown = "https://example.org/.well-known/matrix/server"
        where, version = "https://m:443/_matrix/key/v2/server", "https://m:443/_matrix/federation/v1/version"
        self.answer(wellknown, {"m.server": "m:443"})
        self.answer("https://public/_matrix/key/v2/server", keys(own))
        self.answer(where, keys(own))
        self.answer(version, {"server": {"name": "Murmuration"}})
        assert check() is Standing.OK
        for body, status in ((keys(strange), 200), ({**keys(own), "valid_until_ts": 5}, 200), (None, 404)):
            self.answer(where, body, status)
            assert check() is Standing.FAILED
        self.answer(where, keys(own))
        self.answer(version, None, 502)
        assert check() is Standing.FAILED
        del self.answers[where]
        with pytest.raises(Unreachable):
            check()
        config = Settings(ServerName("example.org"), "", federation=False)
        assert check() is Standing.SKIPPED

    def test_a_server_that_does_not_answer_fails(self) -> None:
        (finding,) = doctor._http_checks(SERVER, "https://m")
        assert (finding.standing, finding.subject) == (Standing.FAILED, "versions")


@pytest.fixture
def deployed(monkeypatch) -> Iterator[None]:
    """Yield a deployment without functions: tables, a key and queues, in moto."""
    from moto import mock_aws

    from murmuration.aws import dynamodb, parameters, queues
    from murmuration.storage.tables import TABLES

    for name, value in (
        ("ACCESS_KEY_ID", "test"),
        ("SECRET_ACCESS_KEY", "test"),
        ("DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(f"AWS_{name}", value)
    variables = {"MURMURATION_SERVER_NAME": "example.org", "MURMURATION_PREFIX": "murmuration-test"}
    monkeypatch.setattr(operating, "_settings_of", lambda prefix: variables)
    with mock_aws(), operating.connected(None, "murmuration-test"):
        for table in TABLES:
            dynamodb.client().create_table(**table.create_request(f"murmuration-test-{table.name}"))
        value = "ed25519 a_1 " + "A" * 43
        parameters.client().put_parameter(
            Name="/murmuration-test/signing-key", Value=value, Type="SecureString"
        )
        queues.client().create_queue(QueueName="murmuration-test-dead-letters")
        queues.client().create_queue(QueueName="murmuration-test-wake-1")
        yield


def test_a_deployment_is_worked_on_through_aws(deployed: None, capsys, monkeypatch) -> None:
    from murmuration.aws import queues

    monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD))
    prefix = ("--prefix", "murmuration-test")
    assert main(["users", "create", "frank", *prefix]) == 0
    assert main(["users", "list", *prefix]) == 0
    assert "@frank:example.org" in capsys.readouterr().out
    assert main(["keys", "rotate", *prefix]) == 0

    server = Server("murmuration-test", ServerName("example.org"), "https://example.org")
    with operating.connected(None, "murmuration-test"):
        assert doctor.check_signing_key().standing is Standing.OK
        assert [found.standing for found in doctor.check_tables()] == [Standing.OK]
        (found,) = doctor.check_queues(server)
        assert found.sentence == "1, in which 0 messages wait"
        queues.client().send_message(QueueUrl=queues.url_of("murmuration-test-dead-letters"), MessageBody="x")
        assert next(doctor.check_queues(server)).standing is Standing.FAILED


def test_a_check_that_aws_refuses_does_not_end_the_others(deployed: None, monkeypatch) -> None:
    from botocore.exceptions import ClientError

    def refused() -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetParameter")

    monkeypatch.setattr(doctor, "check_signing_key", refused)
    server = Server("murmuration-test", ServerName("example.org"), "https://example.org", is_running=False)
    with operating.connected(None, "murmuration-test"):
        found = {finding.subject: finding for finding in doctor.checks(server, server.public_url)}
    assert found["signing key"].standing is Standing.FAILED
    assert found["signing key"].sentence.startswith("AWS: ")
    assert found["tables"].standing is Standing.OK
    assert {"queues", "other servers", "registration"} <= found.keys()


def test_a_deployment_that_is_not_there_is_told_of(monkeypatch, capsys) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    assert main(["users", "list", "--prefix", "nothing"]) == 2
    assert "AWS_REGION" in capsys.readouterr().err


def test_a_deployment_is_looked_for_in_the_region_of_either_variable(monkeypatch, capsys) -> None:
    from moto import mock_aws

    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with mock_aws():
        assert main(["users", "list", "--prefix", "nothing"]) == 2
    assert "eu-north-1" in capsys.readouterr().err
    assert "AWS_DEFAULT_REGION" not in os.environ


def test_user_ids() -> None:
    assert operating.user_id_of("alice", SERVER) == "@alice:example.org"
    assert operating.user_id_of("@alice", SERVER) == "@alice:example.org"
    with pytest.raises(NotOperable):
        operating.user_id_of("@alice:other.org", SERVER)


def test_errors_of_aws_are_a_sentence(capsys, monkeypatch, folder: Path) -> None:
    from botocore.exceptions import EndpointConnectionError

    def refuse(_: Server) -> int:
        raise EndpointConnectionError(endpoint_url="http://nowhere")

    assert operating.operate(Namespace(data=folder, prefix=None), refuse) == 1
    assert capsys.readouterr().err.startswith("AWS: ")
