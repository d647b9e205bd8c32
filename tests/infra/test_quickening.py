"""Quickened modules behave as before and import fewer modules at the start."""

from __future__ import annotations

import ast
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from benchmarks.cold.site import make_site
from infra_cdk.layers import ROOT
from infra_cdk.quickening import lazily, put_off_dataclasses, strip_docstrings
from infra_cdk.quickening.imports import put_off_imports
from infra_cdk.quickening.patterns import put_off_patterns
from murmuration.storage.tables import TABLES


def put_off(source: str, *targets: str, package: str = "", is_package: bool = False) -> str:
    tree = ast.parse(source)
    put_off_imports(tree, targets, package, is_package=is_package)
    return ast.unparse(ast.fix_missing_locations(tree))


def names_of(text: str) -> dict:
    space: dict = {"__name__": "quickened"}
    exec(compile(text, "quickened", "exec"), space)
    return space


def test_an_import_waits_for_the_function_that_needs_it() -> None:
    text = put_off('import os\nimport json\ndef f(x):\n    "Doc."\n    return json.dumps(x)', "json")
    space = names_of(text)
    assert "json" not in space
    assert space["f"]([1]) == "[1]"
    assert space["f"].__doc__ == "Doc."
    assert space["__getattr__"]("json").dumps(1) == "1"
    with pytest.raises(AttributeError, match="has no attribute 'other'"):
        space["__getattr__"]("other")


def test_an_import_goes_into_the_one_branch_that_needs_it() -> None:
    text = put_off("import json\ndef f(x):\n    if x:\n        return json.dumps(x)\n    return None", "json")
    assert text.index("if x") < text.index("import json")


@pytest.mark.parametrize(
    "rest",
    [
        "X = json.dumps(1)",
        "class A(json.JSONEncoder): pass",
        "def f(x=json): return x",
        "@json.wraps\ndef f(): pass",
        "def f():\n    json = 1\n    return json",
        "def f(json): return json",
        "def f():\n    global json\n    json = 1",
        "try:\n    import ujson as json\nexcept ImportError:\n    pass\ndef f(): return json",
    ],
)
def test_an_import_stays_where_its_name_is_needed_at_once_or_is_another_s_too(rest: str) -> None:
    text = put_off(f"import json\n{rest}", "json")
    assert ast.parse(text).body[0].__class__ is ast.Import
    assert "__getattr__" not in text


def test_a_method_of_a_nested_class_sees_what_was_put_off() -> None:
    source = (
        "import json\ndef f():\n    class A:\n        def a(self): return json.dumps(1)\n"
        "        def b(self): return json.dumps(2)\n    return A()"
    )
    made = names_of(put_off(source, "json"))["f"]()
    assert (made.a(), made.b()) == ("1", "2")


def test_relative_imports_are_found_and_a_package_keeps_its_own() -> None:
    source = "from .b import c\ndef f(): return c"
    assert put_off(source, "a.b", package="a").startswith("def f")
    assert put_off(source, "a.b", package="a", is_package=True).startswith("from .b")


def test_patterns_wait_unless_something_wants_the_pattern_itself() -> None:
    source = (
        "import re\nA = re.compile('a')\nB = re.compile('b')\ndef f(x): return A.match(x), re.sub(B, '', x)"
    )
    trees = {"one": ast.parse(source)}
    assert put_off_patterns(trees) == {"one"}
    text = ast.unparse(ast.fix_missing_locations(trees["one"]))
    assert "A = lazily.Pattern('a')" in text
    assert "B = re.compile('b')" in text


def test_a_pattern_that_another_module_hands_on_stays() -> None:
    trees = {
        "one": ast.parse("import re\nA = re.compile('a')"),
        "two": ast.parse("import re, one\ndef f(x): return re.split(one.A, x)"),
    }
    assert put_off_patterns(trees) == set()


def test_a_lazy_pattern_is_a_pattern() -> None:
    pattern = lazily.Pattern("(a)b", flags=2)
    assert pattern.fullmatch("AB")[1] == "A"
    assert pattern.fullmatch("c") is None
    with pytest.raises(AttributeError):
        pattern.nothing  # noqa: B018


