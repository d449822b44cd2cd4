# SPDX-License-Identifier: AGPL-3.0-or-later
"""Changes of settings go into the owner's YAML file, whose comments and order stay as they are."""

import io
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from openhorde.incoming.texts import TextRefused, read_text_file
from openhorde.worker import bridge_data
from openhorde.worker.settings import (
    RENAMED,
    SettingsError,
    WorkerSettings,
    load_settings,
    settings_fields,
)

NEW_FILE = "# Settings of an openhorde worker; its control panel changes them too.\n"


class Unset:
    """Stands for a setting that goes back to its default."""


UNSET = Unset()


class NotSaved(Exception):
    """The file could not be written, or what would be in it is wrong; the message says why."""


class SettingsFile:
    """The YAML file, together with what wins over it: the environment and the command line."""

    def __init__(
        self, path: Path, environ: Mapping[str, str], flags: Mapping[str, Any] | None = None
    ) -> None:
        """`flags` are values by the settings' names; None counts as not given."""
        self.path = path
        self._environ = environ
        self._flags = {name: value for name, value in (flags or {}).items() if value is not None}

    @property
    def overridden(self) -> dict[str, str]:
        """Settings that the file cannot change now, and what sets them instead."""
        from_environment = {
            field.name: field.environment
            for field in settings_fields()
            if field.environment in self._environ
        }
        return from_environment | dict.fromkeys(self._flags, "the command line")

    def load(self) -> WorkerSettings:
        """What holds now; without a file, what the others say. Raises SettingsError."""
        return load_settings(self.path if self.path.exists() else None, self._environ, self._flags)

    def write(self, changes: Mapping[str, Any]) -> None:
        """Put these settings, by name, into the file; UNSET removes one.

        The file is replaced whole or not at all. Raises NotSaved.
        """
        if self.path.suffix.lower() == ".py":
            raise NotSaved(f"{self.path} is Python, and only YAML is written: use a .yaml file")
        try:
            self._replace(self._changed(changes))
        except OSError as error:
            raise NotSaved(f"cannot write {self.path}: {error.strerror}") from error

    def _changed(self, changes: Mapping[str, Any]) -> str:
        """The file's text with the changes in it."""
        try:
            before = read_text_file(self.path) if self.path.exists() else NEW_FILE
        except TextRefused as error:
            raise NotSaved(str(error)) from error
        yaml = YAML()
        yaml.preserve_quotes = True
        yaml.width = 4096
        # Lists stay as far in as the owner writes them.
        offset = _list_offset(before)
        yaml.indent(mapping=2, sequence=offset + 2, offset=offset)
        try:
            document = yaml.load(before)
        except YAMLError as error:
            raise NotSaved(f"{self.path} is not YAML: {error}") from error
        head = ""
        if document is None:
            # Nothing but comments, which the parser does not keep: they stay on top.
            document, head = {}, before if before.endswith("\n") or not before else f"{before}\n"
        for name, value in changes.items():
            key = _key(name, document)
            for old in [old for old, new in RENAMED.items() if new == name]:
                document.pop(old, None)
            if value is UNSET:
                document.pop(key, None)
            else:
                document[key] = str(value) if isinstance(value, Path) else value
        written = io.StringIO()
        if document:
            yaml.dump(document, written)
        return head + written.getvalue()

    def _replace(self, text: str) -> None:
        """Put the text in the file's place, once it has been read as settings."""
        # What a link points to is replaced, not the link.
        target = self.path.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        # Readable by its owner alone, for it holds the key, unless the old one is.
        descriptor, name = tempfile.mkstemp(
            prefix=f"{target.stem}.", suffix=".new", dir=target.parent
        )
        fresh = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as written:
                written.write(text)
                written.flush()
                os.fsync(written.fileno())
            try:
                load_settings(fresh, self._environ, self._flags)
            except SettingsError as error:
                raise NotSaved(f"{error} (in {self.path})") from error
            if target.exists():
                fresh.chmod(target.stat().st_mode & 0o777)
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)


def _list_offset(text: str) -> int:
    """How many spaces stand before the first entry of a list."""
    found = re.search(r"^( *)- ", text, re.MULTILINE)
    return len(found[1]) if found else 2


def _key(name: str, document: Mapping[str, Any]) -> str:
    """What a setting is called in this file: another worker's file keeps the names it has."""
    theirs = (old for old, new in bridge_data.RENAMED.items() if new == name and old in document)
    return next(theirs, name)
