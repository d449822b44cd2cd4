# SPDX-License-Identifier: AGPL-3.0-or-later
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.domain.text_reference import MODELS_MAX, TextReference, spellings

REFERENCE = TextReference.from_json(
    {
        "org/Writer-7B": {"parameters": 7_000_000_000, "baseline": "llama"},
        "Writer-7B": {"parameters": 7e9},
        "Large": {"parameters": 70_600_000_000},
        "unsized": {"description": "no parameters"},
        "null": None,
        "odd": {"parameters": "7B"},
        "flag": {"parameters": True},
        "negative": {"parameters": -1},
        "endless": {"parameters": float("inf")},
    }
)


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("org/Writer-7B", 7.0),
        ("Writer-7B", 7.0),
        ("org/Writer-7B::somebody#1", 7.0),
        ("Writer-7B.Q4_K_M", 7.0),
        ("Writer-7B-Q8_0", 7.0),
        ("Writer-7B.i1-Q4_K_M", 7.0),
        ("Writer-7B-IQ4_XS", 7.0),
        ("Writer-7B-GPTQ-Int4", 7.0),
        ("Writer-7B,Q5_K_M.gguf", 7.0),
        ("koboldcpp/Writer-7B", 7.0),
        ("koboldcpp/Writer-7B.Q6_K", 7.0),
        ("aphrodite/org/Writer-7B", 7.0),
        ("koboldcpp/Large-Q2_K::owner#3", 70.6),
        ("writer-7b", None),
        ("Writer-7B-q4_k_m", None),
        ("Writer-7B-Q1_0", None),
        ("Writer", None),
        ("Stranger-7B", None),
        ("unsized", None),
        ("null", None),
        ("odd", None),
        ("flag", None),
        ("negative", None),
        ("endless", None),
        ("", None),
    ],
)
def test_sizes_are_found_under_the_names_that_workers_use(
    name: str, billions: float | None
) -> None:
    assert REFERENCE.billions(name) == billions
    assert REFERENCE.is_known(name) is (billions is not None)


def test_a_name_in_the_reference_is_never_cut() -> None:
    reference = TextReference({"Writer": 7.0, "Writer-Q4": 4.0})
    assert reference.billions("Writer-Q4") == 4.0
    assert reference.billions("Writer-Q5") == 7.0


@given(st.text(max_size=80))
def test_any_name_has_spellings(name: str) -> None:
    found = spellings(name)
    assert len(set(found)) == len(found)
    assert found[0] == name.partition("::")[0]


def test_any_name_may_be_served_but_a_branded_one_by_its_owner_only() -> None:
    declared = ["anything", "mine::bob#2", "theirs::alice#1", "anything", "empty::"]
    assert REFERENCE.accept(declared, alias="bob#2") == ("anything", "mine::bob#2")
    assert REFERENCE.accept(["theirs::alice#1"], alias="bob#2") == ()


def test_the_first_models_count() -> None:
    declared = [f"model {number}" for number in range(MODELS_MAX + 5)]
    assert len(REFERENCE.accept(declared, alias="bob#2")) == MODELS_MAX
