# SPDX-License-Identifier: AGPL-3.0-or-later
"""What workers hear of what they cannot be given."""

from time import monotonic

import msgspec

from openhorde.server.actions.depth import Snapshot
from openhorde.server.actions.skipped import Skips
from openhorde.server.domain.needs import Needs, Offer
from openhorde.server.store.work import LaneLoad

NEEDS = {
    1: Needs(kind="image", models=("a",), sizes=(("pixels", 64),)),
    2: Needs(kind="image", models=("b",), sizes=(("pixels", 4096),), words=("nsfw",)),
}
OFFER = Offer(kind="image", models=frozenset({"a"}), sizes_max={"pixels": 1024}, worker_id="w1")


def snapshot(**requests: int) -> Snapshot:
    lanes = {
        int(lane[1:]): LaneLoad("image", number, number, 1) for lane, number in requests.items()
    }
    return Snapshot(monotonic(), lanes, {})


def test_each_worker_is_told_of_its_own() -> None:
    skips = Skips()
    waiting = snapshot(_1=2, _2=3)
    assert skips.tally(waiting, NEEDS.get, OFFER) == {"models": 3, "max_pixels": 3, "nsfw": 3}
    other = msgspec.structs.replace(OFFER, worker_id="w2", models=frozenset({"b"}))
    assert skips.tally(waiting, NEEDS.get, other) == {"models": 2, "max_pixels": 3, "nsfw": 3}


def test_a_worker_that_offers_more_is_counted_anew() -> None:
    skips = Skips()
    waiting = snapshot(_2=3)
    more = msgspec.structs.replace(OFFER, words=frozenset({"nsfw"}), sizes_max={"pixels": 5000})
    assert skips.tally(waiting, NEEDS.get, OFFER)["nsfw"] == 3
    assert skips.tally(waiting, NEEDS.get, more) == {"models": 3}


def test_lanes_that_are_not_known_yet_are_left_out() -> None:
    assert Skips().tally(snapshot(_9=1), NEEDS.get, OFFER) == {}


def test_the_queue_is_summed_up_once_for_all_who_ask_at_the_same_time() -> None:
    skips = Skips()
    waiting = snapshot(_1=2, _2=3)
    asked: list[int] = []

    def needs_of(lane: int) -> Needs | None:
        asked.append(lane)
        return NEEDS[lane]

    for name in ("w1", "w2", "w1"):
        skips.tally(waiting, needs_of, msgspec.structs.replace(OFFER, worker_id=name))
    assert asked == [1, 2]


def test_newer_numbers_are_told_as_soon_as_it_is_cheap() -> None:
    skips = Skips()
    assert skips.tally(snapshot(_2=3), NEEDS.get, OFFER)["nsfw"] == 3
    while skips.tally(snapshot(_2=4), NEEDS.get, OFFER)["nsfw"] != 4:
        pass
