# SPDX-License-Identifier: AGPL-3.0-or-later
from domain.test_matching import needs_of_all_sorts, offers_of_all_sorts
from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.domain.crew import Crew, members
from openhorde.server.domain.matching import fits
from openhorde.server.domain.needs import Needs, Offer

crews = st.lists(offers_of_all_sorts, max_size=8)


@given(crews, needs_of_all_sorts)
def test_a_crew_is_asked_as_each_of_its_workers_is(offers: list[Offer], needs: Needs) -> None:
    crew = Crew(offers)
    fitting = crew.fitting(needs)
    assert list(members(fitting, offers)) == [offer for offer in offers if fits(needs, offer)]
    assert fitting.bit_count() == sum(fits(needs, offer) for offer in offers)


@given(st.integers(0, 2**12 - 1))
def test_members_are_those_whose_bits_are_set(chosen: int) -> None:
    places = range(12)
    assert sum(1 << place for place in members(chosen, places)) == chosen


def test_nobody_fits_in_an_empty_crew() -> None:
    assert Crew(()).fitting(Needs(kind="image")) == 0
