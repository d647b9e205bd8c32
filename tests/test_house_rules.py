"""The house's rules, held by a test: who may import whom, what an endpoint is, what is never written."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from local_cloud.gateway.routes import Routes
from murmuration.endpoint import Function, Http, discover, http_routes
from murmuration.endpoint.discovery import module_names
from murmuration.protocol import event_types
from replay.fixtures import event_paths, read_fixture
from tests import openapi
from tests.fixtures_stage import ROOT
from tests.house import (
    PACKAGE,
    REPOSITORY,
    STANDARD_LIBRARY,
    imports,
    modules,
    tracked_files,
    tree,
    within,
)

FUNCTIONS = REPOSITORY / "functions"
MOST_LINES = 500
MOST_TEST_LINES = 600
MOST_HANDLER_LINES = 30

FOUNDATION = ("murmuration.settings", "murmuration.clock", "murmuration.protocol")
FLOORS = {
    "murmuration.protocol": ("murmuration.protocol",),
    "murmuration.settings": ("murmuration.settings", "murmuration.protocol.identifiers"),
    "murmuration.clock": ("murmuration.clock",),
    "murmuration.cache": ("murmuration.cache",),
    "murmuration.aws": (*FOUNDATION, "murmuration.cache", "murmuration.aws"),
    "murmuration.storage": (*FOUNDATION, "murmuration.cache", "murmuration.aws", "murmuration.storage"),
}
"""What of the package each lower part may import. The domains may import all but the edge, the edge all."""
EDGE = "murmuration.endpoint"
AWS = ("boto3", "botocore", "pynamodb")

NEVER_REFUSED = {
    "client_v1-get_login_flows": "anyone may ask, in one way",
    "client_server-get_landing_page": "anyone may open it, in one way",
    "client_server-get_login_page": "anyone may ask, in any way",
    "client_server-get_submit_page": "anyone may ask, in any way",
    "client_server-get_versions": "anyone may ask, in one way",
    "client_server-get_wellknown": "anyone may ask, in one way",
    "server_server-get_server_keys": "anyone may ask, in one way",
    "server_server-get_server_version": "anyone may ask, in one way",
    "server_server-get_server_wellknown": "anyone may ask, in one way",
}
"""Endpoints without an input that could be refused, and why."""
NEVER_ALONE = {
    "client_server-refuse_phone_number": "it always refuses",
    "client_server-look_up": "there are no bridges",
    "client_server-finish_sso": "asks an identity provider, which only tests/accounts/login/test_sso.py has",
}
"""Endpoints that don't succeed by themselves, and why."""
OURS = {
    ("GET", "/_matrix/client/{version}/login/sso/callback"): "where identity providers send browsers back to",
    ("GET", "/_matrix/client/{version}/auth/{authType}/fallback/web"): "the specification has it in its text",
    ("POST", "/_matrix/client/{version}/auth/{authType}/fallback/web"): "what that page's form goes to",
    ("GET", "/_matrix/client/{version}/account/3pid/email/submitToken"): "where links in mails lead to",
    ("POST", "/_matrix/client/{version}/account/3pid/email/submitToken"): "what that page's button does",
    ("GET", "/_matrix/client/{version}/pushrules/global/{kind}"): "Synapse has it, and clients ask for it",
    ("PUT", "/_matrix/client/{version}/rooms/{roomId}/delayed_event/{eventType}/{txnId}"): "MSC4140",
    ("GET", "/_matrix/client/{version}/delayed_events"): "MSC4140",
    ("GET", "/_matrix/client/{version}/delayed_events/{delayId}"): "MSC4140",
    ("POST", "/_matrix/client/{version}/delayed_events/{delayId}/{action}"): "MSC4140",
    ("GET", "/_matrix/client/{version}/rtc/transports"): "MSC4143",
    ("GET", "/_matrix/static/client/login"): "the specification has it in its text",
    ("POST", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"): "sliding sync, as apps know it",
    (
        "GET",
        "/_matrix/federation/unstable/rooms/{roomId}/complexity",
    ): "Synapse's limit_remote_rooms asks there",
    ("GET", "/"): "the page for people who open the server's address",
    ("POST", "/uploads"): "where the viewer function sends large uploads of /_matrix/media/v3/upload",
    ("PUT", "/uploads/{serverName}/{mediaId}"): "the same of /_matrix/media/v3/upload/{serverName}/{mediaId}",
    ("ANY", "/{proxy+}"): "what nothing else serves is answered in Matrix's words",
}
"""Routes that aren't the specification's, and why."""
DRAFTS = ("/_matrix/client/api/v1/", "/_matrix/client/v2/")
"""The founding drafts' routes; docs/drafts.md has them."""


@cache
def functions() -> tuple[Function, ...]:
    return tuple(discover())


def http_functions() -> Iterator[tuple[Function, Http]]:
    for function in functions():
        if isinstance(function.route, Http):
            yield function, function.route


# -- Who may import whom -------------------------------------------------------------------------------------


def test_imports_go_downward() -> None:
    wrong = []
    for name, path in modules(PACKAGE, "murmuration"):
        floor = next((part for part in FLOORS if within(name, part)), None)
        for imported in imports(path):
            if not within(imported, "murmuration") or imported == "murmuration":
                continue
            allowed = FLOORS[floor] if floor is not None else ("murmuration",)
            upward = within(imported, EDGE) and not within(name, EDGE)
            if upward or not within(imported, *allowed):
                wrong.append(f"{name} imports {imported}")
    assert not wrong


NO_DOMAINS = ("aws", "storage", "protocol", "endpoint")
RAW = re.compile(r"\bdynamodb\.(?:get|batch_get|put|update|delete|query|query_pages?|scan)\b|\bitem\[[\"']")
"""What only `storage` does: it names a single operation on items, or takes an item apart."""


def test_domains_leave_items_to_storage() -> None:
    """A domain reads by functions of `storage`, so that it knows nothing of how an item is laid out."""
    wrong = [
        f"{name}: {line.strip()}"
        for name, path in modules(PACKAGE, "murmuration")
        if not within(name, *(f"murmuration.{part}" for part in NO_DOMAINS))
        for line in path.read_text().splitlines()
        if RAW.search(line)
    ]
    assert not wrong


TABLES_OF_TYPES = ("murmuration.protocol.pdus.redaction", "murmuration.protocol.push_rules")
"""Modules that copy tables of the specification, in its words."""


def test_types_of_events_have_one_name() -> None:
    """Code says `event_types.MEMBER`: a misspelt name fails mypy, and one name finds all uses."""
    names = {value: name for name, value in vars(event_types).items() if isinstance(value, str)}
    wrong = [
        f"{name} says {node.value!r}, not {names[node.value]}"
        for name, path in modules(PACKAGE, "murmuration")
        if not within(name, event_types.__name__, *TABLES_OF_TYPES)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names
        if node.value.startswith("m.")
    ]
    assert not wrong


def test_the_protocol_is_pure() -> None:
    allowed = {*STANDARD_LIBRARY, "murmuration", "cryptography", "nacl"} - {
        "socket", "time", "datetime", "os", "random", "secrets", "threading", "subprocess", "pathlib", "io",
        "logging",
    }  # fmt: skip
    wrong = [
        f"{name} imports {imported}"
        for name, path in modules(PACKAGE / "protocol", "murmuration.protocol")
        for imported in imports(path)
        if imported.partition(".")[0] not in allowed
    ]
    assert not wrong


def test_only_aws_imports_the_aws_libraries() -> None:
    wrong = [
        f"{name} imports {imported}"
        for package, folder in (("murmuration", PACKAGE), ("functions", FUNCTIONS))
        for name, path in modules(folder, package)
        for imported in imports(path)
        if within(imported, *AWS) and not within(name, "murmuration.aws", "murmuration.storage.tables")
    ]
    assert not wrong


def test_functions_import_the_package_only() -> None:
    wrong = [
        f"{name} imports {imported}"
        for name, path in modules(FUNCTIONS, "functions")
        for imported in imports(path)
        if imported.partition(".")[0] not in ("murmuration", "typing", "__future__", "collections")
        or within(imported, "murmuration.storage", "murmuration.aws")
    ]
    assert not wrong


def test_what_is_deployed_imports_nothing_of_what_is_not() -> None:
    elsewhere = (
        "functions", "local_cloud", "operators", "replay", "infra_cdk", "infra_shared", "tests", "benchmarks",
    )  # fmt: skip
    wrong = [
        f"{name} imports {imported}"
        for package, folder in (("murmuration", PACKAGE), ("functions", FUNCTIONS))
        for name, path in modules(folder, package)
        for imported in imports(path)
        if within(imported, *elsewhere)
    ]
    never = {
        "infra_shared": (
            "functions",
            "local_cloud",
            "operators",
            "replay",
            "infra_cdk",
            "tests",
            "benchmarks",
        ),
        "local_cloud": ("functions", "operators", "infra_cdk", "tests", "benchmarks"),
        "replay": ("functions", "operators", "infra_cdk", "tests", "benchmarks"),
        "operators": ("functions", "infra_cdk", "tests", "benchmarks"),
    }
    wrong += [
        f"{name} imports {imported}"
        for part, forbidden in never.items()
        for name, path in modules(REPOSITORY / part, part)
        for imported in imports(path)
        if within(imported, *forbidden)
    ]
    assert not wrong


def domain_imports() -> dict[str, dict[str, list[str]]]:
    """Return, for each domain, the domains that it imports, each with the imports that cause this.

    A domain is what lies directly below `murmuration`, a package or a module. Imports inside functions and
    those for types count.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for name, path in modules(PACKAGE, "murmuration"):
        domain = name.split(".")[1] if "." in name else ""
        for imported in imports(path):
            other = imported.split(".")[1] if within(imported, "murmuration") and "." in imported else ""
            if domain and other and other != domain:
                found.setdefault(domain, {}).setdefault(other, []).append(f"{name} imports {imported}")
    return found


def circles(graph: dict[str, dict[str, list[str]]]) -> list[list[str]]:
    """Return the imports that are part of a circle, domain by domain."""

    @cache
    def reached(domain: str) -> frozenset[str]:
        seen: set[str] = set()
        todo = [*graph.get(domain, ())]
        while todo:
            if (each := todo.pop()) not in seen:
                seen.add(each)
                todo += graph.get(each, ())
        return frozenset(seen)

    return [said for one in graph for other, said in graph[one].items() if one in reached(other)]


def test_domains_form_no_circle() -> None:
    assert not circles(domain_imports())


def test_a_circle_would_be_found() -> None:
    graph = {"a": {"b": ["a imports b"]}, "b": {"c": ["b imports c"]}, "c": {"b": ["c imports b"]}}
    assert circles(graph) == [["b imports c"], ["c imports b"]]


def test_nothing_of_today_imports_the_drafts() -> None:
    graph = domain_imports()
    assert [said for domain in graph for other, said in graph[domain].items() if other == "drafts"] == []


MOST_FILES = 16
MOST_TEST_FILES = 20
MANY_FILES = {
    "docs": "README names each page",
    "tests": "what all tests share, and tests of all functions",
    "tests/fixtures_cases": "a file has the cases of one module of functions",
}
"""Folders of more files, and why. In `events_fixtures` a file is an event, or a world that has it happen."""


def test_no_folder_has_more_files_than_one_can_look_through() -> None:
    folders: dict[str, int] = {}
    for path in _tracked():
        folder = str(path.parent.relative_to(REPOSITORY))
        folders[folder] = folders.get(folder, 0) + 1
    large = {
        folder: count
        for folder, count in folders.items()
        if count > (MOST_TEST_FILES if folder.startswith("tests") else MOST_FILES)
        if not folder.startswith("events_fixtures/")
    }
    assert large.keys() == MANY_FILES.keys(), large


_IMPORT_ALL = """
import importlib, os, socket, sys, threading, time

def refuse(what):
    def refused(*arguments, **options):
        raise AssertionError(what)
    return refused

class Environment(dict):
    def _check(self, name):
        if str(name).startswith(("MURMURATION_", "AWS_")):
            raise AssertionError(f"reads {name}")
    def __getitem__(self, name):
        self._check(name)
        return super().__getitem__(name)
    def get(self, name, default=None):
        self._check(name)
        return super().get(name, default)
    def __contains__(self, name):
        self._check(name)
        return super().__contains__(name)

sys.path[:0] = sys.argv[1:3]
import botocore.session, pydantic  # libraries may look at their environment
os.environ = Environment(os.environ)
socket.socket.connect = refuse("connects")
socket.getaddrinfo = refuse("looks up an address")
botocore.session.Session.create_client = refuse("makes a client")
threading.Thread.start = refuse("starts a thread")
for name in sys.argv[3:]:
    try:
        importlib.import_module(name)
    except AssertionError as error:
        print(name, error)
"""


def test_importing_has_no_effect() -> None:
    """It reads no variable of ours, makes no client, starts no thread, and doesn't use the network."""
    names = [name for name, _ in modules(PACKAGE, "murmuration")] + list(module_names(FUNCTIONS))
    paths = [str(PACKAGE.parent), str(REPOSITORY)]
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT_ALL, *paths, *names], env={}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


