"""The walk from functions to storage: what it finds in small sources, and whether grants agree with ours."""

from __future__ import annotations

import ast
import functools
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from infra_cdk.reach import check, decisions
from infra_cdk.reach.check import Finding, complaints, findings, is_enough, roots
from infra_cdk.reach.operations import WIRE, Leaves
from infra_cdk.reach.source import Source
from infra_cdk.reach.walk import Walk
from infra_shared.grants import EDGE, GRANTS, Grant, file_of
from infra_shared.needs import Need

pytestmark = pytest.mark.xdist_group("reach")  # which walks through the source once for them all
SPEAKS = "from murmuration.aws.clients import make_client\nclient = make_client\n"
STORAGE = {
    "storage/aws.py": "def make_client(service): ...",
    "storage/aws_json.py": "def call(service, operation, parameters): ...\ndef intercept(interceptor): ...",
    "storage/tables.py": """
        class Rooms:
            class Meta:
                table_name = "rooms"
        class Users:
            class Meta:
                table_name = "users"
        """,
    **{
        f"storage/{name}.py": SPEAKS + functions
        for name, functions in {
            "dynamodb": "".join(
                f"def {name}(*arguments, **options): ...\n"
                for name in (
                    "get",
                    "batch_get",
                    "query",
                    "query_page",
                    "query_pages",
                    "scan",
                    "put",
                    "update",
                    "delete",
                    "check",
                    "execute",
                    "transact",
                    "batch_write",
                    "parallel",
                    "gather",
                )
            ),
            "queues": "def send(name, body): ...",
            "objects": "def get(key): ...\ndef put(key): ...\ndef delete(keys): ...",
            "parameters": "def read_secret(name): ...",
            "mail": "def send(to): ...",
            "sockets": "def post(connection): ...\ndef close(connection): ...",
        }.items()
    },
    "storage/reads.py": "class Read: ...\nclass Batch: ...\ndef fetch(read): ...\ndef fetch_all(reads): ...",
    "endpoint/http.py": """
        from murmuration.storage import dynamodb
        class Request:
            def authenticate(self, auth): dynamodb.get("users", {})
        def endpoint(method, path, *, auth=None): ...
        """,
}
FUNCTION = """
    from murmuration import domain
    from murmuration.endpoint.http import endpoint
    @endpoint("GET", "/a", auth=Auth.NONE)
    def handler(request): return domain.run(request)
    """

Found = Callable[..., Finding]


@pytest.fixture
def found(tmp_path: Path) -> Found:
    """Return the accesses that the function `functions.api.group.one` of a source reaches; `domain` is what
    it calls.
    """

    def find(domain: str, function: str = FUNCTION, **more: str) -> Finding:
        package = tmp_path / "murmuration"
        sources = {**STORAGE, "domain.py": domain, **{f"{name}.py": text for name, text in more.items()}}
        for name, text in sources.items():
            path = package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        path = tmp_path / "functions" / "api" / "group" / "one.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(function))
        folders = {"murmuration": package, "functions": tmp_path / "functions"}
        (finding,) = findings(Walk(Source(folders)))
        return finding

    return find


def words(finding: Finding) -> set[str]:
    return {f"{need.action} {need.resource}" for need in finding.needs}


IMPORT = "from murmuration.storage import dynamodb\n"


