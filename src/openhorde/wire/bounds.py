# SPDX-License-Identifier: AGPL-3.0-or-later
"""How long texts and lists may be that come from outside.

These bounds stand before all rules, so that nothing unbounded is ever looked at. Where a rule has
a smaller one, with a refusal of its own or by cutting what is too long, the bound here leaves room.
"""

from typing import Annotated, Final

from msgspec import Meta

PICTURE_CHARACTERS_MAX: Final = 24 << 20
PICTURES_MAX: Final = 20
PROMPT_CHARACTERS_MAX: Final = 100_000
TEXT_CHARACTERS_MAX: Final = 12 << 20
MODELS_MAX: Final = 1_000

Id = Annotated[str, Meta(max_length=100)]
AccountName = Annotated[str, Meta(max_length=255, description="name#id, or an id")]
ModelName = Annotated[str, Meta(max_length=255)]
Key = Annotated[str, Meta(max_length=100)]
Picture = Annotated[
    str, Meta(min_length=1, max_length=PICTURE_CHARACTERS_MAX, description="base64 or a URL")
]
ModelNames = Annotated[list[ModelName], Meta(max_length=MODELS_MAX)]
WorkerNames = Annotated[
    list[Annotated[str, Meta(max_length=255)]],
    Meta(max_length=1_000, description="ids or names; the first five count"),
]
OfferedName = Annotated[str, Meta(min_length=1, max_length=1_000)]
PriorityNames = Annotated[
    list[AccountName], Meta(max_length=1_000, description="whose requests come first")
]
Blacklist = Annotated[
    list[Annotated[str, Meta(max_length=1_000)]],
    Meta(max_length=5_000, description="the first 15 characters of the first 200 words count"),
]
OfferedWords = Annotated[list[Annotated[str, Meta(max_length=255)]], Meta(max_length=200)]
