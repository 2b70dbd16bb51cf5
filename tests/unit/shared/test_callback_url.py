"""What callback URLs are admitted, and that every parser reads those in the same way."""

import string
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from shared.callback import (
    CallbackPolicy,
    CallbackUrl,
    CallbackUrlError,
    RefusalCode,
    check_callback_url,
)

STRICT = CallbackPolicy()
LOCAL = CallbackPolicy((ip_network("127.0.0.0/8"), ip_network("::1/128")))

FORBIDDEN = [
    "http://127.0.0.1/", "http://0.0.0.0/", "http://[::]/", "http://[::1]/",
    "http://[::ffff:127.0.0.1]/", "http://[::127.0.0.1]/", "http://[::ffff:0:7f00:1]/",
    "http://[64:ff9b::7f00:1]/", "http://[64:ff9b:1::7f00:1]/", "http://[2002:7f00:1::]/",
    "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", "http://[2606:4700::5efe:7f00:1]/",
    "http://[fe80::1]/", "http://[fec0::1]/", "http://[fc00::1]/", "http://[ff02::1]/",
    "http://[0:0:0:0:0:0:0:1]/", "http://[0000::0001]:8080/x",
    "http://10.1.2.3/", "http://172.16.0.1/", "http://192.168.1.1/", "http://100.64.0.1/",
    "http://198.18.0.1/", "http://240.0.0.1/", "http://255.255.255.255/", "http://192.88.99.1/",
    "http://169.254.169.254/latest/meta-data/", "http://169.254.170.2/v2/credentials",
    "http://100.100.100.200/", "http://168.63.129.16/", "http://192.0.0.192/",
    "http://[fd00:ec2::254]/", "http://[fd20:ce::254]/",
    "http://metadata.google.internal/", "http://METADATA.google.internal/", "http://metadata/",
    "http://metadata.goog/", "http://instance-data/",
    "http://localhost/", "http://LOCALHOST:8080/", "http://a.localhost/", "http://a.b.localhost/",
    "http://localhost.localdomain/", "https://localhost?x",
    "http://x.com:22/", "http://x.com:25/", "http://x.com:6379/", "http://x.com:9092/",
]  # fmt: skip