@pytest.mark.parametrize(
    ("domain", "needed"),
    [
        ('def run(request): dynamodb.get("rooms", {})', {"get rooms"}),
        ('TABLE = "rooms"\ndef run(request): return dynamodb.query(TABLE, "")', {"query rooms"}),
        ('A, B = "rooms", "users"\ndef run(request): return dynamodb.scan(B)', {"scan users"}),
        ('def run(request): dynamodb.query("rooms", "", index="by-seq")', {"query rooms/by-seq"}),
        (
            'def run(request): dynamodb.batch_get({"rooms": [], "users": []})',
            {"batch_get rooms", "batch_get users"},
        ),
        (
            'def keys():\n  found = {"rooms": []}\n  found["users"] = []\n  return found\n'
            "def run(request):\n  found = keys()\n  return dynamodb.batch_get(found)",
            {"batch_get rooms", "batch_get users"},
        ),
        (
            "def run(request):\n"
            '  dynamodb.transact([dynamodb.put("rooms", {}), dynamodb.check("users", {}, "")])',
            {"put rooms", "check users"},
        ),
        ('def run(request): dynamodb.batch_write([dynamodb.delete("rooms", {})])', {"batch_write rooms"}),
        (
            "def gone(table): return [dynamodb.delete(table, {})]\n"
            'def run(request):\n  writes = gone("rooms")\n  writes += gone("users")\n'
            "  dynamodb.batch_write(writes)",
            {"batch_write rooms", "batch_write users"},
        ),
        ('def read(table): return dynamodb.get(table, {})\ndef run(request): read("users")', {"get users"}),
        (
            'from murmuration.storage.reads import Read, fetch\ndef one(): return Read("rooms", {})\n'
            "def run(request): return fetch(one())",
            {"get rooms"},
        ),
        (
            'from murmuration.storage.reads import Batch, Read\ndef one(): return Read("rooms", {})\n'
            "def run(request):\n  batch = Batch()\n  batch.add(one())",
            {"batch_get rooms"},
        ),
        (
            "import functools\ndef read(table): return dynamodb.get(table, {})\n"
            'def run(request): later(functools.partial(read, "users"))',
            {"get users"},
        ),
        ('def inner(): dynamodb.get("rooms", {})\ndef run(request): request.later(inner)', {"get rooms"}),
        ('def run(request):\n  def inner(): dynamodb.get("rooms", {})\n  return inner', {"get rooms"}),
        (
            'def one(): dynamodb.get("rooms", {})\nTABLE = {"a": one}\ndef run(request): TABLE["a"]()',
            {"get rooms"},
        ),
        ('def run(request): return lambda: dynamodb.get("rooms", {})', {"get rooms"}),
        ('def unused(): dynamodb.get("rooms", {})\ndef run(request): return 1', set()),
        (
            'class Room:\n  @property\n  def state(self): return dynamodb.get("rooms", {})\n'
            "def load() -> Room: ...\ndef run(request):\n  room = load()\n  return room.state",
            {"get rooms"},
        ),
        (
            'class Room:\n  def state(self): return dynamodb.get("rooms", {})\n'
            "class Other:\n  def state(self): return 1\ndef run(request, other: Other): return other.state()",
            set(),
        ),
        (
            "class Base:\n  def state(self): ...\n"
            'class Room(Base):\n  def state(self): dynamodb.get("rooms", {})\n'
            "def run(request, room: Base): room.state()",
            {"get rooms"},
        ),
        (
            "from typing import Protocol\nclass Like(Protocol):\n  def state(self): ...\n"
            'class Room:\n  def state(self): dynamodb.get("rooms", {})\n'
            "def run(request, room: Like): room.state()",
            {"get rooms"},
        ),
        (
            'class Room:\n  def __enter__(self): dynamodb.get("rooms", {})\n'
            "def run(request):\n  with Room(): pass",
            {"get rooms"},
        ),
        (
            "def run(request):\n  from murmuration.storage import queues, mail\n"
            '  queues.send("a", {})\n  mail.send(1)',
            {"find a", "ring a", "send a", "send *"},
        ),
        (
            "def run(request):\n  from murmuration.storage import parameters\n"
            '  parameters.read_secret(settings().parameter(f"provider-{request}"))',
            {"get provider-*"},
        ),
    ],
)
def test_what_is_reached(found: Found, domain: str, needed: set[str]) -> None:
    finding = found(IMPORT + domain)
    assert words(finding) == needed
    assert not finding.undecided


ONE = 'def one(*arguments): dynamodb.get("rooms", {})\n'
METHOD = '  def read(self): dynamodb.get("rooms", {})\n'
WRAPPER = 'def around(f):\n  def inner(*a): dynamodb.get("rooms", {})\n  return inner\n'
REGISTRY = "FOUND = {}\ndef keep(kind):\n  def put(f): FOUND[kind] = f\n  return put\n"


