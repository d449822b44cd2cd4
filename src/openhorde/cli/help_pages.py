# SPDX-License-Identifier: AGPL-3.0-or-later
"""Help that can be read in a terminal of 80 columns: nothing is cut, options stand in groups.

Typer's own tables give each kind of name a column and cut what does not fit. Here an option and its
help share a line where there is room, and take two where there is not.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

CommandFunction = TypeVar("CommandFunction", bound=Callable[..., Any])

OPTIONS, COMMANDS = "Options", "Commands"
BRACES = str.maketrans("", "", "{}")
NAMES_CELLS_MAX = 28
CLOSE_MAX = 2
PARSER_WORDS = (
    (r"Input should be a valid integer.*", "it must be a whole number."),
    (r"Input should be a valid number.*", "it must be a number."),
    (r"Input should be greater than or equal to (\S+)", r"it must be at least \1."),
    (r"Input should be less than or equal to (\S+)", r"it must be at most \1."),
    (r"Value error, ", ""),
)
WORDS = {
    "str": "TEXT",
    "int": "NUMBER",
    "float": "NUMBER",
    "path": "PATH",
    "file": "PATH",
    "dir": "PATH",
}


class _Command(TyperCommand):
    """A command with such help, and with mistakes told in words."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read what was typed."""
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as mistake:
            known = [name for one in self.params for name in (*one.opts, *one.secondary_opts)]
            _in_words(mistake, known)
            raise

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The usage line, with arguments as they are named below it."""
        return [piece.translate(BRACES) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and options."""
        write_parameters(self.get_params(ctx), formatter)


class Group(TyperGroup):
    """A group of commands with such help."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, then the commands."""
        write_parameters(self.get_params(ctx), formatter)
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            if command is None or command.hidden:
                continue
            title = _panel(command) or COMMANDS
            summary = (command.help or "").split("\n\n")[0].replace("\n", " ")
            groups.setdefault(title, []).append((_bold(name), summary))
        _write(groups.items(), formatter)


class App(typer.Typer):
    """A typer application with such help for its commands and for itself."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            **{"cls": Group, "rich_markup_mode": None, "add_completion": False, **options}
        )

    def command(
        self, name: str | None = None, **options: Any
    ) -> Callable[[CommandFunction], CommandFunction]:
        """Add a command."""
        return super().command(name, **{"cls": _Command, **options})


def _in_words(mistake: Any, known: Sequence[str]) -> None:
    """Say what to type instead, in place of what the parser says."""
    typed = getattr(mistake, "option_name", None)
    if typed and getattr(mistake, "possibilities", None) is not None:
        meant = [name for name in known if name == typed[1:] or name.startswith(typed)]
        close = [*meant, *mistake.possibilities][:CLOSE_MAX]
        if close:
            mistake.message += f". Did you mean {' or '.join(dict.fromkeys(close))}?"
        mistake.possibilities = None
    for said, told in PARSER_WORDS:
        mistake.message = re.sub(said, told, mistake.message)


def write_parameters(parameters: Iterable[Any], formatter: Any) -> None:
    """Write arguments and options, each group of them under its title."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for one in parameters:
        if isinstance(one, TyperArgument) and not one.hidden:
            groups.setdefault("Arguments", []).append((_bold(_value(one)), _help(one)))
        elif isinstance(one, TyperOption) and not one.hidden:
            groups.setdefault(_panel(one) or OPTIONS, []).append((_names(one), _help(one)))
    _write(groups.items(), formatter)


def _write(groups: Iterable[tuple[str, list[tuple[str, str]]]], formatter: Any) -> None:
    for title, rows in groups:
        with formatter.section(_bold(title)):
            formatter.write_dl(rows, col_max=NAMES_CELLS_MAX)


def _names(option: TyperOption) -> str:
    names = ", ".join(_bold(name) for name in sorted(option.opts, key=len))
    if option.secondary_opts:
        names += " / " + ", ".join(_bold(name) for name in option.secondary_opts)
    return names if option.is_flag else f"{names} {_value(option)}"


def _value(parameter: Any) -> str:
    """What stands for the value."""
    if parameter.metavar is not None:
        return str(parameter.metavar)
    if isinstance(parameter, TyperArgument):
        return str(parameter.name).upper()
    kind = str(parameter.display_type(None)).strip("<>[]")
    return WORDS.get(kind.removeprefix("list[").rstrip("]"), kind)


def _help(parameter: Any) -> str:
    """The help line, with the default and the variable behind it."""
    parts = [parameter.help or ""]
    default = parameter.show_default if isinstance(parameter.show_default, str) else ""
    if not default and parameter.show_default and not getattr(parameter, "is_flag", False):
        default = "" if parameter.default in (None, []) else str(parameter.default)
    if default:
        parts.append(f"[default: {default}]")
    if parameter.envvar and parameter.show_envvar:
        parts.append(f"[variable: {parameter.envvar}]")
    return " ".join(part for part in parts if part)


def _panel(thing: Any) -> str:
    panel: str | None = thing.rich_help_panel
    return panel if isinstance(panel, str) else ""


def _bold(text: str) -> str:
    return typer.style(text, bold=True)
