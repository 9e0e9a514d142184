"""Generative models behind one interface: loss, sample and, where there is a density, log_prob."""

from kexue.extras import require

require("torch", "torch", "kexue.generative")

from kexue.generative.eae import EAE, EntropicBottleneck  # noqa: E402
from kexue.generative.importance import importance_log_prob  # noqa: E402
from kexue.generative.vae import VAE  # noqa: E402

__all__ = ["EAE", "VAE", "EntropicBottleneck", "importance_log_prob"]
