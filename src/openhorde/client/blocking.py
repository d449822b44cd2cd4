# SPDX-License-Identifier: AGPL-3.0-or-later
"""The blocking twin of the async client, for scripts and notebooks."""

import asyncio
import functools
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

from openhorde.client.asking import Progress
from openhorde.client.asynchronous import ANONYMOUS_KEY, CLIENT_AGENT, DEFAULT_URL, AsyncHorde
from openhorde.client.forms import AskedForms, FormResult, FormSettings
from openhorde.client.looks import Look
from openhorde.client.sources import ImageSource

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def blocking(
    method: Callable[Concatenate[AsyncHorde, Arguments], Coroutine[Any, Any, Result]],
) -> Callable[Concatenate["Horde", Arguments], Result]:
    """The same method, run to its end. Signature and docstring are the async one's."""

    @functools.wraps(method)
    def call(self: "Horde", /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return self._loop.run(method(self._horde, *args, **kwargs))

    return call


class Horde:
    """A client of one horde. Use it with `with`, or call `close` at the end.

    The async client does the work, on a loop in a thread of its own: so this one also works where
    a loop runs already, as in a notebook.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        api_key: str = ANONYMOUS_KEY,
        client_agent: str = CLIENT_AGENT,
        *,
        outage_seconds: float = 60.0,
    ) -> None:
        self._horde = AsyncHorde(url, api_key, client_agent, outage_seconds=outage_seconds)
        self._loop = PrivateLoop()
        # A forgotten client must not keep its thread and sockets for ever.
        self._finish = weakref.finalize(self, _finish, self._horde, self._loop)

    @property
    def url(self) -> str:
        """The horde's address, without the API's path."""
        return self._horde.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections and the thread."""
        self._finish()

    def watch(self, request_id: str) -> Iterator[Look]:
        """Each new look at a request until it is done or faulted, which is the last one."""
        return self._each(self._horde.watch(request_id))

    def watch_text(self, request_id: str) -> Iterator[Look]:
        """Each new look at a request for texts until it is done or faulted."""
        return self._each(self._horde.watch_text(request_id))

    def watch_forms(self, request_id: str) -> Iterator[Look]:
        """Each new look at a request for forms until all are over."""
        return self._each(self._horde.watch_forms(request_id))

    def forms(
        self,
        picture: ImageSource,
        forms: AskedForms,
        *,
        progress: Progress | None = None,
        **settings: Unpack[FormSettings],
    ) -> list[FormResult]:
        """The results of all forms, by name or with its payload, once the last is over."""
        results = self._horde.forms(picture, forms, progress=progress, **settings)
        return self._loop.run(_all(results))

    def form_results(
        self, request_id: str, *, progress: Progress | None = None
    ) -> list[FormResult]:
        """The results of all forms of a request that was handed in, once the last is over."""
        return self._loop.run(_all(self._horde.form_results(request_id, progress=progress)))

    def _each(self, looks: AsyncGenerator[Look, None]) -> Iterator[Look]:
        try:
            while (look := self._loop.run(_next(looks))) is not None:
                yield look
        finally:
            self._loop.run(looks.aclose())

    image = blocking(AsyncHorde.image)
    generate_image = blocking(AsyncHorde.generate_image)
    price = blocking(AsyncHorde.price)
    check = blocking(AsyncHorde.check)
    status = blocking(AsyncHorde.status)
    cancel = blocking(AsyncHorde.cancel)
    pictures = blocking(AsyncHorde.pictures)
    text = blocking(AsyncHorde.text)
    generate_text = blocking(AsyncHorde.generate_text)
    price_text = blocking(AsyncHorde.price_text)
    text_status = blocking(AsyncHorde.text_status)
    cancel_text = blocking(AsyncHorde.cancel_text)
    texts = blocking(AsyncHorde.texts)
    caption = blocking(AsyncHorde.caption)
    nsfw = blocking(AsyncHorde.nsfw)
    interrogate = blocking(AsyncHorde.interrogate)
    post_process = blocking(AsyncHorde.post_process)
    queue_forms = blocking(AsyncHorde.queue_forms)
    price_forms = blocking(AsyncHorde.price_forms)
    forms_status = blocking(AsyncHorde.forms_status)
    cancel_forms = blocking(AsyncHorde.cancel_forms)
    find_user = blocking(AsyncHorde.find_user)
    history = blocking(AsyncHorde.history)
    send_kudos = blocking(AsyncHorde.send_kudos)
    heartbeat = blocking(AsyncHorde.heartbeat)
    performance = blocking(AsyncHorde.performance)
    models = blocking(AsyncHorde.models)
    workers = blocking(AsyncHorde.workers)


class PrivateLoop:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._live, name="openhorde-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait for `work`; an interrupt of the waiting thread cancels it and lets it clean up."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            if future.cancel():
                # The loop runs callbacks in order: this returns once the cancelled work is over.
                asyncio.run_coroutine_threadsafe(_settled(), self._loop).result()
            raise

    def close(self) -> None:
        """Let what still runs come to its end, and stop the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _live(self) -> None:
        self._loop.run_forever()
        # Generators that were left unfinished are closed by tasks that nobody awaits.
        self._loop.run_until_complete(_settled())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


async def _next(looks: AsyncIterator[Look]) -> Look | None:
    return await anext(looks, None)


async def _all(results: AsyncGenerator[FormResult, None]) -> list[FormResult]:
    async with aclosing(results):
        return [result async for result in results]


async def _settled() -> None:
    """Wait for everything else that still runs on this loop."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


def _finish(horde: AsyncHorde, loop: PrivateLoop) -> None:
    loop.run(horde.close())
    loop.close()
