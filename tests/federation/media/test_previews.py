"""Previews of URLs on a made-up network: titles, images, and pages that are never requested."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from murmuration import clock
from murmuration.aws import dynamodb
from murmuration.identity import rate_limits
from murmuration.identity.rate_limits import Limit
from murmuration.media import pages, previews
from murmuration.settings import settings
from tests.federation.media.test_fetching import picture
from tests.federation.network import Network, Received, Reply
from tests.in_process import Answer, Client
from tests.local_cloud.waiting import PATIENCE_S

PATHS = ("/_matrix/client/v1/media/preview_url", "/_matrix/media/v3/preview_url")
HTML = {"Content-Type": "text/html; charset=utf-8"}


class Site:
    """A web site; `pages` are its answers by target, `asked` what it was asked."""

    def __init__(self, network: Network, name: str) -> None:
        self.name = name
        self.network = network
        self.pages: dict[str, Reply] = {}
        self.asked: list[Received] = []
        self.server = network.serve(self.answer, name)
        network.at(name, 443, self.server)

    def answer(self, received: Received) -> Reply:
        self.asked.append(received)
        return self.pages.get(received.target, Reply(b"", 404))

    def page(self, head: str, target: str = "/", **headers: str) -> None:
        self.pages[target] = Reply(f"<html><head>{head}</head></html>".encode(), headers=HTML | headers)

    def url(self, target: str = "/") -> str:
        return f"https://{self.name}{target}"


@pytest.fixture
def site(network: Network, fresh_name: str) -> Site:
    return Site(network, f"www-{fresh_name}")


def preview(client: Client, url: str, path: str = PATHS[0], **query: Any) -> Answer:
    return client.get(path, url=url, **query)


@pytest.mark.parametrize("path", PATHS)
def test_a_page_and_its_image(alice: Client, bob: Client, site: Site, path: str) -> None:
    site.page(
        '<title>Not this</title><meta property="og:title" content="Tea &amp; cake">'
        '<meta property="og:description" content="All  about\n tea"><meta name="og:type" content="article">'
        '<meta property="og:image" content="/tea.png?x=1"><meta property="og:image:width" content="9999">'
    )
    site.pages["/tea.png?x=1"] = Reply(picture(48, 32), headers={"Content-Type": "text/plain"})
    found = preview(alice, site.url(), path, ts=1510610716656).json
    uri = found.pop("og:image")
    assert found == {
        "og:title": "Tea & cake",
        "og:description": "All about tea",
        "og:type": "article",
        "og:image:type": "image/png",
        "og:image:width": 48,
        "og:image:height": 32,
        "matrix:image:size": len(picture(48, 32)),
    }
    image = bob.get(f"/_matrix/client/v1/media/download/{uri.removeprefix('mxc://')}")
    assert (image.body, image.headers["Content-Type"]) == (picture(48, 32), "image/png")
    thumbnail = bob.get(f"/_matrix/client/v1/media/thumbnail/{uri.removeprefix('mxc://')}?width=32&height=32")
    with Image.open(BytesIO(thumbnail.body)) as made:
        assert made.size == (48, 32)
    assert all("authorization" not in received.headers for received in site.asked)


def test_a_preview_is_kept_for_an_hour(
    alice: Client, bob: Client, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.page("<title>Tea</title>")
    for client in (alice, bob):
        assert preview(client, f"{site.url()}#part").json == {"og:title": "Tea"}
    assert len(site.asked) == 1
    site.page("<title>Cake</title>")
    later = clock.now_ms() + previews.KEPT_MS + 1000
    monkeypatch.setattr(previews, "now_ms", lambda: later)
    assert preview(alice, site.url()).json == {"og:title": "Cake"}


def test_an_image_by_itself(alice: Client, site: Site) -> None:
    site.pages["/a.png"] = Reply(picture(10, 20), headers={"Content-Type": "image/png"})
    found = preview(alice, site.url("/a.png")).json
    assert (found["og:image:width"], found["og:image:height"]) == (10, 20)


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"<svg onload='x'/>", "image/svg+xml"), (b"\x89PNG\r\n\x1a\nbroken", "image/png"), (b"", "image/gif")],
)
def test_what_is_no_image_by_its_bytes_is_none(alice: Client, site: Site, body: bytes, kind: str) -> None:
    site.page('<title>Tea</title><meta property="og:image" content="/x">')
    site.pages["/x"] = Reply(body, headers={"Content-Type": kind})
    assert preview(alice, site.url()).json == {"og:title": "Tea"}
    assert preview(alice, site.url("/x")).json == {}


@pytest.mark.parametrize("source", ["http://[::1", "https://a.example:x/", "data:image/png;base64,AA", "//"])
def test_an_image_at_what_is_no_url_is_left_out(alice: Client, site: Site, source: str) -> None:
    site.page(f'<title>Tea</title><meta property="og:image" content="{source}">')
    assert preview(alice, site.url()).json == {"og:title": "Tea"}


@pytest.mark.parametrize("kind", ["application/pdf", "text/plain", ""])
def test_other_files_say_nothing(alice: Client, site: Site, kind: str) -> None:
    site.pages["/f"] = Reply(b"<title>x</title>", headers={"Content-Type": kind})
    assert preview(alice, site.url("/f")).json == {}


# -- What isn't asked --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://[fd00::1]/",
        "http://[::ffff:a00:1]/", "https://192.168.1.1:8080/",
    ],
)  # fmt: skip
def test_addresses_inside_are_not_asked(alice: Client, network: Network, url: str) -> None:
    literally(network, url)
    answer = preview(alice, url)
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")


def literally(network: Network, url: str) -> None:
    """Let the host of a URL lead to itself."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    network.hosts[str(parts.hostname), port] = (str(parts.hostname), port)


