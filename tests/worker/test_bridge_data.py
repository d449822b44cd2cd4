# SPDX-License-Identifier: AGPL-3.0-or-later
"""Settings files of the workers that people already run."""

from pathlib import Path

import pytest

from openhorde.worker.bridge_names import NOT_NEEDED
from openhorde.worker.settings import SettingsError, WorkerSettings, load_settings

# As the first worker's template has it, filled in by Bob.
OLD = """
horde_url: "https://stablehorde.net/"
api_key: "bobs-key"
priority_usernames: ["Alice#7", "Bob"]
max_threads: 1
queue_size: 0
require_upfront_kudos: false
dreamer_name: "Bob's dreams"
max_power: 32
nsfw: true
censor_nsfw: false
blacklist: []
censorlist: []
allow_img2img: true
allow_painting: true
allow_unsafe_ip: true
allow_post_processing: false
allow_controlnet: false
allow_lora: false
max_lora_cache_size: 5
dynamic_models: false
number_of_models: 3
max_models_to_download: 10
stats_output_frequency: 30
cache_home: "./"
temp_dir: "./tmp"
always_download: true
disable_terminal_ui: false
vram_to_leave_free: "80%"
ram_to_leave_free: "80%"
disable_disk_cache: false
models_to_load:
  - "stable_diffusion"
  - "top 3"
models_to_skip:
  - "pix2pix"
suppress_speed_warnings: false
scribe_name: "An Awesome Scribe"
kai_url: "http://localhost:5000"
max_length: 80
max_context_length: 1024
branded_model: true
alchemist_name: "An Awesome Alchemist"
forms:
  - "caption"
  - "nsfw"
  - "post-process"
"""

# As the second worker's template has it.
NEW = """
api_key: "0000000000"
models_to_load: ["ALL MODELS"]
dreamer_name: "Bob's other dreams"
alchemist: true
cycle_process_on_model_change: false
remove_maintenance_on_init: true
high_performance_mode: true
safety_on_gpu: false
process_timeout: 900
max_threads: 99
queue_size: 4
max_batch: 4
max_power: 8
extra_slow_worker: true
limit_max_steps: true
allow_sdxl_controlnet: true
allow_lora: true
civitai_api_token:
custom_models:
  - {name: mine, baseline: stable_diffusion_xl, filepath: /models/mine.safetensors}
"""


def read(tmp_path: Path, text: str, name: str = "bridgeData.yaml") -> tuple[WorkerSettings, str]:
    file = tmp_path / name
    file.write_text(text)
    warnings: list[str] = []
    return load_settings(file, {}, {}, warnings.append), "\n".join(warnings)


def test_the_first_worker_s_file_is_read(tmp_path: Path) -> None:
    settings, said = read(tmp_path, OLD)
    assert settings.horde_url == "https://stablehorde.net"
    assert (settings.api_key, settings.worker_name) == ("bobs-key", "Bob's dreams")
    assert settings.backends == ["diffusers"]
    assert (settings.max_power, settings.queue_size) == (32, 0)
    assert settings.priority_usernames == ["Alice#7"]
    assert settings.models_to_load == ["stable_diffusion"]
    assert settings.models_to_skip == ["pix2pix"]
    assert settings.forms[:3] == ["caption", "nsfw", "GFPGAN"]
    assert (settings.max_length, settings.max_context_length) == (80, 1024)
    assert (settings.alchemist_name, settings.scribe_name) == ("", "")
    assert settings.allow_post_processing is False
    assert (settings.cache_disk_mib, settings.koboldcpp_url) == (5120, "http://localhost:5000")
    assert settings.censor_nsfw is False
    for word in (
        "'Bob'",
        "'top 3'",
        "\nvram_to_leave_free: not needed here",
        "\nbranded_model: not",
    ):
        assert word in said
    assert "max_power" not in said
    assert "unknown" not in said


def test_the_second_worker_s_file_is_read(tmp_path: Path) -> None:
    settings, said = read(tmp_path, NEW)
    assert settings.worker_name == "Bob's other dreams"
    assert settings.backends == ["diffusers", "transformers"]
    assert settings.kinds == ["image", "alchemy"]
    assert settings.models_to_load == []
    assert (settings.max_threads, settings.max_batch, settings.queue_size) == (16, 4, 4)
    assert settings.extra_slow_worker
    assert settings.limit_max_steps
    assert settings.allow_sdxl_controlnet
    assert "max_threads: 99" in said
    assert "custom_models" in said
    assert "alchemist" not in said


def test_names_tell_what_the_owner_does(tmp_path: Path) -> None:
    settings, _ = read(tmp_path, "scribe_name: Bob's pen\nalchemist_name: Bob's lab\n", "mine.yaml")
    assert settings.backends == ["transformers", "koboldcpp"]
    assert (settings.alchemist_name, settings.scribe_name) == ("Bob's lab", "Bob's pen")
    settings, _ = read(tmp_path, "dreamer_name: Bob's box\nbackends: [comfyui]\n")
    assert (settings.backends, len(settings.kinds)) == (["comfyui"], 3)


