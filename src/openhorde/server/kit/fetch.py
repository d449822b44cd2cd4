# SPDX-License-Identifier: AGPL-3.0-or-later
"""Calling what a stranger's URL names, without lending him our place in the network."""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from ipaddress import ip_address
from typing import Any, Literal

import httpcore
import httpx

from openhorde.server.kit.addresses import Address, Network, is_public, is_within

FetchReason = Literal[
    "invalid_url", "forbidden_address", "too_large", "timeout", "unreachable", "http_status"
]
# From a host name and a port to all its addresses, as text. OSError when there are none.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_REDIRECTS_MAX = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ATTEMPTS_MAX = 3
_URL_CHARACTERS_MAX = 4096
# A name (in ASCII dress), an IPv4 address, or an IPv6 address.
_HOST = re.compile(rb"[0-9a-z._-]+|[0-9a-f:.]+", re.IGNORECASE)
_NAME_CHARACTERS_MAX = 253
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORTS = {"http": 80, "https": 443}
# Below this live mail, shells and their like, which a crafted URL could be made to talk to.
_FREE_PORT_MIN = 1024


class FetchRefused(Exception):
    """Nothing was fetched or posted: `reason` is one of the words of FetchReason, `detail` says
    more."""

    def __init__(self, reason: FetchReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: FetchReason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Posted:
    """What a host answered to a POST: its status, and its Retry-After as it was sent."""

    status: int
    retry_after: str | None


class SystemResolver:
    """All addresses of a name, as the system's resolver orders them.

    It asks in threads of its own, a few at once for the names of one domain (their last two
    labels): a domain whose servers never answer holds up its own names only. A question goes on in
    its thread when its caller has lost patience, as nothing ends it.
    """

    def __init__(
        self,
        threads: int = 64,
        threads_per_domain: int = 4,
        ask: Callable[..., Sequence[Any]] = socket.getaddrinfo,
    ) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="resolver")
        self._threads_per_domain = threads_per_domain
        self._ask = ask
        self._domains: dict[str, _Domain] = {}

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        name = ".".join(host.lower().rstrip(".").split(".")[-2:])
        domain = self._domains.setdefault(name, _Domain(self._threads_per_domain))
        domain.questions += 1
        try:
            await domain.places.acquire()
        except BaseException:
            self._forget(name)
            raise
        ask = partial(self._ask, host, port, type=socket.SOCK_STREAM)
        asking = self._threads.submit(ask)
        loop = asyncio.get_running_loop()

        def answered(_: object) -> None:
            # Not where the server has ended meanwhile.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._leave, name)

        asking.add_done_callback(answered)
        answers = await asyncio.wrap_future(asking)
        return [str(answer[4][0]) for answer in answers]

    def _leave(self, name: str) -> None:
        self._domains[name].places.release()
        self._forget(name)

    def _forget(self, name: str) -> None:
        domain = self._domains[name]
        domain.questions -= 1
        if not domain.questions:
            del self._domains[name]


class _Domain:
    """The names of one domain: how many questions there are, and the places to ask them."""

    __slots__ = ("places", "questions")

    def __init__(self, places: int) -> None:
        self.places = asyncio.Semaphore(places)
        self.questions = 0


