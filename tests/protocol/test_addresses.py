"""URLs that are shown or followed."""

from __future__ import annotations

import pytest

from murmuration.protocol.addresses import is_web_url, parse_address


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://client.example.org/done?a=b#c", "client.example.org"),
        ("http://localhost:8080/", "localhost:8080"),
        ("HTTPS://Client.Example.org/A", "client.example.org"),
        ("https://client.example.org?x=@evil.example", "client.example.org"),
        ("https://[::1]:80/", "[::1]:80"),
        ("https://127.0.0.1/", "127.0.0.1"),
        ("https://xn--80ak6aa92e.com/", "xn--80ak6aa92e.com"),
        ("https://\u0430\u0440\u0440\u04cf\u0435.com/x", "xn--80ak6aa92e.com"),
        ("io.element.app:/callback", "io.element.app:"),
        ("im.client://login/x", "im.client://login"),
    ],
)  # fmt: skip
def test_what_is_shown_is_where_it_leads(url: str, shown: str) -> None:
    assert parse_address(url).shown == shown


@pytest.mark.parametrize(
    "url",
    [
        "https://app.element.io@evil.example",
        "https://app.element.io:443@evil.example/",
        "https://@evil.example",
        "https://evil.example\\@app.element.io",
        "https:\\\\evil.example",
        "https://app.element.io/\\evil",
        "https://app.element.io%2f@evil.example",
        "https://evil%2eexample/",
        "https://app.element.io\u3002evil.example",
        "https://app.element.io\uff0fevil.example",
        "https://app\u202e.example",
        "https://app.element.io\tevil.example",
        "https://fa\u00df.example",
        "https://\uff41.example",
        "https://a\u200d.example",
        "https:app.element.io",
        "https:///x",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://a:99999999/",
        "https://a:b/",
        "https://[::1",
        "https://[v1.a]/",
        "https://",
        "//evil.example",
        "/x",
        "javascript:alert(1)",
        "data:,x",
        "im.client://a@b",
        "im.client:///x",
        "https://" + "a" * 64 + ".example",
        "https://a..b",
        "https://-a.example",
        "x" * 3000,
        "intent://evil.example#Intent;scheme=https;end",
        "ftp:evil.example",
        "https://a\ud800.example",
        "",
    ],
)  # fmt: skip
def test_what_may_mislead_is_refused(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each says something of its own
        parse_address(url)


def test_only_the_host_is_put_into_ascii() -> None:
    assert parse_address("HTTPS://b\u00fccher.example:1/\u00fc?\u00fc").url == (
        "HTTPS://xn--bcher-kva.example:1/\u00fc?\u00fc"
    )


@pytest.mark.parametrize("url", [None, 1, "im.client://login", "https://a@b/", ""])
def test_a_web_url_is_one(url: object) -> None:
    assert not is_web_url(url)
    assert is_web_url("https://example.org/token")
