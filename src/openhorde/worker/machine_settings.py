# SPDX-License-Identifier: AGPL-3.0-or-later
"""The settings of the machine: how much it does at once, with what, and where its models are."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta
from msgspec import field as default

from openhorde.worker.engine_settings import EngineSettings, Name
from openhorde.worker.fields import NOW


class MachineSettings(EngineSettings, kw_only=True, frozen=True):
    """See WorkerSettings."""

    max_threads: Annotated[
        int,
        Meta(
            ge=1,
            le=16,
            description="how many engines of each backend run side by side, each its own process",
        ),
    ] = 1
    threads_on_servers: Annotated[
        int,
        Meta(
            ge=0,
            le=16,
            description="how many jobs comfyui, openai and koboldcpp are given at once; "
            "0: as max_threads says",
        ),
    ] = 0
    queue_size: Annotated[
        int,
        Meta(
            ge=0,
            le=16,
            description="how many jobs of each kind to fetch ahead while the engines are busy",
            extra=NOW,
        ),
    ] = 1
    device: Annotated[
        str,
        Meta(
            pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
            description="where to draw: auto, cpu, mps, cuda or cuda:N",
            extra={"words": "be auto, cpu, mps, cuda or cuda:N"},
        ),
    ] = "auto"
    cpu_threads: Annotated[
        int, Meta(ge=0, le=256, description="CPU threads for each engine; 0 leaves it to torch")
    ] = 0
    models_folder: Annotated[
        Path, Meta(description="holds diffusers folders and .safetensors checkpoints")
    ] = Path("models")
    loras_folder: Annotated[
        Path | None, Meta(description="holds LoRA .safetensors files, named as they are asked for")
    ] = None
    embeddings_folder: Annotated[
        Path | None, Meta(description="holds textual inversion .safetensors files")
    ] = None
    models_in_memory: Annotated[
        int,
        Meta(ge=0, le=64, description="how many models an engine keeps; 0: as memory allows"),
    ] = 0
    gpu_memory_mib: Annotated[
        int, Meta(ge=0, le=4_194_304, description="GPU memory for models; 0: all but a reserve")
    ] = 0
    ram_memory_mib: Annotated[
        int, Meta(ge=0, le=16_777_216, description="RAM for models; 0: all but a reserve")
    ] = 0
    dynamic_models: Annotated[
        bool,
        Meta(
            description="offer only the models in greatest demand that fit into memory together",
            extra=NOW,
        ),
    ] = False
    pinned_models: Annotated[
        list[Name], Meta(description="models to keep in memory whatever else is asked for")
    ] = default(default_factory=list)
    cpu_offload: Annotated[
        bool,
        Meta(description="draw with models too large for the GPU by lending it one part at a time"),
    ] = True
    spool_folder: Annotated[
        Path | None,
        Meta(
            description="keeps finished results until they are delivered, should the worker be "
            "killed; none: in cache_folder, else where this system keeps a user's state"
        ),
    ] = None
    spool_mib_max: Annotated[
        int,
        Meta(
            ge=0,
            le=16_384,
            description="how much of that is kept, the oldest is dropped first; 0: nothing is kept",
        ),
    ] = 256