MALFORMED = [
    # IPv4 in disguise
    "http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/", "http://0/",
    "http://0x7f.1/", "http://127.0.0.01/", "http://0X7F000001/", "http://00/", "http://0x/",
    "http://256.0.0.1/", "http://127.0.0.1.5/", "http://1.2.3/", "http://x.1/", "http://x.0x7f/",
    "http://\uff11\uff12\uff17.0.0.1/", "http://①②⑦.0.0.1/", "http://127。0。0。1/", "http://127.0.0.%31/",
    "http://%31%32%37.0.0.1/", "http://127.0.0.1%00.x.com/", "http://127.0.0.1./",
    "http://[127.0.0.1]/", "http://[::1%25lo]/", "http://[::1%lo]/", "http://[fe80::1%1]/",
    "http://[v1.x]/", "http://[::1/", "http://::1/", "http://::1]/", "http://[]/", "http://[:]/",
    "http://[[::1]]/", "http://[::1]x/", "http://x[::1]/", "http://[2606:4700::1]:/", "http://[::1][::1]/",
    # two parsers, two hosts
    "http://127.0.0.1\\@x.com/", "http://x.com\\@127.0.0.1/", "http://x.com\\.a/",
    "http:\\\\x.com/",
    "http://u@x.com/", "http://u:p@x.com/", "http://:@x.com/", "http://@x.com/",
    "http://a@b@127.0.0.1/", "http://h#@127.0.0.1/", "http://h;@127.0.0.1/", "http://h,x.com/",
    "http://x.com/#fragment", "http://x.com#", "http://x.com:80:80/", "http://x.com:80@127.0.0.1/",
    # whitespace and control characters
    " http://x.com/", "\thttp://x.com/", "http://x.com/ ", "http://x.com/\r\nHost: a", "http://x\t.com/",
    "http://x.com\n/", "ht\ntp://x.com/", "http://x.com/\x00", "http://x\x00.com/", "http://x com/",
    "http://x.com/\x7f", "http://x.com/\x85", "http://x.com/\u2028", "\ufeffhttp://x.com/",
    "http://x%00.com/", "http://x%2ecom/", "http://x.com%2f@a/", "http://x.com/%zz", "http://x.com/%",
    # ports
    "http://x.com:0/", "http://x.com:65536/", "http://x.com:-1/", "http://x.com:+80/",
    "http://x.com:/", "http://x.com:080/", "http://x.com:8_0/", "http://x.com:8\uff10/",
    "http://x.com:80x/", "http://x.com:99999999999999999999/", "http://:80/",
    # schemes and shapes
    "http:/h", "http:h", "http://", "http:///x", "http://?x", "//x.com/", "x.com", "/x", "", "?",
    "file:///etc/passwd", "gopher://x.com/", "ftp://x.com/", "data:text/plain,x", "unix:/x.sock",
    "javascript:alert(1)", "ws://x.com/", "httpx://x.com/", "http+unix://x/", "http ://x.com/",
    # names
    "http://a..b/", "http://.x.com/", "http://x.com./", "http://x.com../", "http://./",
    "http://-x.com/", "http://x-.com/", "http://" + "a" * 64 + ".com/",
    "http://" + "a." * 127 + "com/",
    "http://münchen.de/", "http://\u0430pple.com/", "http://ⓔxample.com/", "http://x.com\u200b/",
    "http://ex\u00adample.com/", "http://x.com/ü", "http://*.com/", "http://$(x).com/",
    "http://x.com/" + "a" * 2048, "http://x.com/{id}", "http://x.com/|", "http://x.com/^",
    'http://x.com/"', "http://x.com/<a>", "http://x.com/`",
]  # fmt: skip

ADMITTED = {
    "https://client.example.com/hooks/report-completed": ("client.example.com", 443),
    "http://x.com": ("x.com", 80),
    "HTTPS://X.com:8443/A?b=c&d[]=%20;@:/?!$'()*+,~": ("x.com", 8443),
    "http://x.com?@127.0.0.1": ("x.com", 80),
    "http://x.com/@127.0.0.1": ("x.com", 80),
    "http://x.com//127.0.0.1/..": ("x.com", 80),
    "http://8.8.8.8:8080/": ("8.8.8.8", 8080),
    "http://[2606:4700:4700::1111]:8443/x": ("2606:4700:4700::1111", 8443),
    "http://[::FFFF:8.8.8.8]/": ("::ffff:8.8.8.8", 80),
    "http://xn--mnchen-3ya.de/": ("xn--mnchen-3ya.de", 80),
    "http://a_b.x-y.com:65535/": ("a_b.x-y.com", 65535),
    "http://redis/": ("redis", 80),
    "http://localhost.x.com/": ("localhost.x.com", 80),
    "http://127.0.0.1.x.com/": ("127.0.0.1.x.com", 80),
    "http://0x7f.com/": ("0x7f.com", 80),
    "http://x.com/" + "a" * 2035: ("x.com", 80),
}


def refusal(text: str, policy: CallbackPolicy = STRICT) -> CallbackUrlError:
    with pytest.raises(CallbackUrlError) as raised:
        check_callback_url(text, policy)
    return raised.value


@pytest.mark.parametrize("text", FORBIDDEN)
def test_forbidden_destination_is_refused(text: str) -> None:
    assert refusal(text).code is RefusalCode.FORBIDDEN


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_or_disguised_url_is_refused(text: str) -> None:
    assert refusal(text).code is RefusalCode.MALFORMED


