# SPDX-License-Identifier: AGPL-3.0-or-later
"""Settings of AI-Horde-Worker and reGen that are not needed here, and why not."""

from typing import Final

_MEMORY = "memory is measured; gpu_memory_mib, ram_memory_mib and models_in_memory bound it"
_CONSOLE = "the log goes to the console; horde worker panel shows and steers the worker"
_MODELS = "nothing is downloaded unasked; the models in models_folder are offered"
_DYNAMIC = "dynamic_models finds out how many models fit"
_PACE = "the worker finds out how much to fetch ahead; queue_size bounds it"
_TIME = "each job says how long it may take"
_PROCESSES = "an engine that hangs or dies is started again"
_ADAPTERS = "set allow_lora_downloads, download_hosts and cache_folder to fetch LoRAs"

NOT_NEEDED: Final = {
    "vram_to_leave_free": _MEMORY,
    "ram_to_leave_free": _MEMORY,
    "disable_disk_cache": _MEMORY,
    "load_large_models": _MEMORY,
    "high_memory_mode": _MEMORY,
    "very_high_memory_mode": _MEMORY,
    "unload_models_from_vram": _MEMORY,
    "unload_models_from_vram_often": _MEMORY,
    "very_fast_disk_mode": _MEMORY,
    "low_vram_mode": _MEMORY,
    "stats_output_frequency": _CONSOLE,
    "disable_terminal_ui": _CONSOLE,
    "enable_terminal_ui": _CONSOLE,
    "limited_console_messages": _CONSOLE,
    "suppress_speed_warnings": _CONSOLE,
    "always_download": _MODELS,
    "max_models_to_download": _MODELS,
    "download_timeout": _MODELS,
    "number_of_models": _DYNAMIC,
    "horde_model_stickiness": _DYNAMIC,
    "high_performance_mode": _PACE,
    "moderate_performance_mode": _PACE,
    "safety_on_gpu": _PACE,
    "post_process_job_overlap": _PACE,
    "cycle_process_on_model_change": _PROCESSES,
    "exit_on_unhandled_faults": _PROCESSES,
    "process_timeout": _TIME,
    "post_process_timeout": _TIME,
    "preload_timeout": _TIME,
    "inference_step_timeout": _TIME,
    "minutes_allowed_without_jobs": _TIME,
    "civitai_api_token": _ADAPTERS,
    "purge_loras_on_download": _ADAPTERS,
    "temp_dir": "temporary files go where the system keeps them",
    "ray_temp_dir": "temporary files go where the system keeps them",
    "branded_model": "a text model is offered under koboldcpp_model as it is",
    "remove_maintenance_on_init": "maintenance is ended at the horde, by its owner",
    "custom_models": "put the files into models_folder, under the names to offer",
    "capture_kudos_training_data": "nothing is recorded",
    "kudos_training_data_file": "nothing is recorded",
    "nataili_cache_home": "see cache_home",
}
"""Why, by setting. What is in neither template is unknown."""
