# SPDX-License-Identifier: AGPL-3.0-or-later
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.domain.bridges import (
    CAPABILITIES,
    Agent,
    bridge_multiplier,
    capabilities,
    parse,
    wants_base64_sources,
)
from openhorde.server.domain.needs import POST_PROCESSORS, SAMPLERS

REGEN = "AI Horde Worker reGen"
OLD = "AI Horde Worker"


@pytest.mark.parametrize(
    ("text", "agent"),
    [
        ("AI Horde Worker reGen:10.1.1:https://example.org", Agent(REGEN, 10)),
        ("AI Horde Worker:24:https://example.org", Agent(OLD, 24)),
        ("AI Horde Worker~unknown:24:https://example.org", Agent(OLD, 24)),
        ("AI Horde Worker~aphrodite~kai:24:x", Agent(OLD, 24)),
        ("AI Horde Worker reGen:13.0.0-rc1:x", Agent(REGEN, 12)),
        ("AI Horde Worker reGen:13.1-rc1:x", Agent(REGEN, 13)),
        ("AI Horde Worker reGen:13.0.0+build.5:x", Agent(REGEN, 13)),
        ("openhorde worker:0.1.0:x", Agent("openhorde worker", 0)),
        ("AI Horde Worker reGen:newest:x", Agent("unknown", 0)),
        ("AI Horde Worker reGen", Agent("unknown", 0)),
        ("unknown:0:unknown", Agent("unknown", 0)),
        ("", Agent("unknown", 0)),
    ],
)
def test_agents_are_parsed(text: str, agent: Agent) -> None:
    assert parse(text) == agent


@given(st.text(max_size=60))
def test_any_text_is_an_agent(text: str) -> None:
    assert capabilities(text).samplers
    assert bridge_multiplier(text) in {0.75, 0.9, 1.0}
    assert isinstance(wants_base64_sources(text), bool)


@pytest.mark.parametrize(
    ("name", "since", "word"),
    [
        (REGEN, 1, "controlnet"),
        (REGEN, 2, "lora"),
        (REGEN, 3, "lora_versions"),
        (REGEN, 5, "extra_source_images"),
        (REGEN, 6, "stable_cascade_2pass"),
        (REGEN, 7, "qr_code"),
        (REGEN, 8, "layer_diffuse"),
        (REGEN, 9, "flux"),
        (REGEN, 13, "RestoreFormer"),
        (OLD, 3, "img2img"),
        (OLD, 8, "r2"),
        (OLD, 14, "r2_source"),
        (OLD, 22, "lora"),
        (OLD, 24, "textual_inversion"),
        ("SD-WebUI Stable Horde Worker Bridge", 3, "r2_source"),
        ("HordeAutoWebBridge", 2, "tiling"),
    ],
)
def test_capabilities_start_at_a_version_and_stay(name: str, since: int, word: str) -> None:
    assert word not in capabilities(f"{name}:{since - 1}:x").words
    assert word in capabilities(f"{name}:{since}:x").words
    assert word in capabilities(f"{name}:{since + 50}:x").words


def test_unknown_agents_can_do_nothing_but_sample_as_the_old_worker_does() -> None:
    unknown = capabilities("Somebody's worker:3:x")
    assert unknown.words == frozenset()
    old = capabilities("AI Horde Worker:23:x")
    assert (unknown.samplers, unknown.samplers_karras) == (old.samplers, old.samplers_karras)


def test_samplers() -> None:
    assert capabilities(f"{REGEN}:1:x").samplers == frozenset()
    assert capabilities(f"{REGEN}:2:x").samplers_karras == set(SAMPLERS) - {"lcm"}
    assert capabilities(f"{REGEN}:3:x").samplers_karras == set(SAMPLERS)
    old = capabilities(f"{OLD}:24:x")
    assert old.samplers - old.samplers_karras == {"DDIM"}
    assert "k_dpmpp_sde" not in capabilities(f"{OLD}:11:x").samplers
    assert "k_dpmpp_sde" in capabilities(f"{OLD}:12:x").samplers
    web = capabilities("HordeAutoWebBridge:1:x")
    assert "k_euler_a" in web.samplers
    assert "k_euler_a" not in web.samplers_karras


def test_every_sampler_of_the_table_is_on_the_wire() -> None:
    for name in CAPABILITIES:
        assert capabilities(f"{name}:99:x").samplers <= set(SAMPLERS)


def test_our_own_agent() -> None:
    own = capabilities("openhorde worker:0.1.0:https://example.org")
    assert own.words == {
        *("r2", "r2_source", "img2img", "inpainting", "karras", "clip_skip", "tiling"),
        *("hires_fix", "textual_inversion", "lora", "lora_versions", "inpaints_with_any_model"),
        *("controlnet", "image_is_control", "return_control_map", "post-processing"),
        *(name for name in POST_PROCESSORS if name != "CodeFormers"),
    }
    assert own.samplers == own.samplers_karras == set(SAMPLERS)


@pytest.mark.parametrize(
    ("agent", "factor"),
    [
        ("AI Horde Worker reGen:13:x", 1.0),
        ("AI Horde Worker reGen:14.2:x", 1.0),
        ("AI Horde Worker reGen:12.9.9:x", 0.9),
        ("AI Horde Worker:24:x", 1.0),
        ("AI Horde Worker~unknown:24:x", 1.0),
        ("AI Horde Worker:23:x", 0.9),
        ("openhorde worker:0.1.0:x", 1.0),
        ("HordeAutoWebBridge:9:x", 0.75),
        ("unknown:0:unknown", 0.75),
    ],
)
def test_what_an_agent_is_worth(agent: str, factor: float) -> None:
    assert bridge_multiplier(agent) == factor


def test_who_wants_sources_inline() -> None:
    assert wants_base64_sources("AI Horde Worker:24:x")
    assert wants_base64_sources("AI Horde Worker~unknown:24:x")
    assert wants_base64_sources("unknown:0:unknown")
    assert not wants_base64_sources("AI Horde Worker reGen:10.1.1:x")
    assert not wants_base64_sources("openhorde worker:0.1.0:x")
