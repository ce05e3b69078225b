"""No name, spelling or trick makes the server call a private machine."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from metier.core.errors import InputError, MetierError, RunError
from metier.serve import outbound

PRIVATE = (
    "127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "192.0.0.8", "192.0.2.1", "198.18.0.1", "203.0.113.5", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1",
    "ff02::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::", "2001::1",
    "2001:db8::1",
)  # fmt: skip
PUBLIC = ("8.8.8.8", "93.184.215.14", "2606:4700::1111", "::ffff:8.8.8.8")

SPELLINGS = (
    "https://127.0.0.1/", "https://localhost/", "https://LOCALHOST./", "https://127.1/", "https://2130706433/",
    "https://0x7f000001/", "https://0177.0.0.1/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[::]/",
    "https://0/", "https://169.254.169.254/latest/meta-data", "https://127.0.0.1:8443/", "https://[fe80::1]/",
)  # fmt: skip
BROKEN = (
    "http://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://x/", "//example.com/", "example.com",
    "https://", "https:///x", "https://user@example.com/", "https://user:secret@example.com/",
    "https://example.com@127.0.0.1/", "https://example.com/#x", "https://example.com:99999/", "https://exa mple.com/",
    "https://example.com\\@127.0.0.1/", "https://example.com/\r\nHost: x", "https://ex%61mple.com/", "https://ⓔxample.com/",
    "https://127。0。0。1/", "javascript:alert(1)", "", "https://[::1", "https://example.com/\x00",
)  # fmt: skip


def test_private_addresses_are_known_in_every_wrapping() -> None:
    assert [address for address in PRIVATE if outbound.is_public(address)] == []
    assert [address for address in PUBLIC if not outbound.is_public(address)] == []


@pytest.mark.parametrize("url", SPELLINGS)
def test_a_private_machine_is_refused_however_it_is_spelt(url: str) -> None:
    with pytest.raises(MetierError):
        outbound.address_of(outbound.target_of(url))


@pytest.mark.parametrize("url", BROKEN)
def test_what_is_no_plain_url_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="https://HOST/PATH"):
        outbound.target_of(url)


def test_a_host_with_one_private_address_among_public_ones_is_refused() -> None:
    target = outbound.target_of("https://hooks.example/x?y=1")
    assert (target.host, target.port, target.path) == ("hooks.example", 443, "/x?y=1")
    assert outbound.address_of(target, (), lambda host, port: list(PUBLIC)) == PUBLIC[0]
    for address in PRIVATE:
        with pytest.raises(InputError, match="private network"):
            outbound.address_of(target, (), lambda host, port, address=address: [*PUBLIC, address])
    with pytest.raises(RunError, match="no address"):
        outbound.address_of(target, (), lambda host, port: [])
    assert outbound.address_of(target, ("hooks.example:443",), lambda host, port: ["10.0.0.1"]) == "10.0.0.1"
    with pytest.raises(InputError):
        outbound.address_of(target, ("hooks.example:80",), lambda host, port: ["10.0.0.1"])


class Redirecting(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.hosts.append(self.headers["host"])  # pyrefly: ignore
        self.send_response(302)
        self.send_header("location", "http://169.254.169.254/")
        self.end_headers()

    def log_message(self, format: str, *given: object) -> None:
        pass


@contextmanager
def redirecting() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Redirecting)
    server.hosts = []  # pyrefly: ignore
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_address_that_was_judged_is_called_and_a_redirect_is_not_followed() -> None:
    with redirecting() as server:
        port = server.server_address[1]
        private = (f"nowhere.invalid:{port}",)
        target = outbound.target_of(f"http://nowhere.invalid:{port}/x", private)
        asked: list[str] = []

        def once(host: str, port: int) -> list[str]:
            asked.append(host)
            return ["127.0.0.1"]

        address = outbound.address_of(target, private, once)
        # the name means nothing to this machine, so that a second look-up would fail
        assert outbound.post(target, address, b"{}", {}, seconds=5) == 302
        assert asked == ["nowhere.invalid"]
        assert server.hosts == [f"nowhere.invalid:{port}"]  # pyrefly: ignore


def test_one_that_never_answers_holds_nobody_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        target = outbound.Target(host="x", port=port, path="/", secure=False)
        with pytest.raises(RunError, match=f"x:{port}"):
            outbound.post(target, "127.0.0.1", b"{}", {}, seconds=0.2)
        secure = outbound.Target(host="x", port=port, path="/", secure=True)
        with pytest.raises(RunError):
            outbound.post(secure, "127.0.0.1", b"{}", {}, seconds=0.2)
