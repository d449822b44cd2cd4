# SPDX-License-Identifier: AGPL-3.0-or-later
"""Settings: who wins, what is refused, and what a form is made of."""

from pathlib import Path

import pytest

from openhorde.worker.backends.registry import BACKENDS, KINDS_POSSIBLE, engines_of
from openhorde.worker.settings import (
    SettingsError,
    WorkerSettings,
    load_settings,
    settings_fields,
)


def test_flags_win_over_environment_over_yaml_over_default(tmp_path: Path) -> None:
    file = tmp_path / "worker.yaml"
    file.write_text("max_power: 16\nqueue_size: 2\nmax_batch: 3\nmodels_folder: m\n")
    environ = {"OPENHORDE_WORKER_QUEUE_SIZE": "3", "OPENHORDE_WORKER_MAX_BATCH": "4", "HOME": "/"}
    settings = load_settings(file, environ, {"max_batch": 5, "nsfw": None})
    assert (settings.max_power, settings.queue_size, settings.max_batch) == (16, 3, 5)
    assert settings.max_threads == 1
    assert settings.pixels_max == 64 * 64 * 8 * 16
    assert settings.models_folder == tmp_path / "m"


def test_text_is_read_in_each_type() -> None:
    environ = {
        "OPENHORDE_WORKER_NSFW": "off",
        "OPENHORDE_WORKER_BLACKLIST": "war, gore,",
        "OPENHORDE_WORKER_PRIORITY_USERNAMES": "alice#12",
        "OPENHORDE_WORKER_FAKE_STEP_SECONDS": "0.5",
        "OPENHORDE_WORKER_LORAS_FOLDER": "~/loras",
        "OPENHORDE_WORKER_DEVICE": "cuda:1",
    }
    settings = load_settings(None, environ)
    assert settings.nsfw is False
    assert settings.blacklist == ["war", "gore"]
    assert settings.priority_usernames == ["alice#12"]
    assert settings.fake_step_seconds == 0.5
    assert settings.loras_folder == Path.home() / "loras"
    assert settings.device == "cuda:1"


