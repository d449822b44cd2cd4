# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where settings are read from: a file, the environment, flags."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import yaml

from openhorde.incoming.texts import TextRefused, read_text_file
from openhorde.worker.bridge_data import Warn, is_bridge_data, read_bridge_data
from openhorde.worker.bridge_python import CHARACTERS_MAX, read_bridge_python
from openhorde.worker.fields import SettingField, SettingsError, nearest_name

RENAMED = {"backend": "backends"}
"""Settings that had another name before, which is still understood."""


def gathered(
    fields: Sequence[SettingField],
    environment_prefix: str,
    yaml_path: Path | str | None,
    environ: Mapping[str, str],
    flags: Mapping[str, Any],
    warn: Warn,
) -> dict[str, Any]:
    """What is set anywhere, as it stands there: flags win over the environment, that over YAML.

    Raises SettingsError for a file that cannot be read. `warn` hears of each old name in use.
    """
    values: dict[str, Any] = {}
    for source in (
        _from_file(Path(yaml_path), fields, warn) if yaml_path is not None else {},
        _from_environment(environ, environment_prefix),
        {name: value for name, value in flags.items() if value is not None},
    ):
        for old, new in RENAMED.items():
            if old in source:
                warn(f"the setting {old} is now called {new}")
        values |= {RENAMED.get(name, name): value for name, value in source.items()}
    return values


def checked(fields: Sequence[SettingField], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values in the types of their fields. Raises SettingsError, naming all that is wrong."""
    known = {described.name: described for described in fields}
    read, wrong = {}, []
    for name, value in values.items():
        try:
            if name not in known:
                nearest = nearest_name(name, known)
                told = f"unknown setting {name!r}; the nearest known one is {nearest!r}"
                raise SettingsError(told)
            read[name] = known[name].read(value)
        except SettingsError as error:
            wrong.append(str(error))
    if wrong:
        raise SettingsError("; ".join(wrong))
    return read


def base_url(given: str) -> str:
    """`http://host:7001`, `.../api`, `.../api/` and `.../api/v2/` all name the same horde."""
    parts = urlsplit(given.strip())
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise SettingsError(f"horde_url: {given!r} is not an http or https address")
    path = parts.path.rstrip("/")
    for ending in ("/v2", "/api"):
        path = path.removesuffix(ending)
    return urlunsplit((parts.scheme, parts.netloc, path.rstrip("/"), "", ""))


def _from_file(path: Path, fields: Sequence[SettingField], warn: Warn) -> dict[str, Any]:
    try:
        text = read_text_file(path)
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    except TextRefused as error:
        raise SettingsError(str(error)) from error
    if path.suffix.lower() == ".py":
        try:
            values = read_bridge_python(text, warn)
        except SettingsError as error:
            raise SettingsError(f"{path}: {error}") from error
        # There the worker that draws had no other name.
        values = {
            "dreamer_name" if key == "worker_name" else key: one for key, one in values.items()
        }
    else:
        values = _from_yaml(path, text)
    if is_bridge_data(path, values):
        values = read_bridge_data(values, fields, path.parent, warn)
    for described in fields:
        if described.is_path and isinstance(values.get(described.name), str):
            values[described.name] = path.parent / Path(values[described.name]).expanduser()
    return {str(name): value for name, value in values.items() if value is not None}


def _from_yaml(path: Path, text: str) -> dict[str, Any]:
    if len(text) > CHARACTERS_MAX:
        raise SettingsError(
            f"{path} has more than {CHARACTERS_MAX} characters, which no settings need"
        )
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not YAML: {error}") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path} is not YAML that can be read") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingsError(f"{path} must hold `setting: value` lines")
    return values


def _from_environment(environ: Mapping[str, str], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix).lower(): value
        for name, value in environ.items()
        if name.startswith(prefix)
    }