class Fetcher:
    """Calls http and https URLs of hosts on the public internet, and in allowed networks.

    A name is resolved once; unless every address in the answer is allowed nothing is connected,
    and the connection goes to an address of that answer. Redirects (at most 3) pass the same
    checks. Proxies of the environment are not used.

    `timeout_seconds` bounds the whole of a call, redirects included, and `bytes_max` the body that
    is fetched.
    """

    def __init__(
        self,
        allowed_networks: Sequence[Network] = (),
        *,
        timeout_seconds: float = 2.0,
        bytes_max: int = 5000 * 1024,
        user_agent: str = "openhorde",
        resolve: Resolve | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._allowed_networks = tuple(allowed_networks)
        self._timeout_seconds = timeout_seconds
        self._bytes_max = bytes_max
        self._user_agent = user_agent
        self._backend = _GuardedBackend(
            self._allowed_networks, resolve or SystemResolver(), timeout_seconds
        )
        self._ssl_context = ssl_context or _trusting_authorities()

    async def get(self, url: str) -> bytes:
        """The body behind a URL, as sent. Raises FetchRefused."""
        async with self._connections() as connections:
            return await self._follow(connections, _checked(url))

    def check_post(self, url: str) -> None:
        """Raise FetchRefused for a URL that `post` could never call, as far as the URL itself says
        so: no name is looked up."""
        # In ASCII dress: not every name in it has another that httpx could show.
        host = _https(url).raw_host.decode("ascii")
        try:
            address: Address | None = ip_address(host)
        except ValueError:
            address = None
            _check_name(host.lower().removesuffix("."), self._allowed_networks)
        if address is not None:
            _check_address(address, host, self._allowed_networks)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Posted:
        """Post to an https URL, and to no other that its host may name instead: a redirect is an
        answer like any other. The body of the answer is not read. Raises FetchRefused."""
        async with self._connections() as connections:
            checked = _https(url)
            sent = self._headers(checked, {**headers, "Content-Length": str(len(body))})
            target = _target(checked)
            async with connections.stream("POST", target, headers=sent, content=body) as response:
                facts = {name.lower(): value for name, value in response.headers}
                retry_after = facts.get(b"retry-after", b"").decode("latin-1")
                return Posted(response.status, retry_after or None)

    @asynccontextmanager
    async def _connections(self) -> AsyncIterator[httpcore.AsyncConnectionPool]:
        """Connections for one call, whose failures are told as FetchRefused."""
        connections = httpcore.AsyncConnectionPool(
            ssl_context=self._ssl_context,
            max_keepalive_connections=0,
            network_backend=self._backend,
        )
        try:
            async with asyncio.timeout(self._timeout_seconds), connections:
                yield connections
        except (TimeoutError, httpcore.TimeoutException) as error:
            raise FetchRefused("timeout", f"took over {self._timeout_seconds} s") from error
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.UnsupportedProtocol,
            OSError,
        ) as error:
            raise FetchRefused("unreachable", str(error) or type(error).__name__) from error

    def _headers(self, url: httpx.URL, more: Mapping[str, str]) -> list[tuple[str, str]]:
        # The host is named here because httpcore leaves the port out where it should not.
        host = url.netloc.decode("ascii")
        return [("Host", host), ("User-Agent", self._user_agent), *more.items()]

    async def _follow(self, connections: httpcore.AsyncConnectionPool, url: httpx.URL) -> bytes:
        for _ in range(1 + _REDIRECTS_MAX):
            answer = await self._ask(connections, url)
            if isinstance(answer, bytes):
                return answer
            url = answer
        raise FetchRefused("http_status", f"more than {_REDIRECTS_MAX} redirects")

    async def _ask(
        self, connections: httpcore.AsyncConnectionPool, url: httpx.URL
    ) -> bytes | httpx.URL:
        """The body, or where it is said to be."""
        headers = self._headers(url, {"Accept": "*/*", "Accept-Encoding": "identity"})
        async with connections.stream("GET", _target(url), headers=headers) as response:
            facts = {name.lower(): value for name, value in response.headers}
            if response.status in _REDIRECTS and b"location" in facts:
                return _joined(url, facts[b"location"])
            if response.status != 200:
                raise FetchRefused("http_status", f"the server answered {response.status}")
            if facts.get(b"content-encoding", b"identity").strip().lower() != b"identity":
                # Unpacking has no bound that is known before it is crossed.
                raise FetchRefused("unreachable", "the server packs what was asked for unpacked")
            self._check_size(_declared_length(facts))
            body = bytearray()
            async for chunk in response.aiter_stream():
                self._check_size(len(body) + len(chunk))
                body += chunk
        return bytes(body)

    def _check_size(self, length: int) -> None:
        if length > self._bytes_max:
            raise FetchRefused("too_large", f"over {self._bytes_max} bytes")