@pytest.mark.parametrize(
    "domain",
    [
        "from murmuration.storage import dynamodb as db\ndef run(request): db.get('rooms', {})",
        "from murmuration.storage.dynamodb import get as read\ndef run(request): read('rooms', {})",
        "from .storage import dynamodb as db\ndef run(request): db.get('rooms', {})",
        "from .storage.dynamodb import get as read\ndef run(request): read('rooms', {})",
        "from murmuration.storage.dynamodb import *\ndef run(request): get('rooms', {})",
        "try:\n  from nowhere import it\nexcept ImportError:\n"
        "  from murmuration.storage.dynamodb import get as read\ndef run(request): read('rooms', {})",
        WRAPPER + "@around\ndef run(request): ...",
        WRAPPER + "class A:\n  @around\n  def read(self): ...\ndef run(request): A().read()",
        WRAPPER + "@around\nclass A: ...\ndef run(request): A()",
        REGISTRY + "@keep('a')\n" + ONE + "def run(request): FOUND['a']()",
        REGISTRY + ONE + "keep('a')(one)\ndef run(request): FOUND['a']()",
        "FOUND = []\ndef keep(f): FOUND.append(f)\n" + ONE + "keep(one)\ndef run(request): FOUND[0]()",
        "FOUND = {}\n" + ONE + "FOUND['a'] = one\ndef run(request): FOUND['a']()",
        "FOUND = {}\n" + ONE + "FOUND.update(a=one)\ndef run(request): FOUND['a']()",
        "FOUND = {}\n" + ONE + "FOUND |= {'a': one}\ndef run(request): FOUND['a']()",
        "FOUND = {}\n" + ONE + "for each in 'ab':\n  FOUND[each] = one\ndef run(request): FOUND['a']()",
        "from murmuration import ports\n" + ONE + "ports.port = one\ndef run(request): ports.use()",
        "from functools import singledispatch\n@singledispatch\ndef go(it): ...\n@go.register\n"
        "def other(it: int): dynamodb.get('rooms', {})\ndef run(request): go(1)",
        ONE + "class A:\n  table = {'a': one}\ndef run(request): A.table['a']()",
        "class A:\n  @staticmethod\n  def one(): dynamodb.get('rooms', {})\n  table = {'a': one}\n"
        "def run(request): A.table['a']()",
        ONE + "class A:\n  read = one\ndef run(request, it: A): it.read()",
        "class A:\n  class B:\n  " + METHOD.replace("\n", "") + "\ndef run(request): A.B().read()",
        "class A:\n" + METHOD + "class B(A): ...\ndef run(request): B().read()",
        "class A:\n  def go(self): self.read()\nclass B(A):\n" + METHOD + "def run(request): B().go()",
        "class A:\n" + METHOD + "def run(request): A.read(A())",
        "class A:\n" + METHOD + "def run(request):\n  it = A()\n  read = it.read\n  read()",
        "class A:\n" + METHOD + "def run(request): getattr(A(), request.name)()",
        "class A:\n" + METHOD + "def run(request): getattr(A(), 'read')()",
        "class M(type):\n  def __call__(cls): dynamodb.get('rooms', {})\nclass A(metaclass=M): ...\n"
        "def run(request): A()",
        ONE + "def run(request):\n  one()\n  return lambda one: one",
        ONE + "def run(request): return sorted([], key=one)",
        ONE + "def run(request, go=one): go()",
    ],
)
def test_each_way_of_calling_is_followed(found: Found, domain: str) -> None:
    finding = found(IMPORT + domain, ports="port = None\ndef use(): port()")
    assert words(finding) == {"get rooms"}


@pytest.mark.parametrize(
    ("domain", "said"),
    [
        ("def run(request): use(dynamodb)", "the module murmuration.storage.dynamodb is passed on"),
        ("db = dynamodb\ndef run(request): db.get('rooms')", "the module murmuration.storage.dynamodb is"),
        ("def run(request):\n  for db in (dynamodb,): db.get('rooms')", "is passed on"),
        ("def run(request): getattr(dynamodb, request.name)('rooms')", "what getattr comes to isn't told"),
        ("def run(request): getattr(request.it, request.name)()", "what getattr comes to isn't told"),
        ("def run(request): getattr(dynamodb, 'get')('rooms')", "get is passed on; to which table?"),
        ("get = dynamodb.get\ndef run(request): get('rooms')", "get is passed on; to which table?"),
        ("import importlib\ndef run(request): importlib.import_module('x')", "what import_module comes to"),
        ("def run(request): globals()['one']()", "what globals comes to isn't told"),
        ("def run(request): vars(request)['one']()", "what vars comes to isn't told"),
        ("from operator import methodcaller as m\ndef run(request): m('read')(1)", "what methodcaller comes"),
        ("import operator\ndef run(request): operator.attrgetter('read')(1)", "what attrgetter comes to"),
        (
            "def run(request):\n  if request:\n    from murmuration.storage.dynamodb import get as r\n"
            "  else:\n    from murmuration.endpoint.http import endpoint as r\n  r('rooms')",
            "r may stand for several things",
        ),
        ("if 1:\n  def go(): ...\nelse:\n  def go(): ...\ndef run(request): go()", "go may stand for"),
        (
            "from murmuration.storage.aws import make_client\ndef run(request): make_client('sns')",
            "it makes a client of its own",
        ),
        ("import boto3\ndef run(request): boto3.client('sns')", "it uses boto3, which speaks to AWS"),
    ],
)
def test_a_way_that_can_not_be_followed_is_said(found: Found, domain: str, said: str) -> None:
    assert any(said in line for line in found(IMPORT + domain).undecided)


def test_a_token_that_the_edge_verifies_is_read(found: Found) -> None:
    domain = "def run(request): return 1"
    assert words(found(domain, FUNCTION.replace(", auth=Auth.NONE", ""))) == {"get users"}
    assert words(found(domain, FUNCTION.replace("NONE", "DEFERRED_ACCESS_TOKEN"))) == set()


