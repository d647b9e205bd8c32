"""Where a server name leads to: each branch of the specification, over a made-up network with real TLS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from murmuration.federation.names import resolving, well_known
from murmuration.federation.names.resolving import NoRoute
from murmuration.federation.requests import client, health
from murmuration.federation.requests.errors import Unreachable
from murmuration.protocol.identifiers import ServerName
from murmuration.transport import following
from tests.federation.conftest import Clock
from tests.federation.network import Network, Received, Reply, TlsServer

VERSION = "/_matrix/federation/v1/version"


def delegation(name: str, **headers: str) -> Reply:
    return Reply({"m.server": name}, headers=headers)


@dataclass(frozen=True)
class Branch:
    """One branch: the answers for the host and of the name servers, and the expected result.

    `N` stands for the server name. The server is reached at `at`, and has a certificate for `certificate`.
    """

    name: str
    at: tuple[str, int]
    host: str
    certificate: str
    well_known: str | None = None
    records: dict[str, Any] = field(default_factory=dict)
    sni: bool = True


BRANCHES = {
    "IP literal": Branch("127.0.0.1", ("127.0.0.1", 8448), "127.0.0.1", "127.0.0.1", sni=False),
    "IP literal and port": Branch("127.0.0.1:99", ("127.0.0.1", 99), "127.0.0.1:99", "127.0.0.1", sni=False),
    "IPv6 literal": Branch("[::1]", ("::1", 8448), "[::1]", "::1", sni=False),
    "IPv6 literal and port": Branch("[::1]:99", ("::1", 99), "[::1]:99", "::1", sni=False),
    "explicit port": Branch("N:1234", ("N", 1234), "N:1234", "N"),
    "delegated to an IP literal": Branch(
        "N", ("127.0.0.1", 8448), "127.0.0.1", "127.0.0.1", well_known="127.0.0.1", sni=False
    ),
    "delegated to an IP literal and port": Branch(
        "N", ("::1", 777), "[::1]:777", "::1", well_known="[::1]:777", sni=False
    ),
    "delegated to a name and port": Branch(
        "N", ("hs.N", 443), "hs.N:443", "hs.N", "hs.N:443", {"_matrix-fed._tcp.hs.N": ["1 1 1 x."]}
    ),
    "delegated to a name with a record": Branch(
        "N", ("target.N", 4444), "hs.N", "hs.N", "hs.N", {"_matrix-fed._tcp.hs.N": ["10 5 4444 target.N."]}
    ),
    "delegated to a name with an old record": Branch(
        "N", ("target.N", 4444), "hs.N", "hs.N", "hs.N", {"_matrix._tcp.hs.N": ["10 5 4444 target.N."]}
    ),
    "delegated to a name alone": Branch("N", ("hs.N", 8448), "hs.N", "hs.N", "hs.N"),
    "a record": Branch("N", ("t.N", 4444), "N", "N", None, {"_matrix-fed._tcp.N": ["10 5 4444 t.N."]}),
    "an old record": Branch("N", ("t.N", 4444), "N", "N", None, {"_matrix._tcp.N": ["10 5 4444 t.N."]}),
    "the new record before the old one": Branch(
        "N", ("new.N", 1), "N", "N", None,
        {"_matrix-fed._tcp.N": ["10 5 1 new.N."], "_matrix._tcp.N": ["1 5 2 old.N."]},
    ),
    "the record of the lowest priority": Branch(
        "N", ("a.N", 1), "N", "N", None, {"_matrix-fed._tcp.N": ["20 5 2 b.N.", "10 5 1 a.N."]}
    ),
    "the next record where one doesn't answer": Branch(
        "N", ("b.N", 2), "N", "N", None, {"_matrix-fed._tcp.N": ["20 5 2 b.N.", "10 5 1 a.N."]}
    ),
    "an old record where name servers fail for the new one": Branch(
        "N", ("t.N", 4444), "N", "N", None,
        {"_matrix-fed._tcp.N": "timeout", "_matrix._tcp.N": ["10 5 4444 t.N."]},
    ),
    "the next record where one has no port": Branch(
        "N", ("b.N", 2), "N", "N", None, {"_matrix-fed._tcp.N": ["20 5 2 b.N.", "10 5 0 b.N."]}
    ),
    "no answer about records": Branch("N", ("N", 8448), "N", "N", None, {"_matrix-fed._tcp.N": "timeout"}),
    "nothing": Branch("N", ("N", 8448), "N", "N"),
}  # fmt: skip


@pytest.mark.parametrize("case", BRANCHES)
def test_each_branch(network: Network, fresh_name: str, case: str) -> None:
    branch = BRANCHES[case]

    def named(text: str) -> ServerName:
        return ServerName(text.replace("N", fresh_name))

    # An address is no fresh name: other tests may have asked it in vain.
    health.forget()
    health.well(named(branch.name))
    server = network.serve(lambda _: Reply({"server": {}}), named(branch.certificate))
    network.at(named(branch.at[0]), branch.at[1], server)
    if branch.well_known:
        host = network.serve(lambda _: delegation(named(branch.well_known or "")), fresh_name)
        network.at(fresh_name, 443, host)
    for name, records in branch.records.items():
        network.records[named(name)] = records if records == "timeout" else [named(each) for each in records]
    assert client.request(named(branch.name), "GET", VERSION, signed=False) == {"server": {}}
    (received,) = server.received
    assert received.headers["host"] == named(branch.host)
    assert received.sni == (named(branch.certificate) if branch.sni else None)


@pytest.mark.parametrize(
    "case", ["explicit port", "a record", "delegated to a name with a record", "nothing"]
)
def test_a_certificate_for_another_name_is_refused(network: Network, fresh_name: str, case: str) -> None:
    """A certificate for a record's target or any other name isn't accepted, since DNS answers may be
    forged.
    """
    branch = BRANCHES[case]
    at = branch.at[0].replace("N", fresh_name)
    wrong = f"wrong.{fresh_name}" if branch.certificate.replace("N", fresh_name) == at else at
    server = network.serve(lambda _: Reply(), wrong)
    network.at(at, branch.at[1], server)
    if branch.well_known:
        host = network.serve(lambda _: delegation(f"hs.{fresh_name}"), fresh_name)
        network.at(fresh_name, 443, host)
    for name, records in branch.records.items():
        network.records[name.replace("N", fresh_name)] = [each.replace("N", fresh_name) for each in records]
    with pytest.raises(Unreachable, match="SSL"):
        client.request(ServerName(branch.name.replace("N", fresh_name)), "GET", VERSION, signed=False)
    assert server.received == []


NOT_A_DELEGATION: dict[str, Callable[[], Reply]] = {
    "not found": lambda: Reply({}, 404),
    "an error": lambda: Reply({}, 500),
    "no JSON": lambda: Reply(b"<html>"),
    "a list": lambda: Reply([]),
    "nothing in it": lambda: Reply({}),
    "no string": lambda: Reply({"m.server": 1}),
    "no server name": lambda: Reply({"m.server": "https://a.example/"}),
    "a port that can't be": lambda: Reply({"m.server": "a.example:70000"}),
    "too much": lambda: Reply({"m.server": "a.example", "more": "x" * 52_000}),
    "plain HTTP": lambda: Reply({}, 302, {"Location": "http://other.example/"}),
    "credentials": lambda: Reply({}, 302, {"Location": "https://a:b@other.example/"}),
    "another scheme": lambda: Reply({}, 302, {"Location": "file:///etc/passwd"}),
    "a loop": lambda: Reply({}, 302, {"Location": well_known.PATH}),
    "broken gzip": lambda: Reply(b"x", headers={"Content-Encoding": "gzip"}),
    "cut short": lambda: Reply(b"{}", headers={"Content-Length": "100", "Connection": "close"}),
}


@pytest.mark.parametrize("case", NOT_A_DELEGATION)
def test_a_wrong_delegation_counts_as_none(network: Network, fresh_name: ServerName, case: str) -> None:
    host = network.serve(lambda _: NOT_A_DELEGATION[case](), fresh_name)
    network.at(fresh_name, 443, host)
    (route,) = resolving.resolve(fresh_name)
    assert (route.host, route.port, route.host_header) == (fresh_name, 8448, fresh_name)
    assert len(host.received) <= following.MOST_REDIRECTS + 1


def test_redirects_are_followed_five_times(network: Network, fresh_name: ServerName) -> None:
    def answer(received: Received) -> Reply:
        step = int(received.target.rpartition("/")[2]) if received.target.startswith("/step") else 0
        if step == 5:
            return Reply(b'{"m.server": "hs.example:5"}', headers={"Content-Type": "text/plain"})
        return Reply({}, 307, {"Location": f"https://{fresh_name}/step/{step + 1}"})

    host = network.serve(answer, fresh_name)
    network.at(fresh_name, 443, host)
    (route,) = resolving.resolve(fresh_name)
    assert (route.host, route.port) == ("hs.example", 5)
    assert len(host.received) == 6


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "169.254.169.254", "100.64.0.1", "192.168.1.1", "0.0.0.0", "224.0.0.1",
     "::ffff:10.0.0.1", "fd00::1", "fe80::1",
     "64:ff9b::a00:1", "2002:a00:1::", "2001:0:1::", "ff02::1", "::", "fec0::1", "::10.0.0.1"],
)  # fmt: skip
def test_an_address_that_is_not_public_is_never_asked(
    network: Network, fresh_name: ServerName, address: str
) -> None:
    """Such an address is refused whether it comes from a name, a redirect, a delegation or a record."""
    inside = ServerName(f"inside.{fresh_name}")
    network.hosts[inside, 443] = network.hosts[inside, 8448] = (address, 443)
    host = network.serve(lambda _: Reply({}, 302, {"Location": f"https://{inside}/"}), fresh_name)
    network.at(fresh_name, 443, host)
    network.records[f"_matrix-fed._tcp.{fresh_name}"] = [f"1 1 8448 {inside}."]
    for name in (ServerName(f"{inside}:8448"), inside, fresh_name):
        with pytest.raises(Unreachable, match="isn't public"):
            client.request(name, "GET", VERSION, signed=False)


@pytest.mark.parametrize(
    "name", ["127.0.0.1:9", "[::1]:9", "127.0.0.1", "[::ffff:127.0.0.1]", "2130706433:9"]
)
def test_the_loopback_is_asked_only_by_a_setting(
    network: Network, name: ServerName, monkeypatch: pytest.MonkeyPatch
) -> None:
    from murmuration.settings import settings

    monkeypatch.setenv("MURMURATION_FEDERATION_LOOPBACK", "off")
    settings.cache_clear()
    host = name.removesuffix(":9").strip("[]")
    network.hosts[host, 9] = network.hosts[host, 8448] = ("127.0.0.1", 9)
    with pytest.raises(Unreachable, match="isn't public"):
        client.request(name, "GET", VERSION, signed=False)


@pytest.mark.parametrize(
    "name", ["", "a b", "a/b", "a.example:0", "a.example:70000", "[::1", "user@a.example"]
)
def test_what_is_no_server_name(network: Network, name: ServerName) -> None:
    with pytest.raises(NoRoute):
        resolving.resolve(name)


def test_a_record_that_says_no(network: Network, fresh_name: ServerName) -> None:
    network.records[f"_matrix-fed._tcp.{fresh_name}"] = ["0 0 0 ."]
    with pytest.raises(NoRoute):
        resolving.resolve(fresh_name)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 86_400),
        ({"cache-control": "max-age=3600"}, 3600),
        ({"cache-control": "public, max-age=1"}, 300),
        ({"cache-control": "max-age=9999999"}, 172_800),
        ({"cache-control": "no-store"}, 300),
        ({"cache-control": "No-Cache, max-age=9999"}, 300),
        ({"cache-control": "s-maxage=77777"}, 86_400),
        ({"expires": "Thu, 01 Jan 1970 02:00:00 GMT"}, 7200),
        ({"expires": "never"}, 300),
    ],
)
def test_how_long_a_delegation_counts(headers: dict[str, str], seconds: int) -> None:
    assert well_known.lifetime(headers, 0) == seconds


def _host(network: Network, name: str, answers: list[Reply]) -> TlsServer:
    """Return a host that gives these answers one after the other, and then repeats the last one."""
    host = network.serve(lambda _: answers.pop(0) if len(answers) > 1 else answers[0], name)
    network.at(name, 443, host)
    return host


def test_delegations_are_kept_for_all_functions(
    network: Network, fresh_name: ServerName, moving_clock: Clock
) -> None:
    host = _host(network, fresh_name, [delegation("a.example:1"), delegation("b.example:1")])
    for _ in range(3):
        assert resolving.resolve(fresh_name)[0].host == "a.example"
        resolving.forget()  # another function
    assert len(host.received) == 1
    moving_clock.advance(86_400 + 1)
    assert resolving.resolve(fresh_name)[0].host == "b.example"


def test_a_stale_delegation_counts_while_the_host_fails(
    network: Network, fresh_name: ServerName, moving_clock: Clock
) -> None:
    host = _host(network, fresh_name, [delegation("a.example:1"), Reply({}, 503)])
    assert resolving.resolve(fresh_name)[0].host == "a.example"
    moving_clock.advance(86_400 + 1)
    assert resolving.resolve(fresh_name)[0].host == "a.example"
    host.handler = lambda _: Reply({}, 404)
    moving_clock.advance(121)
    assert resolving.resolve(fresh_name)[0].host == fresh_name, "the host says that there is none now"


def test_a_stale_delegation_ends_after_a_week(
    network: Network, fresh_name: ServerName, moving_clock: Clock
) -> None:
    _host(network, fresh_name, [delegation("a.example:1"), Reply({}, 503)])
    resolving.resolve(fresh_name)
    moving_clock.advance(8 * 86_400 + 1)
    assert resolving.resolve(fresh_name)[0].host == fresh_name


def test_failures_are_remembered_for_two_minutes_rising_to_an_hour(
    network: Network, fresh_name: ServerName, moving_clock: Clock
) -> None:
    host = _host(network, fresh_name, [Reply({}, 404)])
    resolving.resolve(fresh_name)
    for failures, minutes in enumerate((2, 4, 8, 16, 32, 60, 60), 1):
        moving_clock.advance(minutes * 60 - 1)
        resolving.forget()
        resolving.resolve(fresh_name)
        assert len(host.received) == failures
        moving_clock.advance(2)
        resolving.resolve(fresh_name)
        assert len(host.received) == failures + 1
