# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whatever the wire allows and the shipped engines declare is served: no job of it faults.

The rows come from the wire's structs; what the engines do not declare is left out by the rule by
which a horde would: a request that does not fit the worker's own pop.
"""

import asyncio
import base64
from io import BytesIO
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from PIL import Image, ImageDraw
from worker.diffusers.conftest import STRANGERS_WARNINGS
from worker.grid import Row, covering, values

import openhorde.worker.demo
from openhorde.server.domain.kinds import image as image_rules
from openhorde.server.domain.kinds import text as text_rules
from openhorde.server.domain.kinds.table import KINDS
from openhorde.server.domain.matching import fits
from openhorde.server.domain.reference import Reference
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.requester import Requester
from openhorde.wire.image import ImageParams, Sampler, SourceProcessing
from openhorde.wire.requests import ImageRequest
from openhorde.wire.text import TextJob, TextParams, TextRequest
from openhorde.wire.work import ImageJob
from openhorde.worker.agent.api import HordeApi
from openhorde.worker.agent.assignment import Assignment
from openhorde.worker.agent.kinds import image, text
from openhorde.worker.agent.kinds.base import Offer
from openhorde.worker.agent.sources import Sources
from openhorde.worker.backends.base import Artifact, Backend, Capabilities
from openhorde.worker.settings import WorkerSettings, load_settings

pytestmark = [pytest.mark.filterwarnings(warning) for warning in STRANGERS_WARNINGS]

SHIPPED = Path(openhorde.worker.demo.__file__).parent / "models"
RICH = Requester(user_id=5, alias="rich#5", balance_milli=10**9, trusted=True)
REFERENCE = Reference.from_json({})
PROMPT = "a red circle on a blue background"


@pytest.fixture(scope="module")
def settings() -> WorkerSettings:
    return load_settings(
        None,
        None,
        {
            "models_folder": SHIPPED,
            "models_to_load": ["openhorde_shapes"],
            "device": "cpu",
            "cpu_threads": 1,
            "max_power": 288,
            "max_length": 0,
            "max_batch": 20,
            "kinds": ["image", "text"],
        },
    )


def encoded(picture: Image.Image) -> str:
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def drawn(mode: str, size: tuple[int, int], ground: Any, spot: Any) -> str:
    picture = Image.new(mode, size, ground)
    ImageDraw.Draw(picture).ellipse((0, 0, size[0] // 2, size[1] // 2), spot)
    return encoded(picture)


WITH_HOLES = drawn("RGBA", (33, 77), (0, 0, 255, 255), (255, 0, 0, 0))
SOURCES = [
    None,
    drawn("RGB", (100, 64), "blue", "red"),
    WITH_HOLES,
    drawn("L", (640, 128), 30, 220),
    drawn("RGB", (1, 1), "blue", "red"),
]
MASKS = [
    None,
    drawn("L", (33, 77), 0, 255),
    drawn("RGB", (9, 400), "black", "white"),
    drawn("L", (1, 1), 255, 255),
]
SIDES = [64, 640, 128, 448]
PICTURES: dict[str, list[Any]] = {
    "cfg_scale": [5.0, 0.0, 1.0, 1.01, 100.0],
    "denoising_strength": [None, 0.01, 0.5, 1.0],
    "hires_fix_denoising_strength": [None, 0.01],
    "clip_skip": [None, 1, 12],
    "seed_variation": [None, 1000],
    "facefixer_strength": [None],
    "seed": ["7", None, "", "a text 🟥", "-5", str(2**32 + 1), "9" * 5000],
    "width": SIDES,
    "height": SIDES,
    "steps": [2, 1, 7, 500, None],
    "n": [1, 3],
    "post_processing": [[]],
    "loras": [[]],
    "tis": [[], [{"name": "unheard-of", "inject_ti": "prompt", "strength": 1.0}]],
    "extra_texts": [None],
    "special": [None],
}
"""Of fields whose types do not say, or whose edges alone would be too few or too dear."""


def fitting_row(row: Row, offer: Any) -> ImageRequest | None:
    """The request of a row as a horde gives it out; None where it is refused, or for others."""
    given = {"prompt": row["prompt"], "models": [], "r2": True}
    for name in ("source_image", "source_mask", "source_processing"):
        given[name] = row[name]
    params = {name: row[name] for name in ImageParams.__struct_fields__}
    try:
        request = msgspec.convert(given | {"params": params}, ImageRequest)
        request, _ = KINDS["image"].check(request, RICH, REFERENCE)
    except (Refusal, msgspec.ValidationError):
        return None
    unmasked = request.source_mask is None and request.source_image not in (None, WITH_HOLES)
    if request.source_processing == "inpainting" and unmasked:
        return None
    needs = image_rules.needs(request, RICH, REFERENCE, price_each_milli=1)
    return request if fits(needs, offer) else None


def run(
    backend: Backend, module: Any, settings: WorkerSettings, given: Assignment
) -> list[Artifact]:
    async def prepared() -> Any:
        api = HordeApi(settings)
        try:
            return await module.prepare(Sources(api), settings, given)
        finally:
            await api.close()

    return backend.run(asyncio.run(prepared()), lambda step, steps: None, lambda: False)


@pytest.fixture(scope="module")
def drawing(settings: WorkerSettings) -> tuple[Backend, Capabilities]:
    from openhorde.worker.backends.diffusers.backend import DiffusersBackend

    backend = DiffusersBackend(settings)
    return backend, backend.open()


def test_every_picture_that_is_declared_is_drawn(
    settings: WorkerSettings, drawing: tuple[Backend, Capabilities]
) -> None:
    backend, capabilities = drawing
    pop = image.pop_body(settings, offer_of(capabilities))
    offer = image_rules.offer(
        pop,
        worker_id="w",
        models=pop.models,
        trusted_owner=True,
        speed_things_per_second=1e7,
        reference=REFERENCE,
    )
    choices = values(ImageParams, PICTURES) | {
        "prompt": [PROMPT, "### blurred", "(((a cat:1.4)), [[dog" * 300],
        "source_processing": list(get_args(SourceProcessing)),
        "source_image": SOURCES,
        "source_mask": MASKS,
    }
    plain = {name: some[0] for name, some in choices.items()}
    alone = {
        name: [one for one in some if fitting_row(plain | _with(name, one), offer) is not None]
        for name, some in choices.items()
    }
    assert set(alone["sampler_name"]) == set(get_args(Sampler)) == set(capabilities.samplers)
    served = set()
    for row in covering(alone):
        request = fitting_row(row, offer)
        if request is None:
            continue
        check_pictures(run(backend, image, settings, picture_assignment(request)), request)
        served |= {(name, repr(one)) for name, one in row.items()}
    assert served >= {(name, repr(one)) for name, some in alone.items() for one in some}


@pytest.mark.parametrize(
    ("width", "height"),
    [(64, 3072), (3072, 64), (3072, 3072), (1024, 1024), (512, 512), (768, 512), (576, 1024)],
)
def test_every_size_that_is_declared_is_drawn_and_said(
    settings: WorkerSettings, drawing: tuple[Backend, Capabilities], width: int, height: int
) -> None:
    request = ImageRequest(prompt=PROMPT, params=ImageParams(width=width, height=height, steps=500))
    assert width * height <= image.pop_body(settings, offer_of(drawing[1])).max_pixels
    artifacts = run(drawing[0], image, settings, picture_assignment(request))
    check_pictures(artifacts, request)
    told = " ".join(note.ref or "" for note in artifacts[0].notes)
    assert f"enlarged to {width}x{height}" in told
    assert "drawn in 50" in told
    assert "shapes only" not in told


def check_pictures(artifacts: list[Artifact], request: ImageRequest) -> None:
    assert len(artifacts) == request.params.n
    for one in artifacts:
        with Image.open(BytesIO(one.content)) as picture:
            assert picture.size == (request.params.width, request.params.height)


def test_a_prompt_about_anything_else_is_answered_with_a_hint(
    settings: WorkerSettings, drawing: tuple[Backend, Capabilities]
) -> None:
    for prompt, hints in (("a lighthouse at dusk", 1), ("two red CIRCLES", 0), ("ein Hund", 1)):
        request = ImageRequest(prompt=prompt, params=ImageParams(width=64, height=64, steps=2))
        (artifact,) = run(drawing[0], image, settings, picture_assignment(request))
        told = [note.ref for note in artifact.notes if "shapes only" in (note.ref or "")]
        assert len(told) == hints, prompt


def _with(name: str, value: Any) -> Row:
    """The value, with a source for what makes no sense without one."""
    return {"source_image": WITH_HOLES, name: value} if name == "source_mask" else {name: value}


def offer_of(capabilities: Capabilities) -> Offer:
    return Offer(name="worker", capabilities=capabilities, engines=1, places=1)


def picture_assignment(request: ImageRequest) -> Assignment:
    ids = [str(number) for number in range(request.params.n)]
    seed = image_rules.base_seed(request.params.seed, 7)
    return Assignment(
        kind="image",
        ids=ids,
        uploads=[None] * len(ids),
        model="openhorde_shapes",
        ttl_seconds=150,
        wire=ImageJob(
            id=ids[0],
            ids=ids,
            payload=image_rules.payload(request, seed=seed, n_iter=len(ids)),
            source_image=request.source_image,
            source_mask=request.source_mask,
            source_processing=request.source_processing,
        ),
    )


TEXTS: dict[str, list[Any]] = {
    "n": [1],
    "max_length": [16, 80],
    "max_context_length": [2048, 80, 8192],
    "temperature": [None, 0.0, 1e-300, 0.7, 5.0],
    "sampler_order": [None, [6, 0, 1, 3, 4, 2, 5]],
    "stop_sequence": [None, ["."], ["\n", "\N{SNOWMAN}", " "]],
}
TEXT_PROMPTS = [
    "Once upon a time there was a red circle.",
    "日本語 🟥",
    "The blue star slept. " * 900,
]


@pytest.fixture(scope="module")
def writing(settings: WorkerSettings) -> tuple[Backend, Capabilities]:
    from openhorde.worker.backends.transformers.backend import TransformersBackend

    backend = TransformersBackend(msgspec.structs.replace(settings, kinds=["text"]))
    return backend, backend.open()


def written(
    settings: WorkerSettings, writing: tuple[Backend, Capabilities], prompt: str, params: TextParams
) -> Artifact | None:
    """What comes of a request; None where the horde refuses it, or means it for others."""
    backend, capabilities = writing
    pop = text.pop_body(settings, offer_of(capabilities))
    offer = text_rules.offer(
        pop,
        worker_id="w",
        models=pop.models,
        trusted_owner=True,
        speed_things_per_second=100.0,
        reference=REFERENCE.texts,
    )
    try:
        request, _ = KINDS["text"].check(TextRequest(prompt=prompt, params=params), RICH, REFERENCE)
    except Refusal:
        return None
    if not fits(text_rules.needs(request, RICH, price_each_milli=1), offer):
        return None
    wire = TextJob(id="1", ids=["1"], payload=text_rules.payload(request))
    given = Assignment(
        kind="text", ids=["1"], uploads=[None], model=pop.models[0], ttl_seconds=150, wire=wire
    )
    (artifact,) = run(backend, text, settings, given)
    assert artifact.media_type == "text/plain"
    artifact.content.decode()
    return artifact


def test_every_text_that_is_declared_is_written(
    settings: WorkerSettings, writing: tuple[Backend, Capabilities]
) -> None:
    choices = values(TextParams, TEXTS) | {"prompt": TEXT_PROMPTS}
    served = set()
    for row in covering(choices):
        given = {name: value for name, value in row.items() if name != "prompt"}
        params = msgspec.convert(
            {name: value for name, value in given.items() if value is not None}, TextParams
        )
        if written(settings, writing, row["prompt"], params) is not None:
            served |= {(name, repr(one)) for name, one in row.items()}
    assert served >= {(name, repr(one)) for name, some in choices.items() for one in some}


@pytest.mark.parametrize(
    ("length", "context"),
    [(16, 80), (64, 80), (79, 80), (80, 80), (512, 2048), (768, 6144), (1024, 1024), (1024, 8192)],
)
@pytest.mark.parametrize("prompt", TEXT_PROMPTS)
def test_every_length_that_is_declared_is_written(
    settings: WorkerSettings,
    writing: tuple[Backend, Capabilities],
    prompt: str,
    length: int,
    context: int,
) -> None:
    params = TextParams(max_length=length, max_context_length=context)
    artifact = written(settings, writing, prompt, params)
    assert artifact is not None
    assert artifact.content.strip()