# -- Endpoints -----------------------------------------------------------------------------------------------


ENDPOINT_STATEMENTS = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.Expr, ast.Assign)
SPECIFICATIONS = (
    "https://spec.matrix.org/v1.19/",
    "https://github.com/matrix-org/matrix-spec/blob/",
    "https://github.com/matrix-org/matrix-spec-proposals/pull/",
)
"""Today's, the repository with its founding drafts, and proposals that apps rely on already."""
UNSPECIFIED = (
    "functions.workers",
    "functions.websocket",
    "functions.server_server.directory.get_room_complexity",
)
"""What the specification knows nothing of."""


def is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def test_a_file_is_one_endpoint() -> None:
    """It has a docstring with a link to the specification, perhaps models, and the handler. The rest is
    elsewhere.
    """
    wrong = []
    for name, path in modules(FUNCTIONS, "functions"):
        body = tree(path).body
        defined = [node.name for node in body if isinstance(node, ast.FunctionDef)]
        others = [node for node in body if not (isinstance(node, ENDPOINT_STATEMENTS) or is_for_types(node))]
        if defined != ["handler"] or others:
            wrong.append(f"{name} defines {defined}")
        if not (text := ast.get_docstring(tree(path))):
            wrong.append(f"{name} has no docstring")
        elif not within(name, *UNSPECIFIED) and not any(link in text for link in SPECIFICATIONS):
            wrong.append(f"{name} has no link into the specification")
    assert not wrong


