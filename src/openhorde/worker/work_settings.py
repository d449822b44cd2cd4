# SPDX-License-Identifier: AGPL-3.0-or-later
"""The settings that say which work is taken, and how large."""

from typing import Annotated

from msgspec import Meta
from msgspec import field as default

from openhorde.worker.engine_settings import Name
from openhorde.worker.fields import NOW
from openhorde.worker.machine_settings import MachineSettings


class WorkSettings(MachineSettings, kw_only=True, frozen=True):
    """See WorkerSettings."""

    max_power: Annotated[
        int,
        Meta(
            ge=1,
            le=512,
            description="the largest picture, in units of 64 * 64 * 8 pixels (8 is 512x512, 32 is "
            "1024x1024); for alchemy, in squares of 512 pixels",
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
    models_to_load: Annotated[
        list[Name], Meta(description="the models to offer; empty offers every model found")
    ] = default(default_factory=list)
    models_to_skip: Annotated[
        list[Name], Meta(description="models never to offer, of pictures or text", extra=NOW)
    ] = default(default_factory=list)
    stand_ins: Annotated[
        list[Annotated[str, Meta(pattern=r"^[^=]{3,255}=[^=]{3,255}$")]],
        Meta(
            description="names to offer a model of pictures under while no other worker of the "
            "horde has them, as name=model",
            extra={**NOW, "words": "list name=model"},
        ),
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
    censorlist: Annotated[
        list[str],
        Meta(description="words; a decent request whose prompt holds one is censored, not drawn"),
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
        bool,
        Meta(
            description="accept pictures drawn to the outlines of another one (ControlNet)",
            extra=NOW,
        ),
    ] = True
    allow_sdxl_controlnet: Annotated[
        bool, Meta(description="accept ControlNet with SDXL models too", extra=NOW)
    ] = False
    allow_lora: Annotated[
        bool, Meta(description="accept LoRAs, found in loras_folder", extra=NOW)
    ] = False
    require_upfront_kudos: Annotated[
        bool,
        Meta(description="only take requests whose kudos are available in advance", extra=NOW),
    ] = False
    extra_slow_worker: Annotated[
        bool,
        Meta(
            description="a very slow worker: only takes requests that may last three times as long",
            extra=NOW,
        ),
    ] = False
    limit_max_steps: Annotated[
        bool,
        Meta(description="leave out requests with more steps than their model needs", extra=NOW),
    ] = False