def test_names_that_lead_inside_are_not_asked(alice: Client, network: Network, fresh_name: str) -> None:
    network.hosts[fresh_name, 443] = ("10.1.2.3", 443)
    assert preview(alice, f"https://{fresh_name}/").status == 403


@pytest.mark.parametrize("location", ["http://10.0.0.1/", "https://[fd00::1]/", "http://169.254.1.1/"])
def test_redirects_that_lead_inside_are_not_followed(alice: Client, site: Site, location: str) -> None:
    literally(site.network, location)
    site.pages["/"] = Reply(b"", 302, {"Location": location})
    assert preview(alice, site.url()).status == 403
    site.page(f'<title>Tea</title><meta property="og:image" content="{location}">', "/image")
    assert preview(alice, site.url("/image")).json == {"og:title": "Tea"}


def test_redirects_are_followed(alice: Client, site: Site) -> None:
    site.pages["/"] = Reply(b"", 301, {"Location": "/a/b"})
    site.page('<meta property="og:title" content="Tea"><meta property="og:image" content="c.png">', "/a/b")
    site.pages["/a/c.png"] = Reply(picture(8, 8))
    assert preview(alice, site.url()).json["og:image:width"] == 8
    site.pages["/old"] = Reply(b"", 302, {"Location": "/Größe und Maß".encode().decode("latin-1")})
    site.page("<title>Sizes</title>", "/Gr%C3%B6%C3%9Fe%20und%20Ma%C3%9F")
    assert preview(alice, site.url("/old")).json == {"og:title": "Sizes"}
    site.pages["/loop"] = Reply(b"", 302, {"Location": "/loop"})
    assert preview(alice, site.url("/loop")).status == 502


@pytest.mark.parametrize(
    "url",
    [
        "", "tea", "ftp://a.example/", "file:///etc/passwd", "https://", "https://user:secret@a.example/",
        "javascript:alert(1)", "https://0x7f.1/", "https://a.example:99999/", "https://[::1",
    ],
)  # fmt: skip
def test_what_can_not_be_asked_is_refused(alice: Client, network: Network, url: str) -> None:
    answer = preview(alice, url)
    assert answer.status == 400
    assert answer.json["errcode"] in ("M_INVALID_PARAM", "M_MISSING_PARAM")