CODE = (
    "functions",
    "layers",
    "infra_cdk",
    "infra_shared",
    "local_cloud",
    "operators",
    "replay",
    "benchmarks",
)
NO_VERBS = {
    "The",
    "Whether",
    "What",
    "When",
    "A",
    "An",
    "Where",
    "If",
    "All",
    "How",
    "Which",
    "Who",
    "Those",
    "Its",
}
ENDS_IN_S = {"Pass", "Process", "Address"}


def begins_with_a_verb(docstring: str) -> bool:
    """Return whether a docstring begins with an imperative: "Return the room", not "The room"."""
    word = re.split(r"[\s,.:;]", docstring, maxsplit=1)[0]
    third_person = word.endswith("s") and word not in ENDS_IN_S
    return word.isalpha() and word not in NO_VERBS and not third_person


def test_docstrings_say_what_functions_do() -> None:
    """Properties say what they are, and the authorisation rules quote the specification."""
    wrong = []
    for path in (path for part in CODE for path in (REPOSITORY / part).rglob("*.py")):
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if not (text := ast.get_docstring(node)):
                continue
            is_property = any("property" in ast.unparse(each) for each in node.decorator_list)
            is_rule = node.returns is not None and ast.unparse(node.returns) == "Verdict"
            if not is_property and not is_rule and not begins_with_a_verb(text):
                wrong.append(f"{path.relative_to(REPOSITORY)}:{node.lineno} {text.splitlines()[0]}")
    assert not wrong