FILLED_IN = "scribe_name: Bob's pen\nalchemist_name: Bob's lab\n"


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("dreamer_name: Bob's box\n", ["image"]),
        # The templates have all names, whatever the owner does.
        (f"dreamer_name: Bob's box\n{FILLED_IN}", ["image", "alchemy"]),
        (f"dreamer_name: Bob's box\n{FILLED_IN}alchemist: false\n", ["image"]),
        (f"dreamer_name: Bob's box\n{FILLED_IN}safety_on_gpu: true\n", ["image"]),
        (
            f"dreamer_name: Bob's box\n{FILLED_IN}safety_on_gpu: true\nalchemist: true\n",
            ["image", "alchemy"],
        ),
        (
            f"dreamer_name: Bob's box\n{FILLED_IN}kai_url: http://127.0.0.1:5000\n",
            ["image", "alchemy", "text"],
        ),
        ("scribe_name: Bob's pen\n", ["text"]),
        ("alchemist_name: Bob's lab\n", ["alchemy"]),
        (f"dreamer_name: Bob's box\n{FILLED_IN}kinds: [image]\nkai_url: http://x\n", ["image"]),
    ],
)
def test_only_the_work_that_the_file_is_about_is_taken(
    tmp_path: Path, text: str, kinds: list[str]
) -> None:
    settings, said = read(tmp_path, text)
    assert settings.kinds == kinds
    assert ("koboldcpp" in settings.backends) == ("text" in kinds or "kai_url" in text)
    if "Bob's pen" in text and "text" not in kinds and "kai_url" not in text:
        assert "scribe_name: no text work is taken" in said
        assert settings.scribe_name == ""


def test_each_setting_that_is_not_used_is_told_with_the_reason(tmp_path: Path) -> None:
    lines = "".join(f"{name}: 1\n" for name in NOT_NEEDED)
    _, said = read(tmp_path, f"{lines}vram_to_leave_fre: 2\nmax_powr: 8\n")
    told = said.splitlines()
    for name, reason in NOT_NEEDED.items():
        assert f"{name}: not needed here: {reason}" in told
    assert "max_powr: unknown, and not used; the nearest known setting is 'max_power'" in told
    assert len(told) == len(NOT_NEEDED) + 2


def test_models_are_found_where_those_workers_keep_them(tmp_path: Path) -> None:
    settings, said = read(tmp_path, 'cache_home: "./cache"\n')
    assert settings.models_folder == WorkerSettings().models_folder
    assert f"there is no folder compvis in {tmp_path / 'cache'}" in said
    assert "models_folder" in said
    (tmp_path / "cache" / "compvis").mkdir(parents=True)
    settings, said = read(tmp_path, 'cache_home: "./cache"\n')
    assert settings.models_folder == tmp_path / "cache" / "compvis"
    assert str(settings.models_folder) in said
    settings, _ = read(tmp_path, "cache_home: ./cache\nmodels_folder: mine\n")
    assert settings.models_folder == tmp_path / "mine"


PYTHON = '''
import os
"""The settings."""
horde_url = "https://stablehorde.net"
worker_name = "Bob's dreams"
api_key = os.environ["KEY"]
max_power: int = 32
nsfw = censor_nsfw = False
models_to_load = ("stable_diffusion", "top 3")
blacklist = []
print(open("/etc/passwd").read(), file=open("stolen", "w"))
priority_usernames = ["Alice#7"]
max_power = 4 * 4
kai_url = None
'''


def test_the_oldest_file_is_read_and_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings, said = read(tmp_path, PYTHON, "bridgeData.py")
    assert (settings.horde_url, settings.worker_name) == (
        "https://stablehorde.net",
        "Bob's dreams",
    )
    assert (settings.backends, settings.kinds) == (["diffusers"], ["image"])
    assert (settings.max_power, settings.nsfw, settings.censor_nsfw) == (32, False, False)
    assert settings.models_to_load == ["stable_diffusion"]
    assert settings.priority_usernames == ["Alice#7"]
    assert not (tmp_path / "stolen").exists()
    assert "line 6: api_key: left out" in said
    assert "line 11: left out" in said
    assert "line 13: max_power: left out" in said


@pytest.mark.parametrize(
    "text",
    [
        "max_power = = 3\n",
        "x = 1\n" * 60_000,
        "x = " + "(" * 50_000,
        "x = " + "-" * 100_000 + "1",
        "x = [" + "1+" * 60_000 + "1]\n",
        "x = 'a\0b'\n",
    ],
    ids=["syntax", "long", "parentheses", "signs", "sums", "zero"],
)
def test_a_hostile_module_is_a_sentence(tmp_path: Path, text: str) -> None:
    try:
        _, told = read(tmp_path, text, "bridgeData.py")
    except SettingsError as error:
        told = str(error)
    assert "bridgeData.py: " in told or "left out" in told
    assert "\n" not in told


def test_flags_win_over_it(tmp_path: Path) -> None:
    file = tmp_path / "bridgeData_mine.yaml"
    file.write_text(OLD)
    settings = load_settings(file, {}, {"backends": ["fake"], "max_power": 2}, lambda _: None)
    assert (settings.backends, settings.max_power) == (["fake"], 2)


def test_long_names_are_cut_and_empty_files_are_defaults(tmp_path: Path) -> None:
    settings, said = read(tmp_path, f"dreamer_name: {'x' * 200}\n")
    assert len(settings.worker_name) == 100
    assert "first 100 characters" in said
    assert read(tmp_path, "")[0] == WorkerSettings()


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("nsfw: perhaps", "nsfw"),
        ("models_to_load: {a: 1}", "models_to_load"),
        ("forms: [[caption]]", "forms"),
        ("max_power: many", "max_power"),
    ],
)
def test_what_would_change_what_is_accepted_is_refused(
    tmp_path: Path, line: str, word: str
) -> None:
    with pytest.raises(SettingsError, match=word):
        read(tmp_path, line)