@pytest.mark.parametrize(
    "given",
    [
        "http://horde:7001",
        "http://horde:7001/",
        "http://horde:7001/api",
        "http://horde:7001/api/",
        "http://horde:7001/api/v2/",
    ],
)
def test_the_address_is_taken_in_every_shape(given: str) -> None:
    assert load_settings(None, None, {"horde_url": given}).api_url == "http://horde:7001/api/v2"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"max_powr": 2}, ["'max_powr'", "'max_power'"]),
        ({"max_power": 0}, ["max_power", "from 1 to 512"]),
        ({"max_power": "many"}, ["max_power", "a whole number"]),
        ({"queue_size": 17}, ["queue_size", "from 0 to 16"]),
        ({"worker_name": "a"}, ["worker_name", "3 to 100 characters"]),
        ({"backends": "magic"}, ["backends", "one or more of", "diffusers", "fake"]),
        ({"backends": []}, ["backends", "one or more of"]),
        ({"backends": ["fake", "fake"]}, ["backends", "once"]),
        ({"device": "gpu"}, ["device", "cuda:N"]),
        ({"nsfw": "perhaps"}, ["nsfw", "true or false"]),
        ({"bridge_agent": "reGen"}, ["bridge_agent", "name:version:address"]),
        ({"priority_usernames": ["bob"]}, ["priority_usernames", "name#number"]),
        ({"horde_url": "horde"}, ["horde_url", "http"]),
        ({"idle_seconds": 5}, ["idle_seconds", "idle_seconds_max"]),
    ],
)
def test_what_is_wrong_is_named(flags: dict[str, object], words: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(None, None, flags)
    for word in words:
        assert word in str(caught.value)


def test_all_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "worker.yaml"
    file.write_text("max_power: many\nqueue_sise: 2\nnsfw: perhaps\nmax_batch: 2\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    for word in ("max_power", "'queue_sise'", "nsfw"):
        assert word in str(caught.value)
    assert "max_batch" not in str(caught.value)


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [\n"])
def test_a_file_that_holds_no_settings_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "worker.yaml"
    file.write_text(content)
    with pytest.raises(SettingsError, match=r"worker\.yaml"):
        load_settings(file)


def test_an_empty_file_is_all_defaults_and_an_absent_one_an_error(tmp_path: Path) -> None:
    file = tmp_path / "worker.yaml"
    file.touch()
    assert load_settings(file) == WorkerSettings()
    with pytest.raises(SettingsError, match="cannot read"):
        load_settings(tmp_path / "absent.yaml")


def test_every_field_can_become_a_flag() -> None:
    fields = {field.name: field for field in settings_fields()}
    assert fields["worker_name"].flags == ("--worker_name", "-n")
    assert fields["max_power"].environment == "OPENHORDE_WORKER_MAX_POWER"
    assert (fields["max_power"].minimum, fields["max_power"].maximum) == (1, 512)
    assert fields["backends"].choices[0] == "diffusers"
    assert fields["backends"].default == ["diffusers"]
    assert fields["backends"].is_list
    assert fields["nsfw"].is_flag
    assert fields["blacklist"].is_list
    assert all(field.help for field in fields.values())
    for field in fields.values():
        assert getattr(WorkerSettings(), field.name) == field.default


def test_the_key_is_never_shown() -> None:
    assert "secret-key" not in repr(load_settings(None, None, {"api_key": "secret-key"}))


@pytest.mark.parametrize(
    ("yaml", "environ", "flags"),
    [
        ("backend: fake\n", {}, {}),
        ("", {"OPENHORDE_WORKER_BACKEND": "fake"}, {}),
        ("backends: [diffusers]\n", {}, {"backend": "fake"}),
    ],
)
def test_an_old_name_is_understood_with_a_warning(
    tmp_path: Path, yaml: str, environ: dict[str, str], flags: dict[str, str]
) -> None:
    file = tmp_path / "worker.yaml"
    file.write_text(yaml)
    warnings: list[str] = []
    assert load_settings(file, environ, flags, warnings.append).backends == ["fake"]
    assert warnings == ["the setting backend is now called backends"]


@pytest.mark.parametrize("given", ["fake, openai", ["fake,openai"], ["fake", "openai"]])
def test_a_list_of_choices_is_read_in_every_shape(given: object) -> None:
    assert load_settings(None, None, {"backends": given}).backends == ["fake", "openai"]


def test_every_backend_can_be_made_and_its_kinds_are_told() -> None:
    named = {field.name: field for field in settings_fields()}["backends"].choices
    assert set(named) == set(BACKENDS) == set(KINDS_POSSIBLE)


def test_a_server_may_be_given_more_at_once_than_a_device() -> None:
    settings = load_settings(None, None, {"max_threads": 2, "threads_on_servers": 8})
    assert [engines_of(settings, name) for name in ("diffusers", "openai")] == [2, 8]
    assert engines_of(load_settings(None, None, {"max_threads": 2}), "openai") == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_a_file_of_any_editor_is_read(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "worker.yaml"
    file.write_text('worker_name: "K\u00fcche \U0001f600"\nmax_power: 9\n', encoding=encoding)
    settings = load_settings(file)
    assert (settings.worker_name, settings.max_power) == ("K\u00fcche \U0001f600", 9)


def test_reported_files_are_read_or_refused_with_the_encoding_that_is_wanted() -> None:
    folder = Path(__file__).parents[1] / "cases" / "bridgedata"
    assert load_settings(folder / "utf16.yaml", warn=lambda _: None).worker_name
    with pytest.raises(SettingsError, match=r"latin1\.yaml is not saved as UTF-8: line 3"):
        load_settings(folder / "latin1.yaml")


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("url", "horde_url"),
        ("key", "api_key"),
        ("max_threds", "max_threads"),
        ("model_folder", "models_folder"),
    ],
)
def test_an_unknown_setting_is_answered_with_the_one_that_was_meant(
    tmp_path: Path, given: str, nearest: str
) -> None:
    file = tmp_path / "worker.yaml"
    file.write_text(f"{given}: 1\n")
    with pytest.raises(SettingsError, match=f"unknown setting '{given}'.*'{nearest}'"):
        load_settings(file, None, None)
