"""The training loop: visible steps, checkpoints that resume bit for bit, seeds, several processes."""

from kexue.extras import require

require("torch", "torch", "kexue.training")

from kexue.training.loop import Trainer  # noqa: E402
from kexue.training.named import training  # noqa: E402

__all__ = ["Trainer", "training"]
