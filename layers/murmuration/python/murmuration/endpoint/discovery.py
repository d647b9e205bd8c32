"""Finds the functions: every module below `functions/` with a `handler` that carries a route."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from murmuration.endpoint.routes import Http, Route


@dataclass(frozen=True, slots=True)
class Function:
    """One Lambda: `name` is `<api>-<operation>`, `module` is its dotted name, `handler` its entry point."""

    name: str
    module: str
    handler: Callable[[Any, Any], Any]
    route: Route

    @property
    def group(self) -> str:
        """The specification module to which the function belongs, such as `client_server.rooms`."""
        return self.module.removeprefix("functions.").rpartition(".")[0]


class Routed(Protocol):
    """Any object that has a route."""

    @property
    def route(self) -> Route: ...


OfRoute = TypeVar("OfRoute", bound=Routed)


def stores_body(route: Route) -> bool:
    """Return whether the gateway itself stores the request bodies of a route in the bucket."""
    return isinstance(route, Http) and route.stores_body


def http_routes(functions: Iterable[OfRoute]) -> Iterator[tuple[str, str, OfRoute]]:
    """Yield (method, path, function) for every HTTP route, including the older routes of an endpoint."""
    for function in functions:
        if isinstance(function.route, Http):
            for method, path in function.route.all:
                yield method, path, function


def function_name(module: str) -> str:
    """Return the function's name: `client_server-send_message` for
    `functions.client_server.room_send.send_message`.
    """
    parts = module.split(".")
    return f"{parts[1]}-{parts[-1]}"


def module_names(root: Path, package: str = "functions") -> Iterator[str]:
    """Yield the dotted names of all modules below `root`, in order."""
    for entry in sorted(root.iterdir()):
        if entry.is_dir() and not entry.name.startswith(("_", ".")):
            yield from module_names(entry, f"{package}.{entry.name}")
        elif entry.suffix == ".py" and not entry.name.startswith("_"):
            yield f"{package}.{entry.stem}"


def discover(package: str = "functions") -> list[Function]:
    """Return all functions, by module name. Raises AttributeError for a module without a routed `handler`."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"no package {package!r}: run from the repository's top folder")
    functions = []
    for location in dict.fromkeys(spec.submodule_search_locations):
        for name in module_names(Path(location), package):
            handler = importlib.import_module(name).handler
            functions.append(Function(function_name(name), name, handler, handler.route))
    return functions


__all__ = ["Function", "discover", "function_name", "http_routes", "module_names", "stores_body"]
