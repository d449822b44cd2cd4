# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a worker's owner can set: one struct drives YAML, environment and command line flags.

Flags win over the environment, the environment over YAML, YAML over the default.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from msgspec import field as default

from openhorde.worker.engine_settings import EngineSettings, Name
from openhorde.worker.fields import SettingField, SettingsError, described_fields
from openhorde.worker.reading import RENAMED, base_url, checked, gathered

__all__ = [
    "ANONYMOUS_KEY",
    "RENAMED",
    "KindName",
    "SettingField",
    "SettingsError",
    "WorkerSettings",
    "changed",
    "load_settings",
    "secrets",
    "settings_fields",
]

ENVIRONMENT_PREFIX = "OPENHORDE_WORKER_"
ANONYMOUS_KEY = "0000000000"
log = logging.getLogger(__name__)

KindName = Literal["image", "alchemy", "text"]
NOW = {"applies": "now"}
"""Marks what a running worker heeds at once; all else needs a restart."""


class WorkerSettings(EngineSettings, kw_only=True, frozen=True):
    """All settings of a worker. Units are in the names; each field carries its own help line.

    Those of single engines are in EngineSettings.
    """

    horde_url: Annotated[str, Meta(description="the horde's address, with or without /api")] = (
        "http://127.0.0.1:7001"
    )
    api_key: Annotated[
        str, Meta(description="the API key of the worker's owner", extra={"secret": True})
    ] = ANONYMOUS_KEY
    worker_name: Annotated[
        str,
        Meta(
            min_length=3,
            max_length=100,
            description="the worker's name, unique in its horde; its first kind of work takes it",
            extra={"flags": ["-n"]},
        ),
    ] = "An openhorde worker"
    alchemist_name: Annotated[
        str,
        Meta(
            max_length=100,
            description="the name for alchemy; empty: worker_name, plus ' alchemist' if taken",
        ),
    ] = ""
    scribe_name: Annotated[
        str,
        Meta(
            max_length=100,
            description="the name for text; empty: worker_name, plus ' scribe' if taken",
        ),
    ] = ""
    worker_url: Annotated[
        str, Meta(description="where this worker's software is; empty: the horde's own source page")
    ] = ""
    backends: Annotated[
        list[Literal["diffusers", "transformers", "comfyui", "openai", "koboldcpp", "fake"]],
        Meta(
            min_length=1,
            description="the engines: diffusers draws, transformers looks at pictures and writes, "
            "comfyui, openai and koboldcpp ask a server of yours; fake invents all, for trials",
        ),
    ] = default(default_factory=lambda: ["diffusers"])
    kinds: Annotated[
        list[KindName],
        Meta(min_length=1, description="the kinds of work to take, as far as the engines can"),
    ] = default(default_factory=lambda: ["image", "alchemy", "text"])
    max_threads: Annotated[
        int,
        Meta(
            ge=1,
            le=16,
            description="how many engines of each backend run side by side, each its own process",
        ),
    ] = 1
    threads_on_servers: Annotated[
        int,
        Meta(
            ge=0,
            le=16,
            description="how many jobs comfyui, openai and koboldcpp are given at once; "
            "0: as max_threads says",
        ),
    ] = 0
    queue_size: Annotated[
        int,
        Meta(
            ge=0,
            le=16,
            description="how many jobs of each kind to fetch ahead while the engines are busy",
            extra=NOW,
        ),
    ] = 1
    max_power: Annotated[
        int,
        Meta(
            ge=1,
            le=512,
            description="the largest picture, in units of 64 * 64 * 8 pixels; for alchemy, "
            "in squares of 512 pixels",
            extra=NOW,
        ),
    ] = 8
    max_batch: Annotated[
        int,
        Meta(
            ge=1,
            le=20,
            description="how many pictures of one request to draw at once",
            extra=NOW,
        ),
    ] = 1
    models_folder: Annotated[
        Path, Meta(description="holds diffusers folders and .safetensors checkpoints")
    ] = Path("models")
    models_to_load: Annotated[
        list[Name], Meta(description="the models to offer; empty offers every model found")
    ] = default(default_factory=list)
    models_to_skip: Annotated[
        list[Name], Meta(description="models never to offer, of pictures or text", extra=NOW)
    ] = default(default_factory=list)
    forms: Annotated[
        list[Name],
        Meta(
            description="the alchemy forms to offer, such as caption; empty offers all that the "
            "engines can do",
            extra=NOW,
        ),
    ] = default(default_factory=list)
    max_length: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="text: the most tokens to write; 0: what the engine can",
            extra=NOW,
        ),
    ] = 512
    max_context_length: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="text: the most tokens to read and write; 0: what the engine can",
            extra=NOW,
        ),
    ] = 0
    loras_folder: Annotated[
        Path | None, Meta(description="holds LoRA .safetensors files, named as they are asked for")
    ] = None
    embeddings_folder: Annotated[
        Path | None, Meta(description="holds textual inversion .safetensors files")
    ] = None
    device: Annotated[
        str,
        Meta(
            pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
            description="where to draw: auto, cpu, mps, cuda or cuda:N",
            extra={"words": "be auto, cpu, mps, cuda or cuda:N"},
        ),
    ] = "auto"
    cpu_threads: Annotated[
        int, Meta(ge=0, le=256, description="CPU threads for each engine; 0 leaves it to torch")
    ] = 0
    models_in_memory: Annotated[
        int,
        Meta(ge=0, le=64, description="how many models an engine keeps; 0: as memory allows"),
    ] = 0
    nsfw: Annotated[bool, Meta(description="accept requests for adults only", extra=NOW)] = True
    censor_nsfw: Annotated[
        bool,
        Meta(
            description="without nsfw, replace what is indecent: see safety_model",
            extra=NOW,
        ),
    ] = True
    blacklist: Annotated[
        list[str],
        Meta(description="words; a request whose prompt holds one is not taken", extra=NOW),
    ] = default(default_factory=list)
    priority_usernames: Annotated[
        list[Annotated[str, Meta(pattern=r"^.+#.+$")]],
        Meta(
            description="users, as name#number, to be served first",
            extra={**NOW, "words": "list users as name#number"},
        ),
    ] = default(default_factory=list)
    allow_img2img: Annotated[bool, Meta(description="accept pictures to start from", extra=NOW)] = (
        True
    )
    allow_painting: Annotated[
        bool, Meta(description="accept inpainting and outpainting", extra=NOW)
    ] = True
    allow_unsafe_ip: Annotated[
        bool, Meta(description="accept requests that come through a VPN or proxy", extra=NOW)
    ] = True
    allow_post_processing: Annotated[
        bool, Meta(description="accept pictures to be upscaled or mended afterwards", extra=NOW)
    ] = True
    allow_controlnet: Annotated[
        bool, Meta(description="accept pictures to be drawn along another one", extra=NOW)
    ] = True
    allow_sdxl_controlnet: Annotated[
        bool, Meta(description="accept that for SDXL models too", extra=NOW)
    ] = False
    allow_lora: Annotated[
        bool, Meta(description="accept LoRAs, found in loras_folder", extra=NOW)
    ] = False
    require_upfront_kudos: Annotated[
        bool,
        Meta(description="only take requests whose kudos are there beforehand", extra=NOW),
    ] = False
    extra_slow_worker: Annotated[
        bool,
        Meta(
            description="a very slow worker: only for requests that can wait, thrice as long",
            extra=NOW,
        ),
    ] = False
    limit_max_steps: Annotated[
        bool,
        Meta(description="leave out requests with more steps than their model needs", extra=NOW),
    ] = False
    pop_wait_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=60,
            description="how long the horde may hold a call for work until there is some; 0: not",
            extra=NOW,
        ),
    ] = 25
    idle_seconds: Annotated[
        float, Meta(ge=0.01, le=60, description="the first pause when there is no work")
    ] = 1.0
    idle_seconds_max: Annotated[
        float, Meta(ge=0.01, le=600, description="the longest pause when there is no work")
    ] = 3.0
    retry_seconds: Annotated[
        float, Meta(ge=0.01, le=60, description="the first pause after a failed call or engine")
    ] = 1.0
    retry_seconds_max: Annotated[
        float, Meta(ge=0.01, le=600, description="the longest pause after failures in a row")
    ] = 30.0
    censorlist: Annotated[
        list[str],
        Meta(description="words; a decent request whose prompt holds one is censored, not drawn"),
    ] = default(default_factory=list)
    gpu_memory_mib: Annotated[
        int, Meta(ge=0, le=4_194_304, description="GPU memory for models; 0: all but a reserve")
    ] = 0
    ram_memory_mib: Annotated[
        int, Meta(ge=0, le=16_777_216, description="RAM for models; 0: all but a reserve")
    ] = 0
    dynamic_models: Annotated[
        bool,
        Meta(
            description="offer only the models most waited for that fit into memory together",
            extra=NOW,
        ),
    ] = False
    pinned_models: Annotated[
        list[Name], Meta(description="models that stay in memory whatever else is asked for")
    ] = default(default_factory=list)
    cpu_offload: Annotated[
        bool,
        Meta(description="draw with models too large for the GPU by lending it one part at a time"),
    ] = True
    panel_host: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=255,
            description="where the control panel listens; other than 127.0.0.1 only with a "
            "password of your own, and best behind a proxy with TLS; heeded at the next start",
        ),
    ] = "127.0.0.1"
    panel_port: Annotated[
        int,
        Meta(
            ge=0,
            le=65_535,
            description="the control panel's port; 0 takes any free one; heeded at the next start",
        ),
    ] = 7002
    panel_password: Annotated[
        str,
        Meta(
            pattern=r"^(|.{10,200})$",
            description="the control panel's password; without one the panel keeps its own, made "
            "up at its first start",
            extra={"secret": True, "applies": "now", "words": "have 10 to 200 characters"},
        ),
    ] = ""
    fake_step_seconds: Annotated[
        float, Meta(ge=0, le=600, description="fake engine: how long one step takes")
    ] = 0.0
    fake_failure_rate: Annotated[
        float, Meta(ge=0, le=1, description="fake engine: the share of jobs that fail")
    ] = 0.0
    fake_failure: Annotated[
        Literal["fault", "crash", "hang", "junk"], Meta(description="fake engine: how jobs fail")
    ] = "fault"

    @property
    def pixels_max(self) -> int:
        """The largest picture to accept, width x height."""
        return 64 * 64 * 8 * self.max_power

    @property
    def api_url(self) -> str:
        """Where the v2 API is, without a slash at the end."""
        return f"{self.horde_url}/api/v2"

    def __repr__(self) -> str:
        """Everything but the keys, which must not reach a log."""
        secret = {described.name: "..." for described in settings_fields() if described.is_secret}
        shown = msgspec.structs.asdict(self) | secret
        return f"WorkerSettings({shown})"


