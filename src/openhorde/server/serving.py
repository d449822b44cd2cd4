# SPDX-License-Identifier: AGPL-3.0-or-later
"""Serves a horde over HTTP, in one process or in several that share one address."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_address
from typing import Any, cast

import structlog
import uvicorn
from uvicorn.loops.auto import auto_loop_factory

from openhorde.server.actions.horde import Horde
from openhorde.server.api.addresses import is_trusted, normal_address
from openhorde.server.api.app import Application, create_app
from openhorde.server.api.patience import PatientProtocol
from openhorde.server.boot import open_counts, open_database, open_means, prepare_database
from openhorde.server.kit.logs import configure_logs
from openhorde.server.kit.open_files import connections_fitting, raise_open_files
from openhorde.server.kit.places import Places
from openhorde.server.kit.seat import Seat
from openhorde.server.kit.shared_counts import share_memory
from openhorde.server.kit.team import Team
from openhorde.server.settings import ServerSettings, SettingError, as_environment
from openhorde.server.store.signals import Edited
from openhorde.server.tasks import DUTIES
from openhorde.server.tasks.rounds import keep

KEEP_ALIVE_SECONDS = 75
DRAIN_SECONDS = 20

log = structlog.get_logger("openhorde.server")


@dataclass(frozen=True, slots=True)
class Place:
    """What one of several processes is told by their parent: its number (from 1), the file
    descriptors of its channel and of the counts that all share, and the horde's own URL."""

    number: int
    channel: int
    counts: int
    public_url: str

    def words(self) -> tuple[str, ...]:
        """As arguments of a command."""
        return str(self.number), str(self.channel), str(self.counts), self.public_url


ChildCommand = Callable[[Place], Sequence[str]]
"""The command that runs `serve_place`."""


def run(
    settings: ServerSettings, child_command: ChildCommand, environment: Mapping[str, str]
) -> None:
    """Serve a horde until SIGTERM or SIGINT; calls in progress are finished.

    With several processes the settings reach them through the environment, which is this one
    otherwise.
    """
    configure_logs(json=settings.log_json)
    raise_open_files()
    if settings.processes == 1:
        _run(_serve_alone(settings))
    else:
        _run(_lead_team(settings, child_command, environment))


def run_place(settings: ServerSettings, place: Place) -> None:
    """Be one of several processes, until told to stop or the parent is gone."""
    configure_logs(json=settings.log_json, process=place.number)
    _run(_serve_place(settings, place))


def _run(serving: Awaitable[None]) -> None:
    """Run in an event loop of its own, the fastest there is here (uvloop)."""

    async def run() -> None:
        await serving

    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        runner.run(run())


@contextmanager
def listening(settings: ServerSettings) -> Iterator[tuple[socket.socket, ServerSettings, str]]:
    """The socket that listens, the settings with its true port, and the horde's URL.

    Without a host, and with `::`, it takes callers of both families.
    """
    family, host = _family(settings.host)
    with socket.create_server(
        (host, settings.port),
        family=family,
        backlog=2048,
        dualstack_ipv6=host == "::" and socket.has_dualstack_ipv6(),
    ) as listener:
        # Head and body of an answer are sent apart; without this the body would wait for an echo.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        port = listener.getsockname()[1]
        yield (
            listener,
            replace(settings, port=port),
            settings.public_url or f"http://{_callable(host)}:{port}",
        )


def _family(host: str) -> tuple[socket.AddressFamily, str]:
    """How to listen on a host: a name, an address of either family, or "" for all there are."""
    name = host.strip().removeprefix("[").removesuffix("]")
    if not name:
        both = socket.has_dualstack_ipv6()
        return (socket.AF_INET6, "::") if both else (socket.AF_INET, "")
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # UnicodeError: a label that is empty or too long.
    except (OSError, UnicodeError) as error:
        raise SettingError(
            f"host must be an address or a name of this machine, not {host!r} ({error})"
        ) from error
    # A name may have addresses of both: callers that know only IPv4 are more.
    family, *_, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, str(address[0])


def _callable(address: str) -> str:
    """An address to listen on as it stands in a URL that works on this machine."""
    if not address or ip_address(address.partition("%")[0]).is_unspecified:
        return "127.0.0.1"
    return f"[{address}]" if ":" in address else address


async def _serve_alone(settings: ServerSettings) -> None:
    with listening(settings) as (listener, settings, public_url):
        async with open_database(settings) as dsn:
            await prepare_database(settings, dsn)
            async with (
                open_means(settings, dsn, public_url) as horde,
                open_counts(settings, horde.clock) as counts,
            ):
                server = _WebServer(create_app(horde, counts=counts), settings)
                log.info("serving", url=public_url)
                await _serve(server, horde, dsn, [listener])


async def _lead_team(
    settings: ServerSettings, child_command: ChildCommand, environment: Mapping[str, str]
) -> None:
    with listening(settings) as (listener, settings, public_url):
        async with open_database(settings) as dsn:
            await prepare_database(settings, dsn)
            counts = share_memory()
            team = Team(
                listener,
                settings.processes,
                lambda number, channel: child_command(Place(number, channel, counts, public_url)),
                {**environment, **as_environment(replace(settings, database_url=dsn))},
                inherited=(counts,),
                on_ready=lambda: log.info("serving", url=public_url, processes=settings.processes),
            )
            asked = asyncio.Event()
            _on_signals(asked.set)
            await team.run(until=asked)


async def _serve_place(settings: ServerSettings, place: Place) -> None:
    dsn = settings.database_url
    async with (
        open_means(settings, dsn, place.public_url) as horde,
        open_counts(settings, horde.clock, memory=place.counts) as counts,
    ):
        app = create_app(horde, counts=counts, process=place.number)
        server = _SeatedWebServer(app, settings, place.channel)
        await _serve(server, horde, dsn, [], first_process=place.number == 1)


async def _serve(
    server: "_WebServer",
    horde: Horde,
    dsn: str,
    sockets: list[socket.socket],
    *,
    first_process: bool = True,
) -> None:
    """Answer calls and keep the duties until asked to stop."""
    horde.signals.listen(Edited, lambda _: server.app.forget_answers())
    duties = asyncio.create_task(keep(horde, dsn, DUTIES, first_process=first_process))
    _on_signals(server.stop)
    try:
        await server.serve(sockets=sockets)
    finally:
        duties.cancel()
        with suppress(asyncio.CancelledError):
            await duties


def _on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


class _WebServer(uvicorn.Server):
    """uvicorn's server, stopped by whoever runs it instead of by signal handlers of its own."""

    def __init__(self, app: Application, settings: ServerSettings) -> None:
        self.app = app
        places = Places(
            connections_fitting(raise_open_files()),
            is_many=lambda peer: is_trusted(normal_address(peer), settings.trusted_proxies),
        )
        super().__init__(
            uvicorn.Config(
                app,
                # uvicorn calls it, whatever it is.
                http=cast(Any, partial(PatientProtocol, places=places)),
                access_log=False,
                log_config=None,
                lifespan="off",
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )

    def stop(self) -> None:
        """Finish what has begun, and end."""
        self.should_exit = True
        self.app.let_go()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


class _SeatedWebServer(_WebServer):
    """One that is handed its connections by the parent."""

    def __init__(self, app: Application, settings: ServerSettings, channel: int) -> None:
        super().__init__(app, settings)
        self._seat = Seat(channel, on_parent_gone=self.stop)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin."""
        await super().startup(sockets)
        self._seat.sit(self._protocol, lambda: len(self.server_state.connections))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, and finish those that are there."""
        self._seat.leave()
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
