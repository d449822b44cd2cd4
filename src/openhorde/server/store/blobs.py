# SPDX-License-Identifier: AGPL-3.0-or-later
"""Object storage: a local folder, or a bucket of any S3.

Workers and clients read and write through signed, expiring URLs. Those of a bucket lead straight
to the storage, those of a folder to our own server, which asks `LocalBlobs.verify` first.
"""

import hashlib
import hmac
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import urlencode

import obstore
from obstore.store import LocalStore, S3Store

from openhorde.server.kit.clock import Clock

if TYPE_CHECKING:
    from obstore.store import S3Credential

link_root: ContextVar[str] = ContextVar("link_root", default="")
"""How the caller whose answer is being made reaches this server; empty where nobody calls."""

BlobReason = Literal["invalid_key", "invalid_signature", "expired", "too_large"]

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_KEY_CHARACTERS_MAX = 500
_LIST_CHUNK = 1000


class BlobRefused(Exception):
    """A blob may not be read or written so: `reason` is one of the words of BlobReason."""

    def __init__(self, reason: BlobReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: BlobReason = reason
        self.detail = detail


class BlobGrant(NamedTuple):
    """What a signed URL allows. `bytes_max` bounds an upload; 0 for a download."""

    method: str
    key: str
    bytes_max: int


class BlobHead(NamedTuple):
    """How large a blob is, in bytes, and how it begins."""

    size_bytes: int
    first: bytes


class Blobs(ABC):
    """Blobs by key: segments of letters, digits, `.`, `_` and `-`, divided by `/`.

    Every method raises BlobRefused("invalid_key") for another key, and obstore's errors when the
    storage fails.
    """

    def __init__(self, store: Any) -> None:
        self._store = store

    @abstractmethod
    async def upload_url(self, key: str, *, lifetime_seconds: int, bytes_max: int) -> str:
        """A URL to PUT one blob to, without further headers, again and again until it expires.

        What has been paid for must not lie under such a key: see `copy`."""

    @abstractmethod
    async def download_url(self, key: str, *, lifetime_seconds: int) -> str:
        """A URL to GET the blob from, whether it is there yet or not."""

    @abstractmethod
    async def drop(self, keys: Sequence[str]) -> None:
        """Remove blobs; those that are not there count as removed."""

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        """Write a blob, whole or not at all, over one that may be there."""
        await obstore.put_async(
            self._store, _checked(key), data, attributes=self._attributes(content_type)
        )

    async def get(self, key: str, *, bytes_max: int | None = None) -> bytes | None:
        """The blob, None when there is none. BlobRefused("too_large") before too much is read."""
        try:
            found = await obstore.get_async(self._store, _checked(key))
        except FileNotFoundError:
            return None
        size = found.meta["size"]
        if bytes_max is not None and size > bytes_max:
            raise BlobRefused("too_large", f"{key} has {size} bytes, at most {bytes_max}")
        return bytes(await found.bytes_async())

    async def peek(self, key: str, count: int) -> BlobHead | None:
        """The size of a blob and its first `count` bytes, None when there is none."""
        key = _checked(key)
        try:
            size_bytes = (await obstore.head_async(self._store, key))["size"]
            if not size_bytes:
                return BlobHead(0, b"")
            first = await obstore.get_range_async(
                self._store, key, start=0, end=min(count, size_bytes)
            )
        except FileNotFoundError:
            return None
        return BlobHead(size_bytes, bytes(first))

    async def copy(self, key: str, to_key: str) -> None:
        """Write a blob under a second key; what is written to the first later leaves the copy as
        it is. FileNotFoundError when there is no such blob."""
        await obstore.copy_async(self._store, _checked(key), _checked(to_key))

    async def list_older_than(self, prefix: str, before: datetime) -> AsyncIterator[list[str]]:
        """The keys of blobs last written before an aware moment, in lists of at most 1000.

        `prefix` is whole segments (`source` finds `source/a`, not `sources/a`); empty for all.
        The blobs of a list may be dropped before the next is asked for.
        """
        folder = _checked(prefix) if prefix else None
        async for chunk in obstore.list(self._store, folder, chunk_size=_LIST_CHUNK):
            keys = [facts["path"] for facts in chunk if facts["last_modified"] < before]
            if keys:
                yield keys

    def _attributes(self, content_type: str) -> dict[str, str] | None:
        return {"Content-Type": content_type}


class S3Blobs(Blobs):
    """A bucket. See `s3_blobs`."""

    def __init__(self, store: S3Store, signing_store: S3Store) -> None:
        super().__init__(store)
        self._signing_store = signing_store

    async def upload_url(self, key: str, *, lifetime_seconds: int, bytes_max: int) -> str:
        """As of Blobs. S3 cannot bound what is PUT to a presigned URL: `bytes_max` has no effect
        here, and `get` must be given one for blobs that strangers wrote.
        """
        return await self._sign("PUT", key, lifetime_seconds)

    async def download_url(self, key: str, *, lifetime_seconds: int) -> str:
        """As of Blobs."""
        return await self._sign("GET", key, lifetime_seconds)

    async def drop(self, keys: Sequence[str]) -> None:
        """As of Blobs."""
        if keys:
            await obstore.delete_async(self._store, [_checked(key) for key in keys])

    async def _sign(self, method: Literal["GET", "PUT"], key: str, lifetime_seconds: int) -> str:
        lifetime = timedelta(seconds=lifetime_seconds)
        return await obstore.sign_async(self._signing_store, method, _checked(key), lifetime)


class LocalBlobs(Blobs):
    """A folder, served by our own server. See `local_blobs`."""

    def __init__(
        self, store: LocalStore, public_url: str, own_url: str, secret: bytes, clock: Clock
    ) -> None:
        super().__init__(store)
        self._public_url = public_url.rstrip("/")
        self._own_url = own_url.rstrip("/")
        self._secret = secret
        self._clock = clock

    async def upload_url(self, key: str, *, lifetime_seconds: int, bytes_max: int) -> str:
        """As of Blobs."""
        return self._url("PUT", key, lifetime_seconds, bytes_max)

    async def download_url(self, key: str, *, lifetime_seconds: int) -> str:
        """As of Blobs."""
        return self._url("GET", key, lifetime_seconds, 0)

    async def drop(self, keys: Sequence[str]) -> None:
        """As of Blobs."""
        for key in [_checked(key) for key in keys]:
            try:
                await obstore.delete_async(self._store, key)
            except FileNotFoundError:
                continue

    def verify(self, method: str, key: str, query: Mapping[str, str], now: datetime) -> BlobGrant:
        """What a request to `/blobs/KEY?QUERY` may do. HEAD passes where GET does.

        Raises BlobRefused: invalid_key, invalid_signature (anything was changed or is missing),
        expired.
        """
        _checked(key)
        method = "GET" if method == "HEAD" else method
        expires, bytes_max = query.get("expires", ""), query.get("bytes_max", "")
        expected = self._signature(method, key, expires, bytes_max)
        given = query.get("signature", "")
        if query.get("method") != method or not hmac.compare_digest(
            expected.encode(), given.encode(errors="replace")
        ):
            raise BlobRefused("invalid_signature", "not a URL that we gave")
        if now.timestamp() >= int(expires):
            raise BlobRefused("expired", "the URL has expired")
        return BlobGrant(method, key, int(bytes_max))

    async def receive(self, grant: BlobGrant, stream: AsyncIterable[bytes]) -> None:
        """Store an upload, whole or not at all; it is held in memory on its way.

        Raises BlobRefused: too_large when the stream goes beyond the grant's `bytes_max` (reading
        stops there), invalid_signature for the grant of a download.
        """
        if grant.method != "PUT":
            raise BlobRefused("invalid_signature", "a URL for downloading")
        body = bytearray()
        async for chunk in stream:
            if len(body) + len(chunk) > grant.bytes_max:
                raise BlobRefused("too_large", f"at most {grant.bytes_max} bytes")
            body += chunk
        await obstore.put_async(self._store, grant.key, bytes(body))

    def _url(self, method: str, key: str, lifetime_seconds: int, bytes_max: int) -> str:
        expires = str(int(self._clock.now().timestamp()) + lifetime_seconds)
        signature = self._signature(method, _checked(key), expires, str(bytes_max))
        query = {"method": method, "expires": expires, "bytes_max": bytes_max}
        root = self._public_url or link_root.get() or self._own_url
        return f"{root}/blobs/{key}?{urlencode(query)}&signature={signature}"

    def _signature(self, method: str, key: str, expires: str, bytes_max: str) -> str:
        # No part can hold a line break: a key by its rule, the rest in what we ever signed.
        words = "\n".join((method, key, expires, bytes_max))
        return hmac.new(self._secret, words.encode(errors="replace"), hashlib.sha256).hexdigest()

    def _attributes(self, content_type: str) -> None:
        # A file has no place for them: the key's ending says what it is.
        return None


def local_blobs(
    folder: Path, public_url: str, secret: bytes, clock: Clock, *, own_url: str = ""
) -> LocalBlobs:
    """Blobs in a folder (made at need), under `public_url`/blobs/.

    Without a `public_url` links lead to where each caller came from (`link_root`), and to
    `own_url` where nobody called.
    `secret` signs the URLs: at least 16 bytes, the same for all servers that share the folder.
    """
    if len(secret) < 16:
        raise ValueError("the secret that signs blob URLs needs at least 16 bytes")
    return LocalBlobs(LocalStore(folder, mkdir=True), public_url, own_url, secret, clock)


def s3_blobs(
    bucket: str,
    *,
    endpoint: str,
    region: str,
    access_key: str,
    secret_key: str,
    public_endpoint: str | None = None,
    allow_http: bool = False,
    virtual_hosts: bool = False,
    bulk_delete: bool = True,
) -> S3Blobs:
    """Blobs in a bucket that exists, on any server that speaks S3.

    `endpoint` is where this server reaches it, `public_endpoint` where the holders of signed URLs
    do, if elsewhere. With `virtual_hosts` the bucket is part of the host name (and must be in both
    endpoints), else of the path. `bulk_delete` is off for the few providers that cannot (Alibaba).
    """

    def credentials() -> "S3Credential":
        return {
            "access_key_id": access_key,
            "secret_access_key": secret_key,
            "token": None,
            "expires_at": None,
        }

    def open_store(address: str) -> S3Store:
        return S3Store(
            bucket,
            endpoint=address,
            region=region,
            virtual_hosted_style_request=virtual_hosts,
            disable_bulk_delete=not bulk_delete,
            client_options={"allow_http": allow_http, "timeout": timedelta(seconds=60)},
            # Given this way, a session token in the environment does not get mixed in.
            credential_provider=credentials,
        )

    store = open_store(endpoint)
    return S3Blobs(store, open_store(public_endpoint) if public_endpoint else store)


def _checked(key: str) -> str:
    if len(key) > _KEY_CHARACTERS_MAX or not _KEY.fullmatch(key):
        raise BlobRefused("invalid_key", "a key is made of letters, digits, '.', '_', '-' and '/'")
    return key