def settings_fields() -> list[SettingField]:
    """Every setting, as a form or a command line shows it; those of single engines come last."""
    fields = described_fields(WorkerSettings, ENVIRONMENT_PREFIX)
    return sorted(fields, key=lambda one: one.name in EngineSettings.__struct_fields__)


def secrets(settings: WorkerSettings) -> list[str]:
    """What must not be shown: the keys and passwords that are set."""
    secret = (getattr(settings, one.name) for one in settings_fields() if one.is_secret)
    return [str(value) for value in secret if value]


def load_settings(
    yaml_path: Path | str | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
    warn: Callable[[str], None] = log.warning,
) -> WorkerSettings:
    """Read the settings; a flag that is None counts as not given.

    Raises SettingsError for an unreadable file, an unknown key (naming the nearest known one),
    a value of the wrong type or out of its bounds. Paths in YAML are relative to the file.
    `warn` hears of each old name that is in use. A bridgeData.yaml of another worker is read too.
    """
    fields = settings_fields()
    values = gathered(fields, ENVIRONMENT_PREFIX, yaml_path, environ or {}, flags or {}, warn)
    return _agreeing(WorkerSettings(**checked(fields, values)))


def changed(settings: WorkerSettings, changes: Mapping[str, Any]) -> WorkerSettings:
    """The settings with some of them changed, each given as text or in its type.

    Raises SettingsError, naming the setting.
    """
    return _agreeing(msgspec.structs.replace(settings, **checked(settings_fields(), changes)))


def _agreeing(settings: WorkerSettings) -> WorkerSettings:
    """The settings with a plain address of the horde. Raises SettingsError where two disagree."""
    settings = msgspec.structs.replace(settings, horde_url=base_url(settings.horde_url))
    if len(set(settings.backends)) < len(settings.backends):
        raise SettingsError("backends must name each backend once; max_threads runs several")
    for first, longest in (
        ("idle_seconds", "idle_seconds_max"),
        ("retry_seconds", "retry_seconds_max"),
    ):
        if getattr(settings, first) > getattr(settings, longest):
            raise SettingsError(f"{first} must not be more than {longest}")
    return settings
