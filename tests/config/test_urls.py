from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachectl.config.target import Address
from cachectl.config.urls import ServerUrl, UrlError, parse_url

SECRET = "s3cr3t-canary"
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20)
HOSTS = st.sampled_from(
    ["localhost", "cache-1.example.com", "127.0.0.1", "::1", "2001:db8::7", "кэш.example"]
)


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def parsed(text: str) -> ServerUrl | UrlError:
    try:
        return parse_url(text)
    except UrlError as error:
        return error


@given(HOSTS, st.integers(1, 65535), st.none() | TEXT, st.none() | TEXT, st.integers(0, 15))
def test_whatever_is_encoded_by_the_standard_library_is_read_back(
    host: str, port: int, user: str | None, password: str | None, database: int
) -> None:
    login = quote(user or "", safe="")
    if password is not None:
        login += ":" + quote(password, safe="")
    at = "@" if user or password else ""
    url = parse_url(f"redis://{login}{at}{bracketed(host)}:{port}/{database}")
    assert (url.username, url.password) == (user, password)
    assert url.addresses == (Address(host, port),)
    assert url.database == database


@given(TEXT, TEXT, TEXT)
def test_a_socket_and_a_master_are_decoded(path: str, master: str, password: str) -> None:
    secret = quote(password, safe="")
    unix = parse_url(f"unix://:{secret}@/{quote(path, safe='')}?db=3")
    assert unix.addresses == (Address(socket="/" + path),)
    assert (unix.password, unix.database) == (password, 3)
    sentinel = parse_url(f"redis+sentinel://h1,h2:5000/{quote(master, safe='')}/2")
    assert sentinel.master == master
    assert sentinel.addresses == (Address("h1", 26379), Address("h2", 5000))
    assert (sentinel.topology, sentinel.database) == ("sentinel", 2)


@given(st.text(max_size=40))
def test_any_text_is_a_url_or_refused(text: str) -> None:
    for candidate in (text, f"redis://{text}"):
        url = parsed(candidate)
        assert url.addresses if isinstance(url, ServerUrl) else str(url)


@given(st.text(st.sampled_from("#@/:%?&[] "), max_size=4), st.text("#@/:%?&[] ", max_size=4))
def test_a_password_that_was_not_encoded_is_refused_or_whole_and_never_repeated(
    before: str, after: str
) -> None:
    typed = f"{before}{SECRET}{after}"
    url = parsed(f"redis://:{typed}@cache.example.com/0")
    if isinstance(url, UrlError):
        assert SECRET not in f"{url} {url.hint}"
    else:
        assert url.password == typed
        assert url.addresses == (Address("cache.example.com"),)


@pytest.mark.parametrize(
    ("text", "tls", "address"),
    [
        ("redis://h", False, Address("h", 6379)),
        ("redis://h:", False, Address("h", 6379)),
        ("redis://h/", False, Address("h", 6379)),
        ("REDISS://h:6380", True, Address("h", 6380)),
        ("valkey://h", False, Address("h", 6379)),
        ("valkeys://h", True, Address("h", 6379)),
        ("redis://[::1]", False, Address("::1", 6379)),
        ("redis://[fe80::1%25eth0]:7000", False, Address("fe80::1%eth0", 7000)),
        ("unix:///run/redis@1.sock", False, Address(socket="/run/redis@1.sock")),
    ],
)
def test_schemes_and_addresses(text: str, tls: bool, address: Address) -> None:
    url = parse_url(text)
    assert (url.tls, url.addresses) == (tls, (address,))
    assert (url.database, url.username, url.password) == (None, None, None)


def test_options() -> None:
    url = parse_url("redis://h?db=4&protocol=3&timeout=250ms")
    assert (url.database, url.protocol, url.timeout) == (4, 3, 0.25)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cache.example.com:6379", "no scheme"),
        ("http://h", "scheme that is not known"),
        ("redis://", "no host"),
        ("redis://:6379", "no host"),
        ("redis://h:0", "port"),
        ("redis://h:65536", "port"),
        ("redis://h:6379x", "port"),
        ("redis://::1", "without brackets"),
        ("redis://[::1", "damaged IPv6"),
        ("redis://[::1]x", "damaged IPv6"),
        ("redis://[evil]", "damaged IPv6"),
        ("redis://h h", "host name"),
        ("redis://h\x1b[2J", "host name|IPv6"),
        ("redis://h1,h2", "host name"),
        ("redis://h/zero", "database number"),
        ("redis://h/0/1", "database number"),
        ("redis://h/-1", "database number"),
        ("redis://h/1?db=1", "twice"),
        ("redis://h?db=1&db=2", "twice"),
        ("redis://h?ssl_cert_reqs=none", "option that is not known"),
        ("redis://h?protocol=4", "protocol"),
        ("redis://h?timeout=soon", "timeout"),
        ("redis://h?timeout=0", "timeout"),
        ("redis://h/0#x", "#"),
        ("redis://a%2@h", "%"),
        ("redis://a%ff@h", "UTF-8"),
        ("redis://a%00@h", "NUL"),
        ("redis://u:p@q@h", "more than one @"),
        ("redis://u:p:q@h", "more than one :"),
        ("redis://:p/q@h", "@"),
        ("unix://", "no socket"),
        ("unix://h/run/x.sock", "no socket"),
        ("redis+sentinel://h1", "no master"),
        ("redis+sentinel://h1,/m", "no host"),
    ],
)
def test_refusals(text: str, says: str) -> None:
    with pytest.raises(UrlError, match=says):
        parse_url(text)


def test_no_repr_shows_the_password() -> None:
    url = parse_url(f"redis://u:{SECRET}@h")
    assert url.password == SECRET
    assert SECRET not in f"{url!r} {url}"