@pytest.mark.parametrize(
    ("domain", "said"),
    [
        (
            'class Room:\n  def state(self): dynamodb.get("rooms", {})\ndef run(request): request.state()',
            "murmuration.domain:run.state: whose method is it?",
        ),
        ("def run(request): dynamodb.get(request.table, {})", "murmuration.domain:run: get of which tables?"),
        (
            "def read(table): dynamodb.get(table, {})\ndef run(request): request.later(read)",
            "murmuration.domain:run: which table murmuration.domain:read gets is not said",
        ),
        (
            "def run(request): request.later(dynamodb.get)",
            "murmuration.domain:run: get is passed on; to which table?",
        ),
    ],
)
def test_what_can_not_be_decided_is_said(found: Found, domain: str, said: str) -> None:
    assert found(IMPORT + domain).undecided == {said}


def test_a_decision_tells_whose_method_is_meant(found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    domain = (
        IMPORT
        + 'class Room:\n  def state(self): dynamodb.get("rooms", {})\ndef run(request): request.state()'
    )
    for classes, needed in (("Room", {"get rooms"}), ("", set())):
        monkeypatch.setitem(decisions.RECEIVERS, "domain:run.state", (classes, "a reason"))
        finding = found(domain)
        assert (words(finding), finding.undecided) == (needed, set())


def test_a_complaint_names_the_way_and_the_file(found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = found(IMPORT + 'def run(request): dynamodb.get("rooms", {})')
    monkeypatch.setattr(check, "GRANTS", {"api.group": Grant(tables={"rooms": "put"})})
    (line,) = complaints([finding])
    assert "api.group can reach get on tables rooms" in line
    assert file_of("api.group") in line
    assert "murmuration.domain:run < functions.api.group.one:handler" in line
    monkeypatch.setattr(check, "GRANTS", {"api.group": Grant(tables={"rooms": "get"})})
    assert complaints([finding]) == []


def test_each_function_that_asks_a_service_says_what_it_needs() -> None:
    """A missing entry would make the walk miss its permissions. Signing a path sends no request."""
    leaves = Leaves(Source())
    silent = [
        f"{module}.{name}"
        for module, last in leaves.wire.items()
        for name, found in Source().modules[module].definitions.items()
        if isinstance(found.node, ast.FunctionDef) and not name.startswith("_") and name not in WIRE[last]
        if any(isinstance(each, ast.Name) and each.id == "client" for each in ast.walk(found.node))
    ]
    assert silent == ["murmuration.aws.objects.signed_path"]


# -- The real source ---------------------------------------------------------------------------------------


@functools.cache
def real_walk() -> Walk:
    return Walk(Source())


@functools.cache
def real() -> list[Finding]:
    return findings(real_walk())


def test_each_function_is_granted_what_it_can_reach() -> None:
    assert complaints(real()) == []


def test_no_module_is_granted_what_its_functions_never_reach() -> None:
    reached = {finding.module: finding.needs for finding in real()}
    idle = [
        f"{file_of(module)}: {module} never needs {grant.action} on {grant.kind} {grant.resource}"
        for module in GRANTS
        for grant in GRANTS[module].needs() - EDGE.needs()
        if not any(is_enough(grant, need) for need in reached.get(module, ()))
    ]
    assert idle == []


def test_a_known_way_is_found_step_by_step() -> None:
    """The path leads to the read of a /sync's token, which few tests reach."""
    for module in ("client_server.relations", "websocket"):
        (finding,) = (each for each in real() if each.module == module)
        assert Need("tables", "sync-tokens", "get") in finding.needs


@pytest.mark.parametrize("table", ["RESOURCES", "RECEIVERS", "ENTERED_BY", "NEVER"])
def test_no_decision_is_without_use(table: str) -> None:
    walk = real_walk()
    begun = [
        root
        for name, module in walk.source.modules.items()
        if name.startswith("functions.") and "handler" in module.definitions
        for root in roots(walk.source, module.definitions["handler"])
    ]
    reached = walk.reach(begun).nodes
    met = {edge.target.definition.id for node in reached for edge in walk.facts(node).edges}
    for entry, (_, reason) in getattr(decisions, table).items():
        place = entry[0] if isinstance(entry, tuple) else entry
        if table == "RECEIVERS":
            place = place.rpartition(".")[0]
        assert reason
        assert any(decisions.is_place(each, place) for each in met), entry


def test_file_of_names_the_file_that_has_the_module() -> None:
    for module in GRANTS:
        assert f'"{module}": Grant' in Path(file_of(module)).read_text()
