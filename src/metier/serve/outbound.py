"""The only way in which the server calls somebody: an address is looked up once, judged, and that very one is called.

So a name that means a private machine by the time of the connection gains nothing. Redirects are not followed.
"""

import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from metier.core.errors import InputError, RunError

_PUBLIC_6 = ipaddress.ip_network("2000::/3")
_NOT_PUBLIC = tuple(ipaddress.ip_network(each) for each in ("192.0.0.0/24", "2002::/16", "2001::/32"))
"""What the library takes for public: protocol assignments, and networks whose addresses carry an IPv4 address that
somebody else would connect to."""

_OWN = "list {} in serve.webhook_hosts if it is yours"
_PORTS = {"https": 443, "http": 80}

Resolve = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to send: a URL in its parts. `secure`: by HTTPS."""

    host: str
    port: int
    path: str
    secure: bool

    @property
    def place(self) -> str:
        """The host and port, as an allowed list names them."""
        return f"{self.host}:{self.port}"


def target_of(url: str, private: Collection[str] = ()) -> Target:
    """Read a URL.

    Args:
        url: where to send.
        private: hosts, or `host:port`, of the own network that may be called, also without encryption.

    Raises:
        InputError: not https, with a user or a fragment in it, or not a URL.
    """
    wanted = "https://HOST/PATH, without user or fragment"
    if not url.isascii() or any(sign.isspace() or not sign.isprintable() for sign in url) or "\\" in url:
        raise InputError(f"url {url[:80]!r}", wanted)
    try:
        parts: SplitResult = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise InputError(f"url {url[:80]!r}", wanted) from error
    host = (parts.hostname or "").rstrip(".").lower()
    if parts.scheme not in _PORTS or not host or "@" in parts.netloc or parts.fragment or "%" in parts.netloc:
        raise InputError(f"url {url[:80]!r}", wanted)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    target = Target(host=host, port=port, path=path, secure=parts.scheme == "https")
    if not target.secure and not _listed(target, private):
        raise InputError(
            f"url {url[:80]!r}: not encrypted", wanted, "list the host in serve.webhook_hosts if it is yours"
        )
    return target


def _listed(target: Target, private: Collection[str]) -> bool:
    return target.host in private or target.place in private


def is_public(address: str) -> bool:
    """Tell whether an address is one of the open internet, whatever is wrapped in it."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        if found not in _PUBLIC_6:
            return False
    return found.is_global and not found.is_multicast and not any(found in network for network in _NOT_PUBLIC)


def look_up(host: str, port: int) -> list[str]:
    """Return the addresses of a host."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def address_of(target: Target, private: Collection[str] = (), resolve: Resolve = look_up) -> str:
    """Return the address to connect to.

    Raises:
        InputError: one of the host's addresses is private (all must be public: which one is called is chance).
        RunError: the host has no address.
    """
    try:
        found = list(resolve(target.host, target.port))
    except OSError as error:
        raise RunError(f"{target.host}: no address ({error.strerror or error})", "a host that is known") from error
    if not found:
        raise RunError(f"{target.host}: no address", "a host that is known")
    if not _listed(target, private) and not all(is_public(address) for address in found):
        raise InputError(
            f"{target.host}: an address of a private network", "a host of the open internet",
            _OWN.format(target.place),
        )  # fmt: skip
    return found[0]


def post(target: Target, address: str, body: bytes, headers: Mapping[str, str], *, seconds: float) -> int:
    """Send a POST to an address that was judged, and return the status; a redirect is an answer, not a way to go.

    Raises:
        RunError: nobody answers, or not over a connection that can be trusted.
    """
    context = ssl.create_default_context() if target.secure else None
    try:
        with socket.create_connection((address, target.port), timeout=seconds) as plain:
            connection = http.client.HTTPConnection(target.host, target.port, timeout=seconds)
            # handed a socket, it never looks the name up again
            connection.sock = plain if context is None else context.wrap_socket(plain, server_hostname=target.host)
            ending = threading.Timer(seconds, _hang_up, (connection.sock,))  # one that drips holds nobody up
            ending.start()
            try:
                connection.request("POST", target.path, body, dict(headers))
                return connection.getresponse().status
            finally:
                ending.cancel()
                connection.close()
    except (OSError, http.client.HTTPException) as error:
        raise RunError(f"{target.place}: {error or type(error).__name__}", "a server that answers") from error


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
