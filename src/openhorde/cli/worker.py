# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde worker`: lend this machine to a horde. The options are the worker's settings."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openhorde.cli.extras import needs
from openhorde.cli.generated import Setting, with_settings
from openhorde.cli.help_pages import App, Group
from openhorde.cli.readiness import EnginesReady
from openhorde.cli.screen import fail, number_text, output, print_json
from openhorde.cli.worker_check import show_check
from openhorde.cli.worker_log import WorkerLog

if TYPE_CHECKING:
    from openhorde.worker.agent.events import Event
    from openhorde.worker.settings import SettingField, WorkerSettings

# Names that all commands share, and the variable that all of them read.
SHARED = {
    "horde_url": ("--url", "OPENHORDE_URL"),
    "api_key": ("--api-key", "OPENHORDE_API_KEY"),
}
RUN = "run"
HELP = """Lend this machine to a horde.

Each setting of the worker is an option of every command here: `horde worker run --help` lists them.
Without a command, `horde worker --nsfw ...` runs the worker."""

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="YAML file with settings; a bridgeData.yaml or bridgeData.py is read too.",
    ),
]


class _RunUnlessSaid(Group):
    """`horde worker --nsfw` is `horde worker run --nsfw`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in where there is none. A misspelt command is not an option's value."""
        if not args or (args[0].startswith("-") and args[0] != "--help"):
            args = [RUN, *args]
        return super().parse_args(ctx, args)


def worker_app() -> App:
    """The commands, each with one option per field of the worker's settings."""
    app = App(cls=_RunUnlessSaid, help=HELP)
    settings = setting_options()
    app.command(RUN)(with_settings(settings)(_run))
    app.command("check")(with_settings(settings)(_check))
    return app


def setting_options() -> list[Setting]:
    """One option per field of the worker's settings, and the names that fields had before."""
    # Light: the settings need nothing that a plain installation lacks.
    from openhorde.worker.labels import GROUPS, group_of
    from openhorde.worker.settings import RENAMED, settings_fields

    titles = [title for title, _ in GROUPS]
    fields = sorted(settings_fields(), key=lambda field: titles.index(group_of(field.name)))
    settings = [_setting(field, group_of(field.name)) for field in fields]
    old = [
        Setting(name=old, type=str, flags=(f"--{old}",), help=f"Now --{new}.", hidden=True)
        for old, new in RENAMED.items()
    ]
    return settings + old


def _setting(field: "SettingField", group: str) -> Setting:
    from openhorde.worker.labels import begun_large

    dashed = field.name.replace("_", "-")
    option = f"--{dashed}/--no-{dashed}" if field.is_flag else f"--{dashed}"
    if field.name in SHARED:
        option = SHARED[field.name][0]
    more = [f"One of: {', '.join(field.choices)}."] if field.choices else []
    if field.minimum is not None and field.maximum is not None:
        more.append(f"{number_text(field.minimum)} to {number_text(field.maximum)}.")
    elif field.is_list:
        more.append("Repeatable.")
    return Setting(
        name=field.name,
        type=bool if field.is_flag else list[str] if field.is_list else str,
        flags=(option, *field.flags[1:]),
        help=" ".join([f"{begun_large(field.help).rstrip('.')}.", *more]),
        panel=group,
        default_text=_default_text(field.default),
        value_text=_value_text(field),
    )


def _value_text(field: "SettingField") -> str | None:
    if field.is_flag:
        return None
    if field.is_path:
        return "PATH"
    return "NUMBER" if field.type in (int, float) else "TEXT"


def _run(config: Config = None, **settings: Any) -> None:
    """Run the worker until Ctrl-C or SIGTERM, which let it finish the work in hand.

    Options take precedence over OPENHORDE_WORKER_* variables, and those over the YAML file.
    """
    with needs("worker"):
        from openhorde.worker.boot import run_worker
        from openhorde.worker.settings import MISCONFIGURED_STATUS
    loaded = _load(config, settings, MISCONFIGURED_STATUS)
    log, ready = WorkerLog(), EnginesReady(loaded.backends, os.environ)

    def hear(event: "Event") -> None:
        log(event)
        ready(event)

    raise typer.Exit(asyncio.run(run_worker(loaded, observe=hear)))


def _check(
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    **settings: Any,
) -> None:
    """Check what would be asked for and what stands in the way; exits with 1 if anything does.

    It asks the horde once for each kind of work. If it is given a job, it does the job.
    """
    loaded = _load(config, settings)
    with needs("worker"):
        import msgspec

        from openhorde.worker.boot import check_worker, quiet_log
    quiet_log()
    check = asyncio.run(check_worker(loaded))
    if as_json:
        print_json(msgspec.to_builtins(check) | {"well": check.well})
    else:
        show_check(check, output())
    raise typer.Exit(0 if check.well else 1)


def _load(
    config: Path | None, settings: Mapping[str, Any], wrong_status: int = 1
) -> "WorkerSettings":
    with needs("worker"):
        from openhorde.worker.settings import SettingsError, load_settings

    # A list that was not given must not hide the one in the YAML file.
    given = {name: value for name, value in settings.items() if value != []}
    try:
        return load_settings(config, worker_environment(os.environ), given)
    except SettingsError as error:
        fail(error, wrong_status)


def worker_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment, where OPENHORDE_URL and OPENHORDE_API_KEY hold for the worker as well."""
    shared = {
        f"OPENHORDE_WORKER_{name.upper()}": environ[variable]
        for name, (_, variable) in SHARED.items()
        if variable in environ
    }
    return {**shared, **environ}


def _default_text(default: Any) -> str | None:
    if isinstance(default, bool):
        return "yes" if default else "no"
    if default in (None, [], ""):
        return None
    if isinstance(default, list):
        return ", ".join(default)
    return number_text(default) if isinstance(default, int | float) else str(default)
