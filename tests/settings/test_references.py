# SPDX-License-Identifier: AGPL-3.0-or-later
"""The files that describe models."""

from pathlib import Path

import pytest

from openhorde.server.boot import open_horde
from openhorde.server.settings import ServerSettings, SettingError


async def test_sizes_of_text_models_come_from_a_file(horde_database: str, tmp_path: Path) -> None:
    file = tmp_path / "texts.json"
    file.write_text('{"org/Writer-7B": {"parameters": 7000000000, "nsfw": false}, "odd": null}')
    settings = ServerSettings(
        database_url=horde_database, data=tmp_path, text_model_reference=str(file)
    )
    async with open_horde(settings, "http://horde.test") as horde:
        assert horde.reference.texts.billions("org/Writer-7B.Q4_K_M") == 7.0
        assert not horde.reference.texts.is_known("odd")
        # Without a reference of images every image model is known, as before.
        assert horde.reference.is_known("anything")


@pytest.mark.parametrize("setting", ["model_reference", "text_model_reference"])
@pytest.mark.parametrize("content", [None, "{", "[]", '{"a": 7}', "\N{SNOWMAN}"])
async def test_a_file_that_cannot_be_read_names_its_variable(
    horde_database: str, tmp_path: Path, setting: str, content: str | None
) -> None:
    file = tmp_path / "models.json"
    if content is not None:
        file.write_text(content)
    settings = ServerSettings(
        database_url=horde_database,
        data=tmp_path,
        **{setting: str(file)},  # type: ignore[arg-type]
    )
    with pytest.raises(SettingError, match=f"OPENHORDE_{setting.upper()}"):
        async with open_horde(settings, "http://horde.test"):
            pass


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
async def test_files_of_any_editor_are_read(
    horde_database: str, tmp_path: Path, encoding: str
) -> None:
    file = tmp_path / "texts.json"
    file.write_text('{"org/Writer-7B": {"parameters": 7000000000}}', encoding=encoding)
    settings = ServerSettings(
        database_url=horde_database, data=tmp_path, text_model_reference=str(file)
    )
    async with open_horde(settings, "http://horde.test") as horde:
        assert horde.reference.texts.is_known("org/Writer-7B")
