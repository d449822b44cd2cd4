# SPDX-License-Identifier: AGPL-3.0-or-later
"""Fetching a file that a stranger names: from listed hosts, within bounds, whole or not at all."""

import asyncio
import hashlib
import json
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path

import httpx

from openhorde.incoming.answers import bounded_client

REDIRECTS_MAX = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})
HEADER_LENGTH_BYTES = 8
HEADER_BYTES_MAX = 100 * 2**20

Network = IPv4Network | IPv6Network
# From a host name and a port to all its addresses. OSError when there are none.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class NotFetched(Exception):
    """Nothing was fetched; the message says why, with the bound that was crossed."""


async def ask_system(host: str, port: int) -> list[str]:
    """All addresses of a host, as the system knows them."""
    loop = asyncio.get_running_loop()
    answers = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


class Fetcher:
    """Fetches from `hosts` alone: a name is that host, `.name` all hosts below it.

    A host is resolved once and must have public addresses only, but for `networks`; the connection
    goes to one of those addresses. Redirects pass the same checks. `seconds_max` bounds each call.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        seconds_max: float,
        *,
        networks: Sequence[Network] = (),
        schemes: Sequence[str] = ("https",),
        resolve: Resolve = ask_system,
    ) -> None:
        self._hosts = [host.lower() for host in hosts]
        self._seconds_max = seconds_max
        self._networks = networks
        self._schemes = schemes
        self._resolve = resolve

    async def get(self, url: str, bytes_max: int) -> bytes:
        """The body behind a URL. Raises NotFetched."""
        async with self._opened(url, bytes_max) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def save(self, url: str, path: Path, bytes_max: int, sha256: str) -> None:
        """Keep the safetensors file behind a URL as `path`, if it has this hash (hexadecimal).

        Raises NotFetched, and then there is no such file, nor a part of it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
        digest = hashlib.sha256()
        try:
            async with self._opened(url, bytes_max) as chunks:
                with part.open("xb") as file:
                    async for chunk in chunks:
                        digest.update(chunk)
                        await asyncio.to_thread(file.write, chunk)
            if digest.hexdigest() != sha256.lower():
                raise NotFetched(f"its SHA256 is {digest.hexdigest()}, not {sha256.lower()}")
            _check_header(part)
            os.replace(part, path)
        except OSError as error:
            raise NotFetched(f"it cannot be kept: {error.strerror}") from error
        finally:
            part.unlink(missing_ok=True)

    @asynccontextmanager
    async def _opened(self, url: str, bytes_max: int) -> AsyncIterator[AsyncIterator[bytes]]:
        try:
            async with (
                asyncio.timeout(self._seconds_max),
                bounded_client(bytes_max, trust_env=False, timeout=self._seconds_max) as client,
                self._followed(client, url) as response,
            ):
                declared = response.headers.get("content-length", "")
                if declared.isdigit() and int(declared) > bytes_max:
                    raise NotFetched(f"it has {declared} bytes; {bytes_max} are allowed")
                yield response.aiter_raw()
        except (TimeoutError, httpx.TimeoutException) as error:
            raise NotFetched(f"it took over {self._seconds_max:.0f} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotFetched(str(error) or type(error).__name__) from error

    @asynccontextmanager
    async def _followed(self, client: httpx.AsyncClient, url: str) -> AsyncIterator[httpx.Response]:
        target = httpx.URL(url)
        for _ in range(1 + REDIRECTS_MAX):
            async with self._asked(client, target) as response:
                if response.status_code in REDIRECTS and "location" in response.headers:
                    target = target.join(response.headers["location"])
                    continue
                if response.status_code != 200:
                    raise NotFetched(f"{_host(target)} answers {response.status_code}")
                yield response
                return
        raise NotFetched(f"more than {REDIRECTS_MAX} redirects")

    @asynccontextmanager
    async def _asked(
        self, client: httpx.AsyncClient, url: httpx.URL
    ) -> AsyncIterator[httpx.Response]:
        """Ask an address that was checked, in the name of its host."""
        address = await self._address(url)
        headers = {"Host": url.netloc.decode("ascii")}
        extensions = {"sni_hostname": _host(url)}
        addressed = url.copy_with(host=address)
        async with client.stream(
            "GET", addressed, headers=headers, extensions=extensions
        ) as response:
            yield response

    async def _address(self, url: httpx.URL) -> str:
        if url.scheme not in self._schemes:
            raise NotFetched(f"{url.scheme or 'no scheme'}: only {', '.join(self._schemes)}")
        if url.userinfo:
            raise NotFetched("a URL with a user name or password is not accepted")
        host = _host(url)
        if not any(_is_host(host, listed) for listed in self._hosts):
            raise NotFetched(f"{host} is not in download_hosts")
        try:
            port = url.port or (443 if url.scheme == "https" else 80)
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise NotFetched(f"there is no address of {host}") from error
        for address in addresses:
            if not self._is_allowed(address):
                raise NotFetched(f"{host} is at {address}, which is not public")
        if not addresses:
            raise NotFetched(f"there is no address of {host}")
        return addresses[0]

    def _is_allowed(self, text: str) -> bool:
        address = ip_address(text.partition("%")[0])
        if any(address in network for network in self._networks):
            return True
        mapped = getattr(address, "ipv4_mapped", None)
        if mapped is not None:
            address = mapped
        return address.is_global and not address.is_multicast


def _host(url: httpx.URL) -> str:
    """The name of a URL's host; in ASCII dress where it has no other."""
    try:
        return url.host
    except UnicodeError:
        return url.raw_host.decode("ascii")


def _is_host(host: str, listed: str) -> bool:
    host = host.lower()
    return host.endswith(listed) if listed.startswith(".") else host == listed


def _check_header(path: Path) -> None:
    """A safetensors file begins with the length of a JSON object, and that object."""
    with suppress(ValueError), path.open("rb") as file:
        length = int.from_bytes(file.read(HEADER_LENGTH_BYTES), "little")
        if length <= HEADER_BYTES_MAX and isinstance(json.loads(file.read(length)), dict):
            return
    raise NotFetched("it is not a safetensors file")
