"""Every entry point connects the ports through which lower layers call higher ones."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from murmuration.endpoint import discover
from murmuration.federation.policy.asking import PolicyServers
from murmuration.rooms.writing import policy_port
from operators import operating
from operators.operating import NotOperable

KINDS = sorted({type(function.handler) for function in discover()}, key=lambda it: it.__name__)


@pytest.mark.parametrize("kind", KINDS, ids=lambda it: it.__name__)
def test_each_kind_of_function_connects_them(kind: type) -> None:
    """Without this, a room's policy server could not be asked, and nothing could be sent to other servers."""
    assert "connect_ports()" in inspect.getsource(kind.__call__)


def test_operators_commands_connect_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_port, "_connected", [])
    assert policy_port.policy_client() is None
    with pytest.raises(NotOperable), operating.connected(tmp_path / "nothing", None):
        pass
    assert isinstance(policy_port.policy_client(), PolicyServers)
