# SPDX-License-Identifier: AGPL-3.0-or-later
"""Commands whose options come from a table, so that a setting is described once."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

Command = Callable[..., None]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One generated option. Its value is None when it was not given; in the help, `value_text`
    stands for it if the type does not say enough."""

    name: str
    type: Any
    flags: tuple[str, ...]
    help: str
    panel: str | None = None
    default_text: str | None = None
    value_text: str | None = None
    hidden: bool = False

    def parameter(self) -> inspect.Parameter:
        """The option as typer reads it from a signature."""
        option = typer.Option(
            *self.flags,
            help=self.help,
            metavar=self.value_text,
            rich_help_panel=self.panel,
            show_default=self.default_text or False,
            hidden=self.hidden,
        )
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[self.type | None, option],
        )


def setting(name: str, kind: Any, flags: str, panel: str, text: str, default: str = "") -> Setting:
    """A setting in a line, with its flags between spaces; `default` is what is shown."""
    return Setting(
        name=name,
        type=kind,
        flags=tuple(flags.split()),
        help=text,
        panel=panel,
        default_text=default or None,
    )


def with_settings(settings: Sequence[Setting]) -> Callable[[Command], Command]:
    """Give a command's `**values` one option per setting."""

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command)
        written = [
            parameter
            for parameter in signature.parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        generated = [setting.parameter() for setting in settings]
        # Typer reads the options from here.
        command.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*written, *generated]
        )
        return command

    return decorate
