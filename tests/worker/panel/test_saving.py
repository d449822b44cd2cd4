# SPDX-License-Identifier: AGPL-3.0-or-later
"""Settings go into the owner's file, and what the owner wrote around them stays."""

import stat
from pathlib import Path

import pytest

from openhorde.worker.panel.saving import UNSET, NotSaved, SettingsFile
from openhorde.worker.settings import load_settings

OWNERS = """\
# My worker, on the shelf in the hall.
worker_name: "Bob's machine"  # quoted, for the apostrophe

# Pictures
max_power: 8    # up to 512 x 512
blacklist:
  - spiders   # eek
models_folder: models
"""


@pytest.fixture
def file(tmp_path: Path) -> SettingsFile:
    path = tmp_path / "worker.yaml"
    path.write_text(OWNERS)
    return SettingsFile(path, {})


def test_one_line_changes_and_everything_else_stays(file: SettingsFile) -> None:
    file.write({"max_power": 16})
    assert file.path.read_text() == OWNERS.replace("max_power: 8 ", "max_power: 16")
    assert load_settings(file.path).max_power == 16


def test_new_settings_are_added_and_unset_ones_removed(file: SettingsFile) -> None:
    file.write({"nsfw": False, "models_to_load": ["one model", "another"], "max_power": UNSET})
    settings = load_settings(file.path)
    assert not settings.nsfw
    assert settings.models_to_load == ["one model", "another"]
    assert settings.max_power == load_settings().max_power
    assert "# My worker, on the shelf in the hall." in file.path.read_text()


def test_what_is_wrong_leaves_the_file_as_it_was(file: SettingsFile) -> None:
    with pytest.raises(NotSaved, match=r"max_power: 9999 is not allowed.*from 1 to 512"):
        file.write({"max_power": 9999})
    assert file.path.read_text() == OWNERS
    assert [path.name for path in file.path.parent.iterdir()] == ["worker.yaml"]


def test_a_python_file_is_read_and_never_written(tmp_path: Path) -> None:
    file = SettingsFile(tmp_path / "bridgeData.py", {})
    file.path.write_text("max_power = 16\n")
    assert file.load().max_power == 16
    with pytest.raises(NotSaved, match=r"use a \.yaml file"):
        file.write({"max_power": 8})
    assert file.path.read_text() == "max_power = 16\n"


def test_two_settings_that_do_not_agree_are_refused(file: SettingsFile) -> None:
    with pytest.raises(NotSaved, match="idle_seconds must not be more than idle_seconds_max"):
        file.write({"idle_seconds": 50})
    assert file.path.read_text() == OWNERS


def test_a_file_that_is_not_there_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    file = SettingsFile(tmp_path / "new" / "worker.yaml", {})
    file.write({"api_key": "a secret key"})
    assert load_settings(file.path).api_key == "a secret key"
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_the_mode_of_a_file_that_is_there_stays(file: SettingsFile) -> None:
    file.path.chmod(0o640)
    file.write({"max_power": 2})
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o640


def test_a_file_of_comments_alone_keeps_them(tmp_path: Path) -> None:
    path = tmp_path / "worker.yaml"
    path.write_text("# nothing set yet\n#max_power: 8")
    SettingsFile(path, {}).write({"max_power": 4})
    assert path.read_text() == "# nothing set yet\n#max_power: 8\nmax_power: 4\n"


def test_a_link_stays_and_what_it_points_to_changes(file: SettingsFile, tmp_path: Path) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to(file.path)
    SettingsFile(link, {}).write({"max_power": 3})
    assert link.is_symlink()
    assert load_settings(file.path).max_power == 3


def test_a_setting_under_its_old_name_is_not_set_twice(tmp_path: Path) -> None:
    path = tmp_path / "worker.yaml"
    path.write_text("backend: fake  # old\n")
    SettingsFile(path, {}).write({"backends": ["fake", "diffusers"]})
    assert "backend:" not in path.read_text()
    assert load_settings(path).backends == ["fake", "diffusers"]


def test_the_file_of_another_worker_keeps_its_names(tmp_path: Path) -> None:
    path = tmp_path / "bridgeData.yaml"
    path.write_text("dreamer_name: Bob's old machine\nmax_power: 8\nsomething_of_theirs: 1\n")
    SettingsFile(path, {}).write({"worker_name": "Bob's new machine", "nsfw": False})
    assert "dreamer_name: Bob's new machine\n" in path.read_text()
    assert "worker_name" not in path.read_text()
    assert load_settings(path).worker_name == "Bob's new machine"


def test_broken_yaml_is_named_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "worker.yaml"
    path.write_text("max_power: [")
    with pytest.raises(NotSaved, match="is not YAML"):
        SettingsFile(path, {}).write({"max_power": 4})
    assert path.read_text() == "max_power: ["


def test_it_tells_what_wins_over_the_file(tmp_path: Path) -> None:
    environ = {"OPENHORDE_WORKER_MAX_POWER": "2", "HOME": "/"}
    file = SettingsFile(tmp_path / "worker.yaml", environ, {"nsfw": False, "device": None})
    assert file.overridden == {
        "max_power": "OPENHORDE_WORKER_MAX_POWER",
        "nsfw": "the command line",
    }
