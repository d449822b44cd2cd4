# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is known about models: their family (baseline), their needs and which names are known."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct, field

from openhorde.server.domain.model_names import OWNER_MARK, owner_of
from openhorde.server.domain.shown_text import is_plain
from openhorde.server.domain.text_reference import TextReference

DEFAULT_BASELINE: Final = "stable diffusion 1"
EVERY_NAME: Final = "*"
"""A reference that holds this name knows every name: for hordes that serve their own models."""

MODELS_MAX: Final = 300
SPECIAL_MARK: Final = "horde_special"

KNOWN_BASELINES: Final = frozenset(
    {
        DEFAULT_BASELINE,
        "stable diffusion 2",
        "stable diffusion 2 512",
        "stable_diffusion_xl",
        "stable_cascade",
        "flux_1",
        "qwen_image",
        "z_image_turbo",
    }
)
NAME_TAGS: Final = {
    "[SDXL]": "stable_diffusion_xl",
    "[Flux]": "flux_1",
    "[Qwen]": "qwen_image",
    "[ZModel]": "z_image_turbo",
    "[ZImage]": "z_image_turbo",
}
"""What an unknown name says about its family (rules 2.7)."""

BASELINE_MULTIPLIERS: Final = {
    "stable_diffusion_xl": 2,
    "stable_cascade": 4,
    "flux_1": 8,
    "z_image_turbo": 8,
    "qwen_image": 12,
}
"""What a job earns compared with one of the oldest family (rules 3.2)."""


class ModelFacts(Struct, frozen=True, kw_only=True):
    """One model. `requirements` holds bounds such as `max_steps`, as the reference spells them."""

    name: str
    baseline: str = DEFAULT_BASELINE
    nsfw: bool = False
    inpainting: bool = False
    type: str = ""
    requirements: dict[str, Any] = field(default_factory=dict)


class Reference:
    """The models that this horde knows. Immutable; a refreshed reference is a new object."""

    __slots__ = ("_facts", "known", "texts")

    known: frozenset[str] | None
    """The known names of a known family; None when every name is known."""

    texts: TextReference
    """What is known about text models, which are described elsewhere."""

    def __init__(
        self,
        facts: Sequence[ModelFacts],
        *,
        every_name: bool = False,
        texts: TextReference | None = None,
    ) -> None:
        self._facts = {fact.name: fact for fact in facts}
        known = frozenset(fact.name for fact in facts if fact.baseline in KNOWN_BASELINES)
        self.known = None if every_name else known
        self.texts = texts or TextReference({})

    @classmethod
    def from_json(cls, data: Mapping[str, Any], texts: TextReference | None = None) -> "Reference":
        """A reference from the public form: name to {baseline, nsfw, type, inpainting, ...}.

        Unknown keys are ignored, a missing or null one takes its default. The name `*` makes
        every name known. `texts` describes the text models.
        """
        facts = [_facts(name, entry or {}) for name, entry in data.items() if name != EVERY_NAME]
        return cls(facts, every_name=EVERY_NAME in data, texts=texts)

    def facts(self, name: str) -> ModelFacts:
        """What is known about `name`; for an unknown one, what the name itself says."""
        return self._facts.get(name) or _unlisted(name)

    def baseline(self, name: str) -> str:
        """The model's family."""
        return self.facts(name).baseline

    def is_known(self, name: str) -> bool:
        """Whether any worker may serve `name`."""
        return self.known is None or name in self.known

    def multiplier(self, name: str) -> int:
        """What a job of this model earns, as a multiple of the base price (rules 3.2)."""
        return BASELINE_MULTIPLIERS.get(self.baseline(name), 1)

    def accept(
        self, declared: Sequence[str], *, customizer: bool, special_alias: str | None
    ) -> tuple[str, ...]:
        """The models that a worker may serve out of those it declares (rules 1.3).

        The first 300 count. `special_alias` is the owner's alias when the owner is special, else
        None: a `name::alias` model is accepted only from its alias. Unknown names are dropped
        unless the owner is a customizer, and always those that cannot be shown as they are. When
        nothing is left the caller refuses the worker.
        """
        accepted: dict[str, None] = {}
        for name in declared[:MODELS_MAX]:
            if OWNER_MARK in name or SPECIAL_MARK in name:
                allowed = special_alias is not None and owner_of(name) == special_alias
            else:
                allowed = customizer or self.is_known(name)
            if allowed and is_plain(name):
                accepted[name] = None
        return tuple(accepted)


def is_special(model: str) -> bool:
    """Whether the model is reserved for special users."""
    return SPECIAL_MARK in model


@lru_cache(maxsize=10_000)
def _unlisted(name: str) -> ModelFacts:
    tags = (baseline for tag, baseline in NAME_TAGS.items() if tag in name)
    return ModelFacts(
        name=name,
        baseline=next(tags, DEFAULT_BASELINE),
        inpainting="inpaint" in name.lower(),
    )


def _facts(name: str, entry: Mapping[str, Any]) -> ModelFacts:
    return ModelFacts(
        name=name,
        baseline=entry.get("baseline") or DEFAULT_BASELINE,
        nsfw=bool(entry.get("nsfw")),
        inpainting=bool(entry.get("inpainting")),
        type=entry.get("type") or "",
        requirements={
            key: value
            for key, value in (entry.get("requirements") or {}).items()
            if value is not None
        },
    )