@cache
def _trusting_authorities() -> ssl.SSLContext:
    """Trusts the usual authorities; reading their certificates takes a while."""
    return httpx.create_ssl_context()


class _GuardedBackend(httpcore.AsyncNetworkBackend):
    """Resolves, checks and connects in one: there is no second look-up that could differ."""

    def __init__(
        self, allowed_networks: tuple[Network, ...], resolve: Resolve, timeout_seconds: float
    ) -> None:
        self._allowed_networks = allowed_networks
        self._resolve = resolve
        self._timeout_seconds = timeout_seconds
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = (await self._addresses(host, port))[:_ATTEMPTS_MAX]
        for address in addresses:
            try:
                return await self._inner.connect_tcp(
                    str(address), port, self._timeout_seconds / len(addresses)
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        raise httpcore.ConnectError(f"no connection to {host}, port {port}")

    async def _addresses(self, host: str, port: int) -> list[Address]:
        try:
            addresses = [ip_address(host)]
        except ValueError:
            try:
                answers = await self._resolve(host, port)
            # UnicodeError: a label that is empty or too long.
            except (OSError, UnicodeError) as error:
                raise FetchRefused("unreachable", f"no address for {host}") from error
            addresses = [ip_address(answer) for answer in dict.fromkeys(answers)]
        for address in addresses:
            _check_address(address, host, self._allowed_networks)
        return addresses


def _check_address(address: Address, host: str, allowed_networks: tuple[Network, ...]) -> None:
    if not is_public(address) and not is_within(address, allowed_networks):
        raise FetchRefused("forbidden_address", f"{host} is {address}, which is not public")


def _check_name(name: str, allowed_networks: tuple[Network, ...]) -> None:
    """Refuse what no resolver answers: a name that is none, or that can only be an address."""
    labels = name.split(".")
    if len(name) > _NAME_CHARACTERS_MAX or not all(1 <= len(label) <= 63 for label in labels):
        raise FetchRefused("invalid_url", "no host name or address")
    if _NUMBER.fullmatch(labels[-1]):
        raise FetchRefused("invalid_url", "no host name, nor an address in its usual spelling")
    if labels[-1] == "localhost":
        _check_address(ip_address("127.0.0.1"), name, allowed_networks)


def _target(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )


def _https(text: str) -> httpx.URL:
    url = _checked(text)
    if url.scheme != "https":
        raise FetchRefused("invalid_url", "not https")
    return url


def _checked(text: str) -> httpx.URL:
    if len(text) > _URL_CHARACTERS_MAX:
        raise FetchRefused("invalid_url", f"over {_URL_CHARACTERS_MAX} characters")
    try:
        return _checked_parts(httpx.URL(text))
    except httpx.InvalidURL as error:
        raise FetchRefused("invalid_url", str(error)) from error


def _checked_parts(url: httpx.URL) -> httpx.URL:
    if url.scheme not in _PORTS:
        raise FetchRefused("invalid_url", "neither http nor https")
    if not _HOST.fullmatch(url.raw_host):
        raise FetchRefused("invalid_url", "no host name or address")
    if url.userinfo:
        raise FetchRefused("invalid_url", "a URL with a user name or password is not accepted")
    port = url.port if url.port is not None else _PORTS[url.scheme]
    if port not in _PORTS.values() and not _FREE_PORT_MIN <= port <= 65535:
        raise FetchRefused("invalid_url", f"port {port} is not accepted")
    return url


def _joined(url: httpx.URL, location: bytes) -> httpx.URL:
    try:
        return _checked(str(url.join(location.decode("utf-8"))))
    except (httpx.InvalidURL, UnicodeDecodeError) as error:
        raise FetchRefused("invalid_url", "the server redirects to no valid URL") from error


def _declared_length(headers: dict[bytes, bytes]) -> int:
    declared = headers.get(b"content-length", b"")
    return int(declared) if declared.isdigit() else 0
