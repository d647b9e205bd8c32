"""A pytest plugin that records which permissions the functions use: `pytest -p infra_cdk.recording`.

At the end it writes `build/permissions.json`, adding to what an earlier run has found;
`python -m infra_cdk.recording` compares that with `infra_cdk.grants`.
"""

from __future__ import annotations

import contextvars
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from infra_cdk.needs import SECRETS, TABLES, Need, UnknownRequest, needs

RECORD = Path("build/permissions.json")

Permissions = dict[str, set[Need]]
"""What each module used, by the module's name."""

_module: contextvars.ContextVar[str | None] = contextvars.ContextVar("module", default=None)


class Recorder:
    """Collects what functions need while `installed`."""

    def __init__(self) -> None:
        self.used: Permissions = defaultdict(set)
        self.unknown: set[str] = set()

    @contextmanager
    def installed(self, functions: Iterable[Any]) -> Iterator[None]:
        """Watch the handlers of `functions` and every request that a botocore client makes for them.

        Caches keep nothing meanwhile: a function of a fresh process would have to ask. What tests go without
        (rate limits, a signing key of SSM's) is noted where it would be used.
        """
        from botocore.client import BaseClient

        from murmuration import rate_limits
        from murmuration.protocol.signing import SigningKey
        from murmuration.storage.cache import LruCache

        groups = {id(function.handler): function.group for function in functions}
        with ExitStack() as stack:
            for handler_type in {type(function.handler) for function in functions}:
                call = self._watch_handler(handler_type.__call__, groups)
                stack.enter_context(patch.object(handler_type, "__call__", call))
            stack.enter_context(patch.object(ThreadPoolExecutor, "submit", _submit_in_context))
            request = self._watch_client(BaseClient._make_api_call)
            stack.enter_context(patch.object(BaseClient, "_make_api_call", request))
            stack.enter_context(patch.object(LruCache, "get", lambda *_: None))
            for owner, name, need in (
                (SigningKey, "sign", Need(SECRETS, "signing-key", "get")),
                (rate_limits, "check", Need(TABLES, rate_limits.TABLE, "update")),
                (rate_limits, "require_open", Need(TABLES, rate_limits.TABLE, "get")),
            ):
                stack.enter_context(patch.object(owner, name, self._watch_call(getattr(owner, name), need)))
            yield

    def _watch_call(self, call: Callable[..., Any], need: Need) -> Callable[..., Any]:
        def watched(*args: Any, **options: Any) -> Any:
            if module := _module.get():
                self.used[module].add(need)
            return call(*args, **options)

        return watched

    def _watch_handler(self, call: Callable[..., Any], groups: Mapping[int, str]) -> Callable[..., Any]:
        def watched(handler: Any, *args: Any, **options: Any) -> Any:
            token = _module.set(groups.get(id(handler)))
            try:
                return call(handler, *args, **options)
            finally:
                _module.reset(token)

        return watched

    def _watch_client(self, make_api_call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(client: Any, operation: str, parameters: Mapping[str, Any]) -> Any:
            if module := _module.get():
                self._note(module, client.meta.service_model.service_name, operation, parameters)
            return make_api_call(client, operation, parameters)

        return watched

    def _note(self, module: str, service: str, operation: str, parameters: Mapping[str, Any]) -> None:
        from murmuration.settings import settings

        try:
            self.used[module].update(needs(service, operation, parameters, settings().prefix))
        except UnknownRequest as error:
            self.unknown.add(f"{module}: {error}")


_submit = ThreadPoolExecutor.submit


def _submit_in_context(
    executor: ThreadPoolExecutor, call: Callable[..., Any], /, *args: Any, **options: Any
) -> Future[Any]:
    """A pool's thread works for the function that gave it the work."""
    return _submit(executor, contextvars.copy_context().run, call, *args, **options)


def load(path: Path = RECORD) -> Permissions:
    """What has been recorded so far."""
    if not path.exists():
        return {}
    recorded = json.loads(path.read_text())
    return {module: {Need(*need) for need in found} for module, found in recorded.items()}


def save(used: Permissions, path: Path = RECORD) -> None:
    """Add to what has been recorded."""
    merged = load(path)
    for module, found in used.items():
        merged.setdefault(module, set()).update(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    ordered = {module: sorted(merged[module]) for module in sorted(merged)}
    path.write_text(json.dumps(ordered, indent=1) + "\n")


# -- The plugin ------------------------------------------------------------------------------------------


def pytest_configure(config: Any) -> None:
    from murmuration.endpoint import discover

    recorder = Recorder()
    stack = ExitStack()
    stack.enter_context(recorder.installed(discover()))
    config.add_cleanup(lambda: _finish(recorder, stack))


def _finish(recorder: Recorder, stack: ExitStack) -> None:
    stack.close()
    save(recorder.used)
    for line in sorted(recorder.unknown):
        print(f"not understood: {line}", file=sys.stderr)  # noqa: T201 - a command's report


# -- The comparison --------------------------------------------------------------------------------------


def differences(used: Permissions) -> Iterator[str]:
    """A line for each permission that is used and not granted, or granted and not seen used."""
    from infra_cdk.grants import GRANTS

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
    from infra_cdk.grants import covers

    return any(covers(grant, need) for grant in granted)


def _words(need: Need) -> str:
    return f"{need.action} on {need.kind} {need.resource}"


def render(used: Permissions) -> str:
    """The recorded permissions as the text of a table such as GRANTS."""
    lines = []
    for module in sorted(used):
        kinds: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for need in sorted(used[module]):
            kinds[need.kind][need.resource].append(need.action)
        lines.append(f'    "{module}": Grant(')
        for kind, resources in kinds.items():
            entries = ", ".join(f'"{name}": "{" ".join(actions)}"' for name, actions in resources.items())
            lines.append(f"        {kind}={{{entries}}},")
        lines.append("    ),")
    return "\n".join(lines)


def main() -> None:
    used = load()
    print(render(used))  # noqa: T201 - a command's output
    for line in differences(used):
        print(line, file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    main()
