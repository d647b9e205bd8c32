"""The contents of a sync token that need no read."""

from __future__ import annotations

import pytest

from murmuration.protocol.identifiers import DeviceId, UserId
from murmuration.storage.live import sync_tokens
from murmuration.storage.live.positions import Positions

NOW_MS = 1_795_962_193_807


@pytest.mark.parametrize(("later_s", "is_fresh"), [(0, True), (5, True), (6, False), (86_400, False)])
@pytest.mark.usefixtures("deployment")
def test_a_plain_token_says_for_five_seconds_that_it_is_fresh(
    later_s: int, is_fresh: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_tokens, "now_ms", lambda: NOW_MS)
    token = sync_tokens.write(UserId("@alice:example.org"), DeviceId("DEVICE"), Positions())
    monkeypatch.setattr(sync_tokens, "now_ms", lambda: NOW_MS + later_s * 1000)
    assert sync_tokens.is_fresh(token) == is_fresh


@pytest.mark.parametrize("token", ["s_tokenofbefor", "p_AAAAAAAAAAAAAAAA.p0.abc", "s_AAAAAAAAAAAAAAAAAAAA"])
def test_other_tokens_are_not_fresh(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old row's name has no time, a mark names another row, and no name is longer."""
    monkeypatch.setattr(sync_tokens, "now_ms", lambda: 0)
    assert not sync_tokens.is_fresh(token)