def test_a_site_that_fails_is_remembered(alice: Client, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        answer = preview(alice, site.url("/none"))
        assert (answer.status, answer.json["errcode"]) == (502, "M_UNKNOWN")
    assert len(site.asked) == 1
    site.page("<title>Tea</title>", "/none")
    later = clock.now_ms() + previews.FAILED_MS + 1000
    monkeypatch.setattr(previews, "now_ms", lambda: later)
    assert preview(alice, site.url("/none")).json == {"og:title": "Tea"}


def test_a_site_that_is_not_there(alice: Client, network: Network, fresh_name: str) -> None:
    assert preview(alice, f"https://{fresh_name}/").status == 502


def test_a_page_that_never_ends_is_cut(alice: Client, site: Site) -> None:
    site.page(f"<title>Tea</title>{'<p>' * pages.MAX_PAGE_BYTES}<meta property='og:type' content='x'>")
    assert preview(alice, site.url()).json == {"og:title": "Tea"}


def test_an_image_that_is_too_large_is_left_out(
    alice: Client, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews, "MAX_IMAGE_BYTES", 50)
    site.page('<title>Tea</title><meta property="og:image" content="/x">')
    site.pages["/x"] = Reply(picture())
    assert preview(alice, site.url()).json == {"og:title": "Tea"}


# -- Limits ------------------------------------------------------------------------------------------------


def test_previews_can_be_off(alice: Client, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MURMURATION_URL_PREVIEWS", "off")
    settings.cache_clear()
    answer = preview(alice, site.url())
    assert (answer.status, answer.json["errcode"]) == (404, "M_UNRECOGNIZED")
    assert not site.asked


def test_a_user_asks_for_so_many(
    alice: Client, bob: Client, site: Site, limited: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "LIMITS", {**rate_limits.LIMITS, "url_preview": Limit(0.001, 2)})
    site.page("<title>Tea</title>")
    assert [preview(alice, site.url()).status for _ in range(3)] == [200, 200, 429]
    assert preview(bob, site.url()).status == 200


def test_nobody_in_particular_gets_none(site: Site) -> None:
    assert preview(Client(), site.url()).status == 401


def test_many_who_ask_at_once_ask_once(alice: Client, site: Site) -> None:
    asked, answered = threading.Event(), threading.Event()
    real: Callable[[Received], Reply] = site.answer

    def slow(received: Received) -> Reply:
        asked.set()
        assert answered.wait(PATIENCE_S)
        return real(received)

    site.page("<title>Tea</title>")
    assert site.asked == []
    site.server.handler = slow
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(preview, alice, site.url())
        assert asked.wait(PATIENCE_S)
        others = [pool.submit(preview, alice, site.url()) for _ in range(2)]
        answered.set()
        assert [each.result().json for each in (first, *others)] == [{"og:title": "Tea"}] * 3
    assert len(site.asked) == 1


def test_the_image_of_a_preview_expires(alice: Client, site: Site) -> None:
    site.pages["/a.png"] = Reply(picture(9, 9), headers={"Content-Type": "image/png"})
    uri = preview(alice, site.url("/a.png")).json["og:image"]
    item = dynamodb.get("media", {"media_id": uri.rpartition("/")[2]})
    assert item is not None
    assert item["object"].startswith("remote/"), "where the bucket's rule deletes it"
    assert item["expires"] > clock.now_ms() // 1000


# -- Reading pages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "kind", "found"),
    [
        ("<title> a\n b </title><title>c</title>", "", {"og:title": "a b"}),
        ("<meta name=description content='d'>", "", {"og:description": "d"}),
        ("<meta name=twitter:title content='t'><title>x</title>", "", {"og:title": "t"}),
        ("<meta property=og:title content='1'><meta property=og:title content='2'>", "", {"og:title": "1"}),
        ("<meta property='og:title' content=''>", "", {}),
        ("<meta property='evil:thing' content='x'>", "", {}),
        ("<META PROPERTY='og:Title' CONTENT='x'>", "", {"og:title": "x"}),
        ("<title>&lt;b&gt;&#x41;</title>", "", {"og:title": "<b>A"}),
        ("<title>unclosed", "", {"og:title": "unclosed"}),
        ("<!-- <title>x</title> --><title>y</title>", "", {"og:title": "y"}),
        ("<script>'<title>x</title>'</script><title>y</title>", "", {"og:title": "y"}),
        ("<!--><title>y</title>", "", {"og:title": "y"}),
        ("<p title=don't><title>it's</title>", "", {"og:title": "it's"}),
        ("<a title='<title>x</title>'><title>y</title>", "", {"og:title": "y"}),
        ("<link REL='Image_src icon' href='a&amp;b.png'>", "", {"og:image": "a&b.png"}),
        ("1 < 2 <title>y</TITLE ><title>z</title>", "", {"og:title": "y"}),
        ("<meta\nproperty = og:title\ncontent = x/>", "", {"og:title": "x/"}),
        ("<meta property=og:title content='x'", "", {}),
        ("", "", {}),
    ],
)
def test_pages(page: str, kind: str, found: dict[str, str]) -> None:
    assert pages.read_page(page.encode(), kind) == found


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ("<title>Tée</title>".encode("latin-1"), "text/html; charset=ISO-8859-1"),
        (b'<meta charset="windows-1252"><title>T\xe9e</title>', "text/html"),
        (b'<meta http-equiv=Content-Type content="text/html; charset=x-mac-roman"><title>T\x8ee</title>', ""),
        (b"<?xml version='1.0' encoding='iso-8859-15'?><title>T\xe9e</title>", "application/xhtml+xml"),
        ("<title>Tée</title>".encode(), "text/html"),
        ("<title>Tée</title>".encode("latin-1"), "text/html"),
        ("<title>Tée</title>".encode(), "text/html; charset=klingon"),
        ("<meta charset=utf-16><title>Tée</title>".encode(), "text/html"),
        ("<title>Tée</title>".encode("utf-16"), "text/html; charset=utf-16"),
        ("<title>Tée</title>".encode("utf-16"), "text/html"),
        ("<title>Tée</title>".encode("utf-8-sig"), "text/html; charset=iso-8859-1"),
        ("<title>Tée</title>ü".encode()[:-1], "text/html"),
    ],
)
def test_encodings(data: bytes, kind: str) -> None:
    assert pages.read_page(data, kind) == {"og:title": "Tée"}


