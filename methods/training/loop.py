"""The training loop of all methods: epochs, checkpoints, and what to say when it diverges."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from methods.base import Progress, no_progress
from methods.training.augment import augment
from methods.training.phases import Phase, phase_of, phases_of
from methods.training.schedule import Schedule, learning_rate, optimiser
from methods.training.strategy import Moment, Strategy
from methods.training.surroundings import (
    Alone,
    Checkpoints,
    Images,
    InMemory,
    Interrupts,
    NoInterrupts,
    State,
    Workers,
    to_device,
)
from models.clips import Clip, as_frames, averaging, drawn
from models.errors import BenchError
from models.preprocessing import laid_out
from models.qat.layers import quantized_weights
from models.qat.network import project
from models.tracing import traced


class _Part(NamedTuple):
    """An epoch that is under way.

    order: (N,) int64, CPU, of the images. losses: (batches,), those of the first `done` are known.
    """

    order: Tensor
    losses: Tensor
    done: int


@dataclass
class Training:
    """Everything that one training is made of.

    network: trained in place, in training mode, on the device of `targets`.
    images, targets, normalise: see `methods.training.surroundings.Examples`.
    generator: CPU; orders and changes the images and is what strategies draw from.
    schedules: phases, one after the other, each with an optimiser and a learning rate of its own.
    clip: what is kept of each image, where they are clips: a step sees a frame of each segment, and
        its loss is of the mean of their logits.
    """

    network: nn.Module
    strategy: Strategy
    images: Images
    targets: Tensor
    normalise: Callable[[Tensor], Tensor]
    schedules: Sequence[Schedule]
    generator: torch.Generator
    checkpoints: Checkpoints = field(default_factory=InMemory)
    workers: Workers = field(default_factory=Alone)
    interrupts: Interrupts = field(default_factory=NoInterrupts)
    progress: Progress = no_progress
    clip: Clip | None = None

    def run(self) -> list[dict[str, Any]]:
        """Train to the end, from the last checkpoint if there is one; return one record an epoch.

        Raises BenchError when there are fewer images than one batch, and when the loss is no longer
        finite; it then names the step, the layer and the last good checkpoint.
        """
        phases = phases_of(self.schedules, len(self.targets), self.workers.count)
        self.steps = phases[-1].step + phases[-1].steps
        self.strategy.average = self.workers.average
        self.history: list[dict[str, Any]] = []
        self.part: _Part | None = None
        with _repeatable(), averaging(self.network, self.clip.segments if self.clip else 1):
            state = self.checkpoints.load()
            at = 0 if state is None else phase_of(state, phases)
            for phase in phases[at:]:
                self._begin(phase)
                if state is not None:
                    self._restore(state)
                elif phase is phases[0]:
                    # For layers that draw by themselves, such as dropout.
                    torch.manual_seed(self.generator.initial_seed())
                    self.checkpoints.save(self._state())
                state = None
                while len(self.history) < phase.last:
                    self._epoch()
                    self.checkpoints.save(self._state())
                    self.interrupts.deliver()
                if self.averaged is not None:
                    self.network.load_state_dict(self.averaged.module.state_dict())
        return self.history

    def _begin(self, phase: Phase) -> None:
        self.phase = phase
        self.strategy.begin(phase.number)
        self.optimiser = optimiser(self.network, phase.schedule)
        decay = phase.schedule.ema
        self.averaged = (
            AveragedModel(self.network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
            if decay
            else None
        )

    def _epoch(self) -> None:
        epoch, batches = len(self.history), self.phase.batches
        before = self.phase.step + (epoch - self.phase.first) * batches
        order, losses, done = self.part or self._new_part()
        for batch in range(done, batches):
            losses[batch] = self._step(order, batch)
            self.progress(before + batch + 1, self.steps)
            if self.interrupts.waiting and batch + 1 < batches:
                self._keep(_Part(order, losses, batch + 1))
                self.interrupts.deliver()
        self.part = None
        self.workers.average([losses])
        mean = float(losses.mean())
        if not math.isfinite(mean):
            step = int(torch.isfinite(losses).logical_not().nonzero()[0])
            raise BenchError(self._diverged(epoch, step, float(losses[step])))
        several = {"phase": self.phase.number + 1} if len(self.schedules) > 1 else {}
        record = self.strategy.record()
        self.history.append({"epoch": epoch + 1, **several, "loss": mean, **record})
        self.progress(before + batches, self.steps, mean)

    def _new_part(self) -> _Part:
        order = torch.randperm(len(self.targets), generator=self.generator)
        return _Part(order, torch.zeros(self.phase.batches, device=self.targets.device), 0)

    def _keep(self, part: _Part) -> None:
        """Keep the state within an epoch, unless it has diverged: then the epoch's start stays."""
        if bool(torch.isfinite(part.losses).all()):
            self.checkpoints.save(self._state(part))

    def _step(self, order: Tensor, batch: int) -> Tensor:
        schedule, phase, workers = self.phase.schedule, self.phase, self.workers
        size = schedule.batch_size
        device = self.targets.device
        chosen = order[batch * size :][:size]
        pixels = self.images(chosen)
        if self.clip is not None:
            pixels = drawn(pixels, self.clip, self.generator)
        changed = augment(pixels.float(), schedule, self.generator)
        mine = slice(workers.rank, None, workers.count)
        seen = changed[mine] if self.clip is None else as_frames(changed[mine])
        inputs = laid_out(self.normalise(seen), torch.channels_last)
        step = (len(self.history) - phase.first) * phase.batches + batch
        rate = learning_rate(schedule, step, phase.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group.get("factor", 1.0)
        self.optimiser.zero_grad(set_to_none=True)
        with (
            quantized_weights(self.network),
            torch.autocast(device.type, torch.bfloat16, enabled=schedule.amp),
        ):
            moment = Moment(step, phase.steps, self.generator, phase.number)
            loss = self.strategy.step(inputs, self.targets[to_device(chosen[mine], device)], moment)
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        workers.average(gradients)
        self.strategy.before_update(moment)
        self.optimiser.step()
        project(self.network)
        self.strategy.after_update(moment)
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)
        return loss

    def _state(self, part: _Part | None = None) -> State:
        device = self.targets.device
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged is not None else None,
            "strategy": self.strategy.state(),
            "generator": self.generator.get_state(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
            "history": self.history,
            "part": part._asdict() if part else None,
        }

    def _restore(self, state: State) -> None:
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self.strategy.restore(state["strategy"])
        self.generator.set_state(state["generator"].cpu())
        torch.set_rng_state(state["random"].cpu())
        if state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"].cpu(), self.targets.device)
        self.history = list(state["history"])
        part = state.get("part")  # files of earlier versions have none
        if part is not None:
            losses = part["losses"].to(self.targets.device)
            part = _Part(part["order"].cpu(), losses, part["done"])
        self.part = part

    def _diverged(self, epoch: int, step: int, loss: float) -> str:
        """Return what to say: the epoch is run again from its checkpoint to find the layer."""
        message = (
            f"training diverged: the loss of step {step + 1} of {self.phase.batches} in epoch "
            f"{epoch + 1} is {loss}"
        )
        state = self.checkpoints.load()
        if state is not None and self.workers.count == 1:
            self._restore(state)
            order, _, done = self.part or self._new_part()
            for batch in range(done, step):
                self._step(order, batch)
            layer = _first_not_finite(self.network, lambda: self._step(order, step))
            message += f"; the first layer that is not finite is {layer!r}" if layer else ""
        within = f" and {self.part.done} steps" if self.part else ""
        return (
            f"{message}; the last good checkpoint is that of epoch {epoch}{within}, in "
            f"{self.checkpoints.place}; lower the learning rate (now {self.phase.schedule.lr})"
        )


def _first_not_finite(network: nn.Module, step: Callable[[], object]) -> str | None:
    """Return the name of the first layer, as they are called, with a value that is not finite."""
    modules = {name: module for name, module in network.named_modules() if name}
    first: str | None = None

    def note(name: str, args: object, output: object) -> None:
        nonlocal first
        values: list[Tensor] = [*modules[name].parameters(recurse=False)]
        values += [output] if isinstance(output, Tensor) else []
        if first is None and not all(bool(torch.isfinite(v).all()) for v in values):
            first = name

    with traced(modules, after=note):
        step()
    return first


@contextmanager
def _repeatable() -> Iterator[None]:
    flags = torch.backends.cudnn.flags(
        enabled=True,
        benchmark=False,
        deterministic=True,
        allow_tf32=torch.backends.cudnn.allow_tf32,  # which it would turn on
    )
    with flags, torch.random.fork_rng():
        yield