def test_docstrings_go_and_nothing_else() -> None:
    tree = ast.parse('"Doc."\nclass A:\n    "Doc."\n    def f(self):\n        "Doc."\nX = "no doc"')
    strip_docstrings(tree)
    space = names_of(ast.unparse(ast.fix_missing_locations(tree)))
    assert space["A"].__doc__ is space["A"].f.__doc__ is None
    assert space["X"] == "no doc"


DATACLASSES = """
from __future__ import annotations
from dataclasses import dataclass, field, replace
@dataclass(frozen=True, slots=True)
class Base:
    a: int
    b: list = field(default_factory=list)
@dataclass(frozen=True, slots=True)
class Derived(Base):
    c: str = "c"
    def __post_init__(self): assert self.a
"""


def test_lazy_dataclasses_are_dataclasses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lazily", lazily)
    tree = ast.parse(DATACLASSES)
    assert put_off_dataclasses(tree)
    monkeypatch.setitem(sys.modules, "quickened", sys)
    space = names_of(ast.unparse(ast.fix_missing_locations(tree)))
    base, derived = space["Base"], space["Derived"]
    one = derived(1)
    assert repr(one) == "Derived(a=1, b=[], c='c')"
    assert space["replace"](one, a=2) == derived(2)
    assert base(1) != one
    assert base(1).b is not base(1).b
    with pytest.raises(AttributeError):
        one.a = 3
    with pytest.raises(TypeError):
        derived()
    with pytest.raises(AssertionError):
        derived(0)


def test_threads_that_make_the_first_instance_together_all_get_one() -> None:
    class Plain:
        a: int
        b: list = field(default_factory=list)

    made = lazily.dataclass(frozen=True)(Plain)
    start, found = threading.Barrier(8), []

    def make() -> None:
        start.wait()
        found.append(made(1))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.b for each in found] == [[]] * 8


ON_A_QUICKENED_COPY = """
import os, botocore, murmuration
assert botocore.__file__.startswith({site!r}) and murmuration.__file__.startswith({site!r})
from murmuration.aws import dynamodb, objects, parameters, queues
item = {{"user_id": "@a:b", "sk": "account", "n": 1, "blob": b"x"}}
dynamodb.transact([dynamodb.put("users", item, condition="attribute_not_exists(user_id)")])
try:
    dynamodb.transact([dynamodb.put("users", item, condition="attribute_not_exists(user_id)")])
except dynamodb.ConditionFailed as error:
    assert error.names == {{""}}
else:
    raise AssertionError
assert dynamodb.query("users", "user_id = :u", {{":u": "@a:b"}}) == [item]
assert dynamodb.get("users", {{"user_id": "@a:b", "sk": "none"}}) is None
queues.send("letters", {{"a": 1}})
assert parameters.read_secret("/cold/a") == "secret"
objects.client().create_bucket(Bucket="cold-media")
objects.put("local/a", b"picture", "image/png")
assert objects.get("local/a") == objects.Object(b"picture", "image/png")
assert objects.get("local/b") is None
objects.delete(["local/a"])
"""


@pytest.fixture
def moto() -> Iterator[ThreadedMotoServer]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield server
    server.stop()


@pytest.mark.long
def test_a_quickened_copy_talks_to_aws_as_the_original_does(moto: ThreadedMotoServer) -> None:
    site = make_site()
    host, port = moto.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    session = boto3.Session("test", "test", region_name="us-east-1")
    dynamodb, sqs, ssm = (session.client(name, endpoint_url=endpoint) for name in ("dynamodb", "sqs", "ssm"))
    (users,) = (table for table in TABLES if table.name == "users")
    dynamodb.create_table(**users.create_request("cold-users"))
    queue = sqs.create_queue(QueueName="cold-letters")["QueueUrl"]
    ssm.put_parameter(Name="/cold/a", Value="secret", Type="SecureString")
    variables = {
        "AWS_ENDPOINT_URL": endpoint,
        "PYTHONPATH": f"{site}:{ROOT}",
        "AWS_LAMBDA_FUNCTION_NAME": "cold",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "MURMURATION_SERVER_NAME": "cold.example",
        "MURMURATION_PREFIX": "cold",
        "MURMURATION_MEDIA_BUCKET": "cold-media",
    }
    code = ON_A_QUICKENED_COPY.format(site=str(Path(site)))
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
    assert message["Body"] == '{"a":1}'
