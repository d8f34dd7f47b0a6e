"""The state of a training in a file, to go on from after a kill."""

import io
import logging
import pickle
from pathlib import Path

import torch

from bench.files.checksum import append_checksum, appended_fits
from methods.training.surroundings import Alone, State, Workers
from models.errors import BenchError

log = logging.getLogger(__name__)


class OnDisk:
    """The last state of a training in one file, of the first of the processes; written whole."""

    def __init__(self, path: Path, workers: Workers | None = None) -> None:
        self.path = path
        self.workers = workers or Alone()

    @property
    def place(self) -> str:
        return str(self.path)

    def load(self) -> State | None:
        content = self.workers.share(self._content() if self.workers.rank == 0 else None)
        if content is None:
            return None
        try:
            # Who restores it puts each part where it belongs: steps of an optimiser stay here.
            state: State = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            if (done := _done(state)) and self.workers.rank == 0:
                log.info("  goes on after %s, from %s", done, self.path)
        except (RuntimeError, EOFError):
            log.warning("warning: %s is damaged; trained from the start", self.path)
            return None
        except (ValueError, pickle.UnpicklingError) as error:
            raise BenchError(
                f"cannot read the checkpoint {self.path}: {type(error).__name__}; remove it to "
                "train from the start"
            ) from error
        return state

    def _content(self) -> bytes | None:
        if not self.path.exists():
            return None
        # What is not as it was written cannot be loaded: no bytes at all.
        return b"" if appended_fits(self.path) is False else self.path.read_bytes()

    def save(self, state: State) -> None:
        if self.workers.rank:
            return
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        append_checksum(partial)
        partial.replace(self.path)


def _done(state: State) -> str:
    """Return in words what a training or a search has done; "" where that is nothing."""
    if "episodes" in state:
        return _counted(len(state["episodes"]), "episode")
    epochs, part = len(state.get("history", ())), state.get("part")
    if part and part["done"]:
        return f"{_counted(part['done'], 'step')} of epoch {epochs + 1}"
    return _counted(epochs, "epoch")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number > 1)}" if number else ""
