# SPDX-License-Identifier: AGPL-3.0-or-later
"""The face every engine has: what it can do, and how it does a job of some kind."""

from collections.abc import Callable
from typing import Any, Literal, Protocol, runtime_checkable

from msgspec import Struct, field

Feature = Literal[
    "img2img",
    "inpainting",
    "lora",
    "textual_inversion",
    "clip_skip",
    "hires_fix",
    "tiling",
    "controlnet",
    "post_processing",
]


class Capabilities(Struct, kw_only=True, frozen=True):
    """What an engine offers once it is open, of each kind of work.

    Pictures: `models` (of which `warm_models` need no loading), how many bytes each takes in memory
    as far as that is known and how many there are for all (0: not told), `samplers`, `features`,
    `control_types`, `post_processors`, and `pixels_max` (width x height, None unbounded). Alchemy:
    `forms`. Text: `text_models` and the most tokens of an answer and of the whole.
    """

    models: list[str] = field(default_factory=list)
    warm_models: list[str] = field(default_factory=list)
    model_bytes: dict[str, int] = field(default_factory=dict)
    memory_bytes: int = 0
    samplers: list[str] = field(default_factory=list)
    features: list[Feature] = field(default_factory=list)
    control_types: list[str] = field(default_factory=list)
    post_processors: list[str] = field(default_factory=list)
    pixels_max: int | None = None
    forms: list[str] = field(default_factory=list)
    text_models: list[str] = field(default_factory=list)
    tokens_max: int = 0
    context_tokens_max: int = 0


class InMemory(Struct, kw_only=True, frozen=True):
    """A model, or another part of an engine, that is loaded: on the device that computes, or kept
    ready in RAM. `name` as the engine calls it."""

    name: str
    size_bytes: int
    place: Literal["device", "ram"]


class Adapter(Struct, kw_only=True, frozen=True):
    """A LoRA to apply, by the name of its file, or by version id or URL once it was fetched.

    Strengths: for the model and its text encoder. `trigger` is put into the prompt as the file's
    nearest trigger word; "any" takes its first.
    """

    name: str
    model: float = 1.0
    clip: float = 1.0
    is_version: bool = False
    trigger: str | None = None


class Embedding(Struct, kw_only=True, frozen=True):
    """A textual inversion to load, and the prompt to put it into."""

    name: str
    inject: Literal["prompt", "negprompt"] | None = None
    strength: float = 1.0


class PictureJob(Struct, kw_only=True, frozen=True, tag="picture"):
    """Pictures to draw: one for each seed, all alike but for it. Sizes in pixels.

    `source` and `mask` are encoded image files; where the mask is white, or without one where the
    source is transparent, an inpainting draws anew. `repaint` tells inpainting from img2img.
    With a `control_type` the source is what guides the drawing: it is turned into a control map,
    or is one (`image_is_control`), and with `return_control_map` that map is the result.
    `post_processing` names what to do to each picture afterwards, in order.
    """

    id: str
    model: str
    prompt: str
    negative_prompt: str = ""
    width_pixels: int = 512
    height_pixels: int = 512
    steps: int = 30
    sampler: str = "k_euler_a"
    karras: bool = True
    cfg_scale: float = 5.0
    seeds: list[int] = field(default_factory=lambda: [0])
    clip_skip: int = 1
    tiling: bool = False
    hires_fix: bool = False
    hires_fix_strength: float = 0.65
    denoising_strength: float = 0.75
    source: bytes | None = None
    mask: bytes | None = None
    repaint: bool = False
    censor: bool = False
    loras: list[Adapter] = field(default_factory=list)
    embeddings: list[Embedding] = field(default_factory=list)
    control_type: str | None = None
    control_strength: float = 1.0
    image_is_control: bool = False
    return_control_map: bool = False
    post_processing: list[str] = field(default_factory=list)
    facefixer_strength: float | None = None


class FormJob(Struct, kw_only=True, frozen=True, tag="form"):
    """A form to do for one picture. `source` is an encoded image file, `payload` what the asker
    says of the form. The artifact is a picture, or JSON: the value of the form's result."""

    id: str
    form: str
    source: bytes
    payload: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """What the worker rests when jobs like this one kill its engine."""
        return self.form


class TextJob(Struct, kw_only=True, frozen=True, tag="text"):
    """A text to go on with: at most `tokens_max` new tokens, `context_tokens_max` in all.
    `sampling` has the wire's names (see wire/text.py, TextSampling) and no nulls. The artifact is
    text/plain in UTF-8: what was written, without the prompt."""

    id: str
    model: str
    prompt: str
    tokens_max: int = 80
    context_tokens_max: int = 2048
    seed: int | None = None
    stop_sequences: list[str] = field(default_factory=list)
    sampling: dict[str, Any] = field(default_factory=dict)


Job = PictureJob | FormJob | TextJob


class Note(Struct, kw_only=True, frozen=True):
    """Something the requester should know about a result, such as a LoRA that was not found."""

    type: Literal[
        "lora", "ti", "censorship", "source_image", "source_mask", "batch_index", "information"
    ]
    value: Literal[
        "download_failed", "parse_failed", "baseline_mismatch", "nsfw", "csam", "see_ref"
    ]
    ref: str | None = None


def information(told: str) -> Note:
    """A note in words."""
    return Note(type="information", value="see_ref", ref=told)


class Artifact(Struct, kw_only=True, frozen=True):
    """One result: the bytes of a file, its media type, the seed it was made from."""

    content: bytes
    media_type: str
    seed: int
    notes: list[Note] = field(default_factory=list)
    censored: bool = False


class JobFault(Exception):
    """This job cannot be done, and the engine is well. The message is the reason.

    `notes` tell the requester what was wrong with what they sent.
    """

    def __init__(self, reason: str, notes: list[Note] | None = None) -> None:
        super().__init__(reason)
        self.notes = notes or []


class EngineLost(JobFault):
    """This job cannot be done, for the engine is not there any more; it is to be opened anew."""


class Cancelled(Exception):
    """The job was given up because nobody waits for it any more."""


ReportProgress = Callable[[int, int], None]
"""Takes the steps done and the steps in all; at least one call a step, as the heartbeat."""


class Backend(Protocol):
    """An engine in its own process: blocking calls, from one thread, one job at a time."""

    def open(self) -> Capabilities:
        """Get ready. Raises RuntimeError when the engine cannot work at all."""
        ...

    def run(
        self, job: Job, report: ReportProgress, cancelled: Callable[[], bool]
    ) -> list[Artifact]:
        """Do the job: one artifact for each seed, in their order; one for a form or a text.

        Asks `cancelled` at least once a step. Raises JobFault or Cancelled; anything else that is
        raised counts as a fault of the job too.
        """
        ...


@runtime_checkable
class KeepsModels(Protocol):
    """An engine that can tell what it has in memory."""

    def in_memory(self) -> list[InMemory]:
        """What is loaded, the last used first."""
        ...
