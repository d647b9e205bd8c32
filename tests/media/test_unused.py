"""Local files are deleted some days after their last use, if the operator sets the number of days."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from murmuration.aws import objects
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.aws.reads import fetch
from murmuration.clock import DAY_MS, now_ms
from murmuration.media import finding, unused
from murmuration.media.asking import Asked
from murmuration.protocol.errors import NotFound
from murmuration.protocol.identifiers import UserId
from murmuration.settings import settings
from murmuration.storage import media as storage
from murmuration.storage import unused_media
from tests.in_process import Client
from tests.rooms.people import ok

V3 = "/_matrix/client/v3"
FILE = b"x" * 1000
LetPass = Callable[[float], None]


@pytest.fixture(autouse=True)
def _on(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MURMURATION_LOCAL_MEDIA_DAYS", "30")
    settings.cache_clear()
    unused_media.write_search(None)
    yield
    unused_media.write_search(None)
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> LetPass:
    """Let days pass, for the search and for the records of uses."""
    passed = 0.0

    def let_pass(days: float) -> None:
        nonlocal passed
        passed += days * DAY_MS
        monkeypatch.setattr(unused, "now_ms", lambda: now_ms() + int(passed))

    return let_pass


def search() -> int:
    """Search all files, those of other tests as well, however long that takes."""
    return unused.delete_unused_media(budget_ms=3_600_000)


def files_of(client: Client) -> list[unused_media.OwnFile]:
    found, after = unused_media.read_files(None)
    while after is not None:
        more, after = unused_media.read_files(after)
        found += more
    return [file for file in found if file.user_id == client.user_id]


def upload(client: Client) -> str:
    uri = ok(client.post("/_matrix/media/v3/upload", FILE))["content_uri"]
    return str(uri).rpartition("/")[2]


def use(media_id: str) -> bytes:
    return finding.get_content(settings().server_name, media_id, Asked("@bob:example.org")).data


def used_bytes(client: Client) -> int:
    return fetch(storage.used_bytes_read(UserId(client.user_id)))


def is_there(media_id: str) -> bool:
    return storage.read(media_id) is not None


def test_an_unused_file_is_deleted_and_its_bytes_are_given_back(alice: Client, later: LetPass) -> None:
    media_id = upload(alice)
    content = finding.find_own_media(media_id).content
    assert content is not None
    before = used_bytes(alice)
    search()
    assert is_there(media_id)
    later(30.5)
    search()
    assert is_there(media_id)
    later(1)
    search()
    assert not is_there(media_id)
    assert objects.get(content.object) is None
    assert used_bytes(alice) == before - len(FILE)
    with pytest.raises(NotFound):
        use(media_id)


def test_a_files_thumbnails_are_deleted_with_it(alice: Client, later: LetPass) -> None:
    media_id = upload(alice)
    key = f"thumbnail/{media_id}/crop-96x96"
    objects.put(key, b"small", "image/png")
    search()
    later(32)
    search()
    assert objects.get(key) is None


def test_a_file_is_kept_after_a_use(alice: Client, later: LetPass) -> None:
    media_id, other = upload(alice), upload(alice)
    search()
    later(25)
    assert use(media_id) == FILE
    later(20)
    search()
    assert is_there(media_id)
    assert not is_there(other)
    later(15)
    search()
    assert not is_there(media_id)


def test_uses_of_a_file_are_recorded_once_a_day(alice: Client, later: LetPass) -> None:
    media_id = upload(alice)
    use(media_id)
    assert finding.find_own_media(media_id).used_ms == 0
    later(2)
    use(media_id)
    noted = finding.find_own_media(media_id).used_ms
    assert noted > now_ms() + DAY_MS
    use(media_id)
    assert finding.find_own_media(media_id).used_ms == noted


def test_files_from_before_the_setting_count_as_used_when_it_was_turned_on(
    alice: Client, later: LetPass
) -> None:
    media_id = upload(alice)
    later(400)
    search()
    assert is_there(media_id)
    later(20)
    search()
    assert is_there(media_id)
    later(12)
    search()
    assert not is_there(media_id)


def test_the_days_begin_anew_when_the_setting_is_turned_off_and_on(
    alice: Client, later: LetPass, monkeypatch: pytest.MonkeyPatch
) -> None:
    media_id = upload(alice)
    search()
    later(20)
    monkeypatch.setenv("MURMURATION_LOCAL_MEDIA_DAYS", "0")
    settings.cache_clear()
    search()
    assert is_there(media_id)
    assert unused_media.read_search() is None
    later(20)
    search()
    assert is_there(media_id)
    use(media_id)
    assert finding.find_own_media(media_id).used_ms == 0
    monkeypatch.setenv("MURMURATION_LOCAL_MEDIA_DAYS", "30")
    settings.cache_clear()
    search()
    assert is_there(media_id)


def test_the_current_avatar_is_kept(alice: Client, later: LetPass) -> None:
    media_id = upload(alice)
    url = f"mxc://{settings().server_name}/{media_id}"
    ok(alice.put(f"{V3}/profile/{alice.user_id}/avatar_url", {"avatar_url": url}))
    search()
    later(40)
    search()
    assert is_there(media_id)
    ok(alice.put(f"{V3}/profile/{alice.user_id}/avatar_url", {"avatar_url": ""}))
    search()
    assert not is_there(media_id)


def test_a_file_is_kept_if_it_is_used_during_the_search(
    alice: Client, later: LetPass, monkeypatch: pytest.MonkeyPatch
) -> None:
    media_id = upload(alice)
    search()
    later(40)
    begin = unused_media.begin_deletion

    def used_first(file: unused_media.OwnFile) -> bool:
        if file.media_id == media_id:
            use(media_id)
        return begin(file)

    monkeypatch.setattr(unused_media, "begin_deletion", used_first)
    search()
    assert use(media_id) == FILE


@pytest.mark.parametrize("step", ["delete", "finish_deletion"])
def test_a_search_that_stopped_is_finished_by_the_next(
    alice: Client, later: LetPass, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    media_id = upload(alice)
    before = used_bytes(alice)
    search()
    later(40)

    module = objects if step == "delete" else unused_media
    go_on = getattr(module, step)

    def stop(first: object, *others: Any) -> Any:
        if media_id in repr(first):
            raise KeyboardInterrupt
        return go_on(first, *others)

    with monkeypatch.context() as patch:
        patch.setattr(module, step, stop)
        with pytest.raises(KeyboardInterrupt):
            search()
    assert not is_there(media_id)
    search()
    search()
    assert used_bytes(alice) == before - len(FILE)


def test_deleting_files_that_were_never_counted_leaves_the_count_at_zero(
    alice: Client, later: LetPass, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MURMURATION_MEDIA_QUOTA_BYTES", "0")
    settings.cache_clear()
    media_id = upload(alice)
    search()
    later(40)
    search()
    assert not is_there(media_id)
    assert used_bytes(alice) == 0


def test_without_time_nothing_is_deleted(alice: Client, later: LetPass) -> None:
    media_id = upload(alice)
    search()
    later(40)
    assert unused.delete_unused_media(budget_ms=0) == 0
    assert is_there(media_id)


def test_a_file_that_is_gone_is_deleted_by_nobody_else(alice: Client, later: LetPass) -> None:
    upload(alice)
    search()
    later(40)
    before = used_bytes(alice)
    (mine,) = files_of(alice)
    assert unused_media.begin_deletion(mine)
    unused_media.finish_deletion(mine)
    unused_media.finish_deletion(mine)
    assert used_bytes(alice) == before - len(FILE)
    assert not unused_media.begin_deletion(mine)
    with pytest.raises(ConditionFailed):
        storage.complete_begun(storage.Media(mine.media_id, mine.user_id, None, None), mine.content)
