"""A pytest plugin that records which permissions the functions use: `pytest -p infra_cdk.recording`.

It writes `build/permissions.jsonl`, adding to what an earlier run has found; so do the servers that tests
start. `python -m infra_cdk.recording` prints it as a table, and how `infra_shared.grants` differs from it.

Caches keep nothing while it records: a function of a fresh process would have to ask. What tests go without
(rate limits, a signing key of SSM's, CloudFront's secret) is noted where it would be used. Tests of caches
and of time may fail under it, which doesn't matter.
"""

from __future__ import annotations

import contextvars
import functools
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from infra_shared.needs import SECRETS, TABLES, Need, UnknownRequest, needs
from murmuration.aws.calls import Answer, Call, Proceed

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "build" / "permissions.jsonl"
SITE = Path(__file__).with_name("recording_site")

Permissions = dict[str, set[Need]]
"""What each module used, by the module's name."""

_module: contextvars.ContextVar[str | None] = contextvars.ContextVar("module", default=None)


class Recorder:
    """Notes what functions need while it's `installed`; each new finding goes to the file at once."""

    def __init__(self, path: Path = RECORD) -> None:
        self._path = path
        self.used: Permissions = defaultdict(set)
        self.unknown: set[str] = set()

    def note(self, module: str, need: Need) -> None:
        if need not in self.used[module]:
            self.used[module].add(need)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as record:
                record.write(json.dumps([module, *need]) + "\n")

    @contextmanager
    def installed(self, functions: Iterable[Any] = ()) -> Iterator[None]:
        """Watch the handlers of `functions`, what the local cloud invokes, and what is asked of AWS."""
        from botocore.client import BaseClient

        from local_cloud import permissions
        from local_cloud.lambdas import Lambdas
        from murmuration import server_keys
        from murmuration.aws import calls
        from murmuration.cache import LruCache
        from murmuration.endpoint.http import Request
        from murmuration.identity import rate_limits

        found = list(functions)
        groups = {id(function.handler): function.group for function in found}
        with ExitStack() as stack:
            stack.enter_context(permissions.suspended())

            def replace(owner: Any, name: str, value: Any) -> None:
                stack.enter_context(patch.object(owner, name, value))

            for handler_type in {type(function.handler) for function in found}:
                replace(handler_type, "__call__", _in_module(handler_type.__call__, groups))
            replace(Lambdas, "invoke", _invoked(Lambdas.invoke))
            replace(ThreadPoolExecutor, "submit", _submit_in_context)
            calls.intercept(self._watch_call_of_service)
            stack.callback(calls.release, self._watch_call_of_service)
            replace(BaseClient, "_make_api_call", self._watch_client(BaseClient._make_api_call))
            replace(LruCache, "get", lambda *_: None)
            key = Need(SECRETS, server_keys.PARAMETER, "get")
            for call, need in (
                (server_keys.signing_key, key),
                (server_keys.derived_key, key),
                (rate_limits.check, Need(TABLES, rate_limits.TABLE, "update")),
                (rate_limits.give_back, Need(TABLES, rate_limits.TABLE, "update")),
            ):
                for owner, name in _wherever(call):
                    replace(owner, name, self._watch_call(call, need))
            taking, bucket = rate_limits.Taking, rate_limits.TABLE
            keys = self._watch_call(vars(taking)["keys"].fget, Need(TABLES, bucket, "batch_get"))
            replace(taking, "keys", property(keys))
            replace(taking, "writes", self._watch_call(taking.writes, Need(TABLES, bucket, "update")))
            address = Need(SECRETS, "viewer-secret", "get")
            source_ip = vars(Request)["source_ip"].fget
            replace(Request, "source_ip", property(self._watch_call(source_ip, address)))
            yield

    def _watch_call(self, call: Callable[..., Any], need: Need) -> Callable[..., Any]:
        @functools.wraps(call)
        def watched(*args: Any, **options: Any) -> Any:
            if module := _module.get():
                self.note(module, need)
            return call(*args, **options)

        if hasattr(call, "cache_clear"):
            watched.cache_clear = call.cache_clear  # type: ignore[attr-defined]
        return watched

    def _watch_client(self, make_api_call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(client: Any, operation: str, parameters: Mapping[str, Any]) -> Any:
            if module := _module.get():
                self._note_request(module, client.meta.service_model.service_name, operation, parameters)
            return make_api_call(client, operation, parameters)

        return watched

    def _watch_call_of_service(self, call: Call, proceed: Proceed) -> Answer:
        if module := _module.get():
            self._note_request(module, call.service, call.operation, call.parameters)
        return proceed(call)

    def _note_request(self, module: str, service: str, operation: str, parameters: Mapping[str, Any]) -> None:
        from murmuration.settings import settings

        try:
            for need in needs(service, operation, parameters, settings().prefix):
                self.note(module, need)
        except UnknownRequest as error:
            self.unknown.add(f"{module}: {error}")


def _wherever(call: Any) -> list[tuple[Any, str]]:
    """The modules, and the names in them, by which a function of ours is called."""
    return [
        (module, name)
        for path, module in list(sys.modules.items())
        if path.startswith("murmuration")
        for name, value in list(vars(module).items())
        if value is call
    ]


def _in_module(call: Callable[..., Any], groups: Mapping[int, str]) -> Callable[..., Any]:
    """A handler's call, that marks what happens in it as its module's."""

    def watched(handler: Any, *args: Any, **options: Any) -> Any:
        token = _module.set(groups.get(id(handler), _module.get()))
        try:
            return call(handler, *args, **options)
        finally:
            _module.reset(token)

    return watched


def _invoked(invoke: Callable[..., Any]) -> Callable[..., Any]:
    """The local cloud's invocation, that marks what happens in it as the function's module's."""

    def watched(lambdas: Any, function: Any, *args: Any, **options: Any) -> Any:
        token = _module.set(getattr(function, "group", None))
        try:
            return invoke(lambdas, function, *args, **options)
        finally:
            _module.reset(token)

    return watched


_submit = ThreadPoolExecutor.submit


def _submit_in_context(
    executor: ThreadPoolExecutor, call: Callable[..., Any], /, *args: Any, **options: Any
) -> Future[Any]:
    """A pool's thread works for the function that gave it the work."""
    return _submit(executor, contextvars.copy_context().run, call, *args, **options)


def load(path: Path = RECORD) -> Permissions:
    """What has been recorded so far."""
    found: Permissions = defaultdict(set)
    if path.exists():
        for line in path.read_text().splitlines():
            module, *need = json.loads(line)
            found[module].add(Need(*need))
    return found


# -- The plugin ------------------------------------------------------------------------------------------


def pytest_configure(config: Any) -> None:
    from murmuration.endpoint import discover

    recorder = Recorder()
    stack = ExitStack()
    stack.enter_context(recorder.installed(discover()))
    paths = [str(SITE), str(ROOT), os.environ.get("PYTHONPATH", "")]
    stack.enter_context(patch.dict(os.environ, {"PYTHONPATH": os.pathsep.join(filter(None, paths))}))
    config.add_cleanup(lambda: _finish(recorder, stack))


def _finish(recorder: Recorder, stack: ExitStack) -> None:
    stack.close()
    for line in sorted(recorder.unknown):
        print(f"not understood: {line}", file=sys.stderr)  # noqa: T201 - a command's report


def record_this_process() -> None:
    """Record what a local cloud in this process invokes, for as long as it runs."""
    if "operators.cli" in sys.orig_argv:
        ExitStack().enter_context(Recorder().installed())


# -- The comparison --------------------------------------------------------------------------------------


def differences(used: Permissions) -> Iterator[str]:
    """A line for each permission that is used and not granted, or granted and not seen used."""
    from infra_shared.grants import GRANTS

    for module in sorted(used.keys() | GRANTS.keys()):
        granted = GRANTS[module].needs() if module in GRANTS else set()
        seen = used.get(module, set())
        yield from (f"{module}: lacks {_words(need)}" for need in sorted(seen) if not _covered(need, granted))
        yield from (
            f"{module}: never used {_words(need)}"
            for need in sorted(granted)
            if not any(_covered(one, {need}) for one in seen)
        )


def _covered(need: Need, granted: set[Need]) -> bool:
    from infra_shared.grants import covers

    return any(covers(grant, need) for grant in granted)


def _words(need: Need) -> str:
    return f"{need.action} on {need.kind} {need.resource}"


def render(used: Permissions) -> str:
    """The recorded permissions as the text of a table such as GRANTS; devices' queues are one entry."""
    lines = []
    for module in sorted(used):
        kinds: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for need in used[module]:
            resource = "wake-*" if need.resource.startswith("wake-") else need.resource
            kinds[need.kind][resource].add(need.action)
        lines.append(f'    "{module}": Grant(')
        for kind, resources in sorted(kinds.items()):
            entries = (f'"{name}": "{" ".join(sorted(words))}"' for name, words in sorted(resources.items()))
            lines.append(f"        {kind}={{{', '.join(entries)}}},")
        lines.append("    ),")
    return "\n".join(lines)


def main() -> None:
    used = load()
    print(render(used))  # noqa: T201 - a command's output
    for line in differences(used):
        print(line, file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    main()
