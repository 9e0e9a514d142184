"""What made a model predict what it predicts: the shares of its inputs, and of the tokens of a text."""

from __future__ import annotations

from kexue.interpret.integrated_gradients import Attribution, attribution_heatmap, integrated_gradients
from kexue.interpret.text import TextAttribution, TextAttributions, explain_text, save_page

__all__ = [
    "Attribution",
    "TextAttribution",
    "TextAttributions",
    "attribution_heatmap",
    "explain_text",
    "integrated_gradients",
    "save_page",
]