@pytest.mark.parametrize(
    "text", ["The room.", "Returns it.", "https://example.org", "`a` is b.", "What is b."]
)
def test_a_docstring_without_a_verb_is_found(text: str) -> None:
    assert begins_with_a_verb("Return it.")
    assert not begins_with_a_verb(text)


def test_handlers_are_short() -> None:
    wrong = []
    for name, path in modules(FUNCTIONS, "functions"):
        for node in ast.walk(tree(path)):
            if (
                isinstance(node, ast.FunctionDef)
                and (node.end_lineno or 0) - node.lineno >= MOST_HANDLER_LINES
            ):
                wrong.append(name)
            if isinstance(node, ast.Try):
                wrong.append(f"{name} catches errors")
    assert not wrong


def test_routes_are_distinct_and_agree_on_the_names_of_parameters() -> None:
    Routes(http_routes(functions()))
    names = [function.name for function in functions()]
    assert len(names) == len(set(names))


def test_versions_are_declared_where_the_path_has_one() -> None:
    wrong = [function.name for function, route in http_functions()
             if any("{version}" in path for _, path in route.all) != bool(route.versions)]  # fmt: skip
    assert not wrong


def test_every_route_answers_to_an_operation_of_the_specification() -> None:
    specification = openapi.required()
    wrong = []
    for function, route in http_functions():
        if (route.method, route.path) in OURS or route.path.startswith(DRAFTS):
            continue
        versions = [version for version in route.versions if version != "unstable"] or [""]
        paths = [route.path.replace("{version}", version) for version in versions]
        samples = [re.sub(r"\{\w+\}", "x", path) for path in paths]
        samples += [f"{sample}/" for sample in samples]  # where the specification ends a path with a slash
        if not any(specification.find(route.method, sample) for sample in samples):
            wrong.append(f"{function.name}: {route.method} {route.path}")
    assert not wrong


