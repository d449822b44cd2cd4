# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether work grows with its input as it should: in proportion, not with its square.

Compared is the processor time that this thread takes for an input and for one 16 times as long:
16 times as much is right, 256 times as much is the square. What takes next to nothing is not told
apart from noise.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

Input = TypeVar("Input")

SIZES = (4 << 10, 64 << 10, 1 << 20)
GROWTH_MAX = 64
NOISE_SECONDS = 0.002
_TRIES = 3


def cost(work: Callable[[], object]) -> float:
    """The seconds of this thread's processor that some work takes."""
    began = time.thread_time()
    work()
    return time.thread_time() - began


def grows_too_fast(
    work: Callable[[Input], object],
    make: Callable[[int], Input],
    sizes: tuple[int, ...] = SIZES,
) -> bool:
    """Whether work on what `make` makes of about `size` bytes grows faster than its size. Smaller
    sizes come first, so that the square of the largest is never waited for."""
    before = None
    for size in sizes:
        made = make(size)
        allowed = None if before is None else GROWTH_MAX * max(before, NOISE_SECONDS)
        for _ in range(_TRIES):
            now = cost(partial(work, made))
            if allowed is None or now <= allowed:
                break
        else:
            return True
        before = now
    return False
