# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the training stages share: learning rate, averaged weights, resumable checkpoints."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_WARMUP_STEPS = 200
_DECAY_SHARE = 0.4


@dataclass(frozen=True)
class StageSettings:
    """How one stage trains."""

    name: str
    step_count: int
    batch_size: int
    learning_rate: float
    average_decay: float = 0.998
    steps_per_checkpoint: int = 500


def learning_rate_share(step: int, step_count: int) -> float:
    """Return the share of the full learning rate: short warm-up, constant, linear fall to zero.

    Nothing before the fall depends on step_count, so a checkpoint from the constant part may be
    continued with another step_count and gives what that step_count gives from the start.
    """
    warmup = min(1.0, (step + 1) / _WARMUP_STEPS)
    decay_steps = max(1.0, step_count * _DECAY_SHARE)
    return min(warmup, max(0.0, (step_count - step) / decay_steps))


class AveragedWeights:
    """An exponential moving average of a network's weights, quicker at the start."""

    def __init__(self, network: Any, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, network: Any, step: int) -> None:
        """Move the average towards the network after this step (counted from 0)."""
        decay = min(self._decay, (step + 1) / (step + 10))
        for average, current in zip(self.network.parameters(), network.parameters(), strict=True):
            average.lerp_(current, 1 - decay)


@dataclass
class Stage:
    """A training loop over one network that can be cut off anywhere and resumed."""

    settings: StageSettings
    network: Any
    generator: np.random.Generator
    device: torch.device
    folder: Path
    average: AveragedWeights = field(init=False)
    optimiser: torch.optim.Optimizer = field(init=False)
    step: int = 0

    def __post_init__(self) -> None:
        self.network.to(self.device).train()
        self.average = AveragedWeights(self.network, self.settings.average_decay)
        self.optimiser = torch.optim.AdamW(
            [one for one in self.network.parameters() if one.requires_grad],
            lr=self.settings.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=1e-4,
        )

    @property
    def checkpoint_path(self) -> Path:
        """Where this stage keeps its checkpoint."""
        return self.folder / f"{self.settings.name}.pt"

    def save(self) -> None:
        """Write a checkpoint; the old one stays whole until the new one is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "torch_random": torch.get_rng_state(),
            "numpy_random": self.generator.bit_generator.state,
        }
        partial = self.checkpoint_path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint_path)

    def resume(self) -> None:
        """Continue from the checkpoint if there is one."""
        if not self.checkpoint_path.exists():
            return
        state = torch.load(self.checkpoint_path, map_location=self.device, weights_only=True)
        self.step = int(state["step"])
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["torch_random"].cpu())
        self.generator.bit_generator.state = state["numpy_random"]

    def run(
        self,
        loss_of_batch: Callable[[Any], torch.Tensor],
        measure: Callable[[Any], str] | None = None,
    ) -> Any:
        """Train to the last step and return the network with averaged weights.

        loss_of_batch draws its own batch and returns a scalar; measure is called at every
        checkpoint with the averaged network and returns a line for the log.
        """
        self.resume()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns) as progress:
            task = progress.add_task(
                self.settings.name, total=self.settings.step_count, completed=self.step
            )
            running_loss = 0.0
            while self.step < self.settings.step_count:
                loss = self._one_step(loss_of_batch)
                running_loss = 0.98 * running_loss + 0.02 * loss if running_loss else loss
                progress.update(
                    task,
                    completed=self.step,
                    description=f"{self.settings.name} loss {running_loss:.4f}",
                )
                at_end = self.step == self.settings.step_count
                if at_end or self.step % self.settings.steps_per_checkpoint == 0:
                    self.save()
                    report = "" if measure is None else measure(self.average.network.eval())
                    progress.console.print(
                        f"{self.settings.name} step {self.step} loss {running_loss:.5f} {report}"
                    )
        return self.average.network.eval()

    def _one_step(self, loss_of_batch: Callable[[Any], torch.Tensor]) -> float:
        share = learning_rate_share(self.step, self.settings.step_count)
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * share
        self.optimiser.zero_grad(set_to_none=True)
        # Typed as Any because torch leaves backward without types.
        loss: Any = loss_of_batch(self.network)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.average.update(self.network, self.step)
        self.step += 1
        return float(loss.detach())
