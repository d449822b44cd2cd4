# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is shown of a worker, and to whom."""

from collections.abc import Callable
from typing import Any, Final, Literal

from openhorde.server.domain.bridges import capabilities
from openhorde.server.domain.kinds.table import KINDS
from openhorde.server.domain.shown_text import shown_text
from openhorde.server.store.workers import ShownWorker
from openhorde.wire.workers import WorkerDetails, WorkerKudos

WorkerType = Literal["image", "text", "interrogation"]

KIND_OF_TYPE: dict[WorkerType, str] = {"image": "image", "text": "text", "interrogation": "alchemy"}
_TYPE_OF_KIND: dict[str, WorkerType] = {kind: word for word, kind in KIND_OF_TYPE.items()}
AGENT_LENGTH_MAX = 1000
_MEGA = 1_000_000


def show_worker(worker: ShownWorker, moderator: bool) -> WorkerDetails:
    """A worker as everybody sees it, or as a moderator does.

    The owner shows where the owner's workers are public; the owner's own key shows nothing more.
    """
    offer = worker.offer
    shown = WorkerDetails(
        type=_TYPE_OF_KIND[worker.kind],
        name=worker.name,
        id=str(worker.id),
        online=worker.online,
        requests_fulfilled=worker.requests_fulfilled,
        kudos_rewards=(worker.generated_milli + worker.uptime_milli) / 1000,
        kudos_details=WorkerKudos(
            generated=worker.generated_milli / 1000, uptime=worker.uptime_milli // 1000
        ),
        performance=KINDS[worker.kind].performance(worker.speed),
        threads=worker.threads,
        uptime=worker.uptime_seconds,
        maintenance_mode=worker.maintenance,
        nsfw=bool(offer.get("nsfw", False)),
        trusted="trusted" in worker.owner_roles,
        flagged="flagged" in worker.owner_roles,
        uncompleted_jobs=worker.uncompleted_jobs,
        bridge_agent=shown_text(worker.bridge_agent, AGENT_LENGTH_MAX),
        models=list(worker.models),
        info=worker.info,
    )
    _SHOW[worker.kind](shown, worker, offer)
    if worker.public_workers or moderator:
        shown.owner = f"{worker.owner_name}#{worker.user_id}"
        shown.messages = []
    if moderator:
        shown.ipaddr = worker.address
        shown.contact = worker.owner_contact
        shown.paused = worker.paused
        shown.suspicious = worker.suspicion
    return shown


def _show_image(shown: WorkerDetails, worker: ShownWorker, offer: dict[str, Any]) -> None:
    able = capabilities(worker.bridge_agent).words
    shown.max_pixels = offer.get("max_pixels")
    # Whole ones: the official SDK takes no fractions here.
    shown.megapixelsteps_generated = worker.things // _MEGA
    shown.img2img = bool(offer.get("allow_img2img")) and "img2img" in able
    shown.painting = bool(offer.get("allow_painting")) and "inpainting" in able
    shown.post_processing = bool(offer.get("allow_post_processing"))
    shown.lora = bool(offer.get("allow_lora"))
    shown.controlnet = bool(offer.get("allow_controlnet"))
    shown.sdxl_controlnet = bool(offer.get("allow_sdxl_controlnet"))


def _show_alchemy(shown: WorkerDetails, worker: ShownWorker, offer: dict[str, Any]) -> None:
    shown.models = []
    shown.forms = list(worker.models)


def _show_text(shown: WorkerDetails, worker: ShownWorker, offer: dict[str, Any]) -> None:
    shown.max_length = offer.get("max_length")
    shown.max_context_length = offer.get("max_context_length")
    shown.tokens_generated = worker.things


_SHOW: Final[dict[str, Callable[[WorkerDetails, ShownWorker, dict[str, Any]], None]]] = {
    "image": _show_image,
    "alchemy": _show_alchemy,
    "text": _show_text,
}
"""What is shown besides of each kind."""