@pytest.mark.parametrize(
    ("label", "encoding"),
    [("gb2312", "gb18030"), ("x-sjis", "cp932"), ("EUC-KR", "cp949"), ("big5", "big5hkscs"), ("euc-jp", "")],
)
def test_encodings_are_read_as_browsers_do(label: str, encoding: str) -> None:
    data = "<title>中文</title>".encode(encoding or label)
    assert pages.read_page(data, f"text/html; charset={label}") == {"og:title": "中文"}


@pytest.mark.parametrize("label", ["punycode", "unicode_escape", "utf-7", "rot13", "hex", "undefined"])
def test_encodings_that_no_page_has_are_not_used(label: str) -> None:
    data = b"<title>Tea</title>-" + b"zzzzb" * (pages.MAX_PAGE_BYTES // 5)
    assert pages.read_page(data, f"text/html; charset={label}") == {"og:title": "Tea"}


@pytest.mark.parametrize(
    "endless",
    [
        "<", "<a", "<a ", "<a b='", '<a b="\'', "<a ='", "</", "</a ", "<!", "<!--", "<!-- --", "<![CDATA[",
        "<?", "<!DOCTYPE [<!", "<![", "<![if", "&#", "&#1", "<script>", "<script></script ", "<p title=",
        "<meta x=y ",
    ],
)  # fmt: skip
def test_pages_made_to_take_long_end(endless: str) -> None:
    page = "<title>Tea</title>" + endless * (pages.MAX_PAGE_BYTES // len(endless))
    assert pages.read_page(page.encode(), "") == {"og:title": "Tea"}


def test_a_number_that_is_too_long_for_python_is_none() -> None:
    page = f"<title>&#{'1' * 9000};</title><meta name=description content='&#x{'f' * 9000};'>"
    assert set(pages.read_page(page.encode(), "")) <= {"og:title", "og:description"}


def test_values_are_bounded() -> None:
    page = "".join(f"<meta property='og:x{number}' content='{'y' * 3000}'>" for number in range(100))
    found = pages.read_page(page.encode(), "")
    assert len(found) == pages.MOST_PROPERTIES
    assert all(len(value) == pages.MAX_VALUE for value in found.values())