def test_every_endpoint_has_a_fixture_that_succeeds_and_one_that_is_refused() -> None:
    statuses: dict[str, list[int | None]] = {}
    for path in event_paths(ROOT):
        found = read_fixture(path)
        statuses.setdefault(found.module, []).append(found.expected.get("status"))
    wrong = []
    for function in functions():
        seen = statuses.pop(function.module, [])
        if not isinstance(function.route, Http):
            if not seen:
                wrong.append(f"{function.name} has no fixture")
            continue
        if function.name not in NEVER_ALONE and not any(s is not None and s < 400 for s in seen):
            wrong.append(f"{function.name} has no fixture that succeeds")
        if not any(status is not None and status >= 400 for status in seen):
            wrong.append(f"{function.name} has no fixture that is refused")
    wrong = [line for line in wrong if line.split()[0] not in NEVER_REFUSED]
    assert not wrong
    assert not statuses, "fixtures for functions that there aren't"


# -- Files ---------------------------------------------------------------------------------------------------


def _tracked(*suffixes: str) -> tuple[Path, ...]:
    found = tracked_files()
    if found is None:
        pytest.skip("this is no git checkout")
    return tuple(path for path in found if not suffixes or path.suffix in suffixes)


def test_files_are_of_a_size_to_be_read() -> None:
    long = {
        str(path.relative_to(REPOSITORY)): lines
        for path in _tracked(".py", ".md", ".js")
        if (lines := len(path.read_text().splitlines()))
        > (MOST_TEST_LINES if path.is_relative_to(REPOSITORY / "tests") else MOST_LINES)
    }
    assert not long


_HALVES = (("/wo", "rk/"), ("pypi", ".org"), ("registry", ".npmjs"), ("crates", ".io"), ("issue", " #"))
UNSPOKEN = tuple("".join(halves) for halves in _HALVES)
"""Paths of the machine it was written on, addresses of registries, numbers of issues; this file has none."""
NEIGHBOUR = "/".join(("..", "shared"))
"""Only the continuous integration's script may look there."""


def test_the_source_knows_nothing_of_where_it_was_written() -> None:
    wrong = []
    for path in _tracked():
        words = UNSPOKEN if path.name == "run" and path.parent.name == ".ci" else (*UNSPOKEN, NEIGHBOUR)
        content = path.read_bytes()
        wrong += [f"{path.relative_to(REPOSITORY)}: {word}" for word in words if word.encode() in content]
    assert not wrong


NAMED_FILE = re.compile(r"`([\w./-]*/[\w.-]+\.(?:py|md|js|vtl))`")
NAMED_MODULE = re.compile(
    r"`(?!\w+\.jsonl`)((?:accounts|aws|delivery|endpoint|federation|identity|protocol|sliding_sync|storage)(?:\.\w+)+)`"
)


def test_files_and_modules_that_texts_name_exist() -> None:
    """A text names a file by the end of its path, and an object of a module with the module's name in
    front.
    """
    files = {f"/{path.relative_to(REPOSITORY)}" for path in _tracked()}
    known = dict(modules(PACKAGE, "murmuration"))
    packages = {name.rpartition(".")[0] for name in known}
    wrong = []
    for path in _tracked(".py", ".md"):
        text = path.read_text()
        for named in NAMED_FILE.findall(text):
            if not any(file.endswith(f"/{named.lstrip('./')}") for file in files):
                wrong.append(f"{path.relative_to(REPOSITORY)}: {named}")
        for named in NAMED_MODULE.findall(text):
            whole = f"murmuration.{named}"
            module, _, defined = whole.rpartition(".")
            is_defined = module in known and re.search(rf"\b{defined}\b", known[module].read_text())
            if whole not in known and whole not in packages and not is_defined:
                wrong.append(f"{path.relative_to(REPOSITORY)}: {named}")
    assert not wrong