@pytest.mark.parametrize("text", MALFORMED)
def test_no_allowed_network_admits_a_disguise(text: str) -> None:
    everything = CallbackPolicy((ip_network("0.0.0.0/0"), ip_network("::/0")))
    assert refusal(text, everything).code is RefusalCode.MALFORMED


@pytest.mark.parametrize(("text", "host_and_port"), ADMITTED.items())
def test_plain_url_is_admitted(text: str, host_and_port: tuple[str, int]) -> None:
    url = check_callback_url(text, STRICT)
    assert (url.text, (url.host, url.port)) == (text, host_and_port)


@pytest.mark.parametrize(
    "text",
    ["http://127.0.0.1:9000/", "http://[::1]:9000/", "http://localhost:9/x", "http://a.localhost/"],
)
def test_loopback_is_admitted_where_its_network_is(text: str) -> None:
    if ":9/" in text:
        text = text.replace(":9/", ":9000/")
    assert check_callback_url(text, LOCAL).text == text


@pytest.mark.parametrize("text", ["http://10.0.0.1/", "http://metadata.google.internal/"])
def test_loopback_being_allowed_admits_nothing_else(text: str) -> None:
    assert refusal(text, LOCAL).code is RefusalCode.FORBIDDEN


def test_refusal_tells_the_submitter_what_to_change() -> None:
    assert "four decimal numbers" in str(refusal("http://2130706433/"))
    assert "which is loopback" in str(refusal("http://127.0.0.1/"))
    assert "user name" in str(refusal("http://u:secret@x.com/"))
    assert "secret" not in str(refusal("http://u:secret@x.com/"))


def test_origin_names_the_server_alone() -> None:
    assert check_callback_url("HTTP://X.com/a?b", STRICT).origin == "http://x.com:80"
    literal = check_callback_url("https://[2606:4700::1]/", STRICT)
    assert literal.origin == "https://[2606:4700::1]:443"


NASTY = "0127.:/@\\#?%[]x\t\r\n \x00;a-_é\uff11。ⓔ&"
URLS = st.one_of(
    st.text(alphabet=NASTY + string.ascii_lowercase, max_size=40).map("http://".__add__),
    st.from_regex(r"https?://[a-z0-9.\-_\[\]:%]{1,30}(:[0-9]{1,6})?([/?].{0,20})?", fullmatch=True),
    st.from_regex(r"http://\[[0-9a-f:.]{2,39}\](:[0-9]{1,5})?/", fullmatch=True),
    st.ip_addresses(v=4).map(lambda address: f"http://{address}/"),
    st.ip_addresses(v=6).map(lambda address: f"https://[{address}]:8443/x"),
)


def accepted(text: str) -> CallbackUrl | None:
    try:
        return check_callback_url(text, STRICT)
    except CallbackUrlError:
        return None


@given(URLS)
@example("http://x.com?@127.0.0.1")
@example("http://x.com:81/@127.0.0.1:82")
@example("https://[2606:4700::0001]/x")
def test_every_parser_reads_an_admitted_url_in_the_same_way(text: str) -> None:
    url = accepted(text)
    if url is None:
        return
    client, standard, other = URL(text, encoded=True), urlsplit(text), httpx.URL(text)
    assert url.scheme == client.scheme == standard.scheme == other.scheme
    hosts = [client.raw_host, standard.hostname, other.host]
    assert [_canonical(host) for host in hosts] == [_canonical(url.host)] * 3
    ports = [standard.port, other.port]
    assert [port or client.port for port in ports] == [url.port] * 2
    assert client.port == url.port
    assert client.user is client.password is standard.username is None


@given(URLS)
def test_literal_is_judged_as_the_address_that_a_client_connects_to(text: str) -> None:
    url = accepted(text)
    if url is not None and url.address is not None:
        assert ip_address(URL(text, encoded=True).raw_host or "") == url.address
        assert STRICT.denial(url.address) is None


def _canonical(host: Any) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        return str(host).lower()
