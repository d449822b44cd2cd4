# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every setting has its place and look in the form, and its value survives it."""

import pytest

from openhorde.worker.panel.fields import (
    ShownField,
    from_widget,
    shown,
    shown_groups,
    to_widget,
)
from openhorde.worker.panel.saving import UNSET
from openhorde.worker.settings import WorkerSettings, changed, settings_fields

FIELDS = {field.name: shown(field) for field in settings_fields()}


def test_every_setting_is_in_the_form_once() -> None:
    shown_names = [field.name for _, fields in shown_groups() for field in fields]
    assert sorted(shown_names) == sorted(field.name for field in settings_fields())


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS.keys())
def test_help_is_shown_and_the_default_survives_the_widget(field: ShownField) -> None:
    assert field.setting.help.partition(" ")[2] in field.info
    settings = WorkerSettings()
    value = getattr(settings, field.name)
    typed = from_widget(field, to_widget(field, value))
    if field.look != "secret" and typed is not UNSET:
        assert getattr(changed(settings, {field.name: typed}), field.name) == value


@pytest.mark.parametrize(
    ("name", "look"),
    [
        ("api_key", "secret"),
        ("panel_password", "secret"),
        ("nsfw", "switch"),
        ("backends", "choices"),
        ("fake_failure", "choice"),
        ("blacklist", "words"),
        ("max_threads", "slider"),
        ("max_power", "number"),
        ("retry_seconds", "number"),
        ("models_folder", "text"),
        ("worker_name", "text"),
    ],
)
def test_the_look_follows_from_the_type(name: str, look: str) -> None:
    assert FIELDS[name].look == look


def test_bounds_and_default_are_told() -> None:
    info = FIELDS["max_power"].info
    assert "from 1 to 512" in info
    assert "default 8" in info


def test_a_secret_never_gets_into_its_widget() -> None:
    assert to_widget(FIELDS["api_key"], "a secret key") == ""
    assert from_widget(FIELDS["api_key"], " another key ") == "another key"
    assert from_widget(FIELDS["api_key"], "-") is UNSET


def test_words_are_one_a_line_and_empty_lines_are_nothing() -> None:
    assert from_widget(FIELDS["blacklist"], " spiders \n\n big snakes\n") == [
        "spiders",
        "big snakes",
    ]
    assert to_widget(FIELDS["blacklist"], ["spiders", "big snakes"]) == "spiders\nbig snakes"


@pytest.mark.parametrize(("typed", "value"), [(4.0, 4), (4.5, 4.5), (None, UNSET)])
def test_numbers_stay_whole_where_they_are(typed: float | None, value: object) -> None:
    assert from_widget(FIELDS["max_power"], typed) == value


def test_an_emptied_path_is_unset() -> None:
    assert from_widget(FIELDS["loras_folder"], "  ") is UNSET


def test_what_a_running_worker_heeds_is_known() -> None:
    assert FIELDS["nsfw"].at_once
    assert not FIELDS["backends"].at_once
