# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a worker's owner can set: one struct drives YAML, environment and command line flags.

Flags win over the environment, the environment over YAML, YAML over the default.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit, urlunsplit

import msgspec
import yaml
from msgspec import Meta, Struct
from msgspec import field as default

ENVIRONMENT_PREFIX = "OPENHORDE_WORKER_"
ANONYMOUS_KEY = "0000000000"

Name = Annotated[str, Meta(min_length=3, max_length=255)]


class SettingsError(ValueError):
    """A setting is unknown, of the wrong type or out of bounds; the message names it."""


class WorkerSettings(Struct, kw_only=True, frozen=True):
    """All settings of a worker. Units are in the names; each field carries its own help line."""

    horde_url: Annotated[str, Meta(description="the horde's address, with or without /api")] = (
        "http://127.0.0.1:7001"
    )
    api_key: Annotated[str, Meta(description="the API key of the worker's owner")] = ANONYMOUS_KEY
    worker_name: Annotated[
        str,
        Meta(
            min_length=3,
            max_length=100,
            description="the worker's name, unique in its horde",
            extra={"flags": ["-n"]},
        ),
    ] = "An openhorde worker"
    worker_url: Annotated[
        str, Meta(description="where this worker's software is; empty: the horde's own source page")
    ] = ""
    backend: Annotated[
        Literal["diffusers", "fake"],
        Meta(description="the engine: diffusers draws; fake invents pictures at once, for trials"),
    ] = "diffusers"
    max_threads: Annotated[
        int,
        Meta(ge=1, le=16, description="how many engines run side by side, each its own process"),
    ] = 1
    queue_size: Annotated[
        int, Meta(ge=0, le=4, description="how many jobs to fetch ahead while the engines are busy")
    ] = 1
    max_power: Annotated[
        int,
        Meta(ge=1, le=512, description="the largest picture, in units of 64 * 64 * 8 pixels"),
    ] = 8
    max_batch: Annotated[
        int, Meta(ge=1, le=20, description="how many pictures of one request to draw at once")
    ] = 1
    models_folder: Annotated[
        Path, Meta(description="holds diffusers folders and .safetensors checkpoints")
    ] = Path("models")
    models_to_load: Annotated[
        list[Name], Meta(description="the models to offer; empty offers every model found")
    ] = default(default_factory=list)
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
        ),
    ] = "auto"
    cpu_threads: Annotated[
        int, Meta(ge=0, le=256, description="CPU threads for each engine; 0 leaves it to torch")
    ] = 0
    models_in_memory: Annotated[
        int, Meta(ge=1, le=64, description="how many models an engine keeps loaded")
    ] = 1
    nsfw: Annotated[bool, Meta(description="accept requests for adults only")] = True
    censor_nsfw: Annotated[
        bool,
        Meta(description="without nsfw, hide unasked nudity if the model brings a safety checker"),
    ] = True
    blacklist: Annotated[
        list[str], Meta(description="words; a request whose prompt holds one is not taken")
    ] = default(default_factory=list)
    priority_usernames: Annotated[
        list[Annotated[str, Meta(pattern=r"^.+#.+$")]],
        Meta(description="users, as name#number, to be served first"),
    ] = default(default_factory=list)
    allow_img2img: Annotated[bool, Meta(description="accept pictures to start from")] = True
    allow_painting: Annotated[bool, Meta(description="accept inpainting and outpainting")] = True
    allow_unsafe_ip: Annotated[
        bool, Meta(description="accept requests that come through a VPN or proxy")
    ] = True
    allow_lora: Annotated[bool, Meta(description="accept LoRAs, found in loras_folder")] = False
    require_upfront_kudos: Annotated[
        bool, Meta(description="only take requests whose kudos are there beforehand")
    ] = False
    extra_slow_worker: Annotated[
        bool,
        Meta(description="a very slow worker: only for requests that can wait, thrice as long"),
    ] = False
    limit_max_steps: Annotated[
        bool, Meta(description="leave out requests with more steps than their model needs")
    ] = False
    pop_wait_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=60,
            description="how long the horde may hold a call for work until there is some; 0: not",
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
    fake_step_seconds: Annotated[
        float, Meta(ge=0, le=600, description="fake engine: how long one step takes")
    ] = 0.0
    fake_failure_rate: Annotated[
        float, Meta(ge=0, le=1, description="fake engine: the share of jobs that fail")
    ] = 0.0
    fake_failure: Annotated[
        Literal["fault", "crash", "hang"], Meta(description="fake engine: how jobs fail")
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
        """Everything but the key, which must not reach a log."""
        shown = msgspec.structs.asdict(self) | {"api_key": "..."}
        return f"WorkerSettings({shown})"


class SettingField(Struct, kw_only=True, frozen=True):
    """One setting as a form or a command line shows it."""

    name: str
    type: Any
    default: Any
    help: str
    minimum: float | None = None
    maximum: float | None = None
    length_min: int | None = None
    length_max: int | None = None
    choices: tuple[str, ...] = ()
    is_list: bool = False
    is_flag: bool = False
    flags: tuple[str, ...] = ()

    @property
    def environment(self) -> str:
        """The name of its environment variable."""
        return ENVIRONMENT_PREFIX + self.name.upper()


def settings_fields() -> list[SettingField]:
    """Every setting with its plain type, default, bounds, help line and flags (long one first)."""
    hints = get_type_hints(WorkerSettings, include_extras=True)
    found = []
    for described in msgspec.structs.fields(WorkerSettings):
        annotated = get_args(hints[described.name])
        plain, meta = annotated[0], annotated[1]
        is_list = get_origin(plain) is list
        found.append(
            SettingField(
                name=described.name,
                type=list[str] if is_list else plain,
                default=[] if is_list else described.default,
                help=meta.description,
                minimum=meta.ge,
                maximum=meta.le,
                length_min=meta.min_length,
                length_max=meta.max_length,
                choices=get_args(plain) if get_origin(plain) is Literal else (),
                is_list=is_list,
                is_flag=plain is bool,
                flags=(f"--{described.name}", *(meta.extra or {}).get("flags", ())),
            )
        )
    return found


def load_settings(
    yaml_path: Path | str | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> WorkerSettings:
    """Read the settings; a flag that is None counts as not given.

    Raises SettingsError for an unreadable file, an unknown key (naming the nearest known one),
    a value of the wrong type or out of its bounds. Paths in YAML are relative to the file.
    """
    values = _from_yaml(Path(yaml_path)) if yaml_path is not None else {}
    values |= _from_environment(environ or {})
    values |= {name: value for name, value in (flags or {}).items() if value is not None}
    known = {described.name: described for described in settings_fields()}
    checked = {name: _checked(known, name, value) for name, value in values.items()}
    checked["horde_url"] = _base_url(checked.get("horde_url", known["horde_url"].default))
    settings = WorkerSettings(**checked)
    for first, longest in (
        ("idle_seconds", "idle_seconds_max"),
        ("retry_seconds", "retry_seconds_max"),
    ):
        if getattr(settings, first) > getattr(settings, longest):
            raise SettingsError(f"{first} must not be more than {longest}")
    return settings


def _from_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingsError(f"{path} must hold `setting: value` lines")
    for name in ("models_folder", "loras_folder", "embeddings_folder"):
        if isinstance(values.get(name), str):
            values[name] = path.parent / values[name]
    return {str(name): value for name, value in values.items() if value is not None}


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    return {
        name.removeprefix(ENVIRONMENT_PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(ENVIRONMENT_PREFIX)
    }


def _checked(known: Mapping[str, SettingField], name: str, value: Any) -> Any:
    """The value in its field's type. Text, as environment and flags bring it, is read too."""
    described = known.get(name)
    if described is None:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
        raise SettingsError(f"unknown setting {name!r}; the nearest known one is {nearest!r}")
    if isinstance(value, str):
        if described.is_list:
            value = [entry.strip() for entry in value.split(",") if entry.strip()]
        elif described.is_flag:
            value = _truth(name, value)
    hint = get_type_hints(WorkerSettings, include_extras=True)[name]
    if described.type in (Path, Path | None):
        return Path(value).expanduser()
    try:
        return msgspec.convert(value, hint, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{name}: {value!r} is not allowed: {_allowed(described)}") from error


def _truth(name: str, text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off"):
        return False
    raise SettingsError(f"{name}: {text!r} is not allowed: it must be true or false")


def _allowed(described: SettingField) -> str:
    """What the field takes, in words."""
    if described.choices:
        return "it must be one of " + ", ".join(described.choices)
    if described.name == "device":
        return "it must be auto, cpu, mps, cuda or cuda:N"
    if described.name == "priority_usernames":
        return "it must list users as name#number"
    if described.is_list:
        return "it must be a list of words of 3 to 255 characters"
    if described.minimum is not None:
        kind = "a whole number" if described.type is int else "a number"
        return f"it must be {kind} from {described.minimum:g} to {described.maximum:g}"
    if described.length_min is not None:
        return f"it must have {described.length_min} to {described.length_max} characters"
    return f"it must be {'true or false' if described.is_flag else 'text'}"


def _base_url(given: str) -> str:
    """`http://host:7001`, `.../api`, `.../api/` and `.../api/v2/` all name the same horde."""
    parts = urlsplit(given.strip())
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise SettingsError(f"horde_url: {given!r} is not an http or https address")
    path = parts.path.rstrip("/")
    for ending in ("/v2", "/api"):
        path = path.removesuffix(ending)
    return urlunsplit((parts.scheme, parts.netloc, path.rstrip("/"), "", ""))
