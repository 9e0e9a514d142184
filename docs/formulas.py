"""Formulas as MathML, converted and checked like those of the reports: no script is fetched from anywhere."""

from __future__ import annotations

from html import escape

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

from kexue.report.mathml import FormulaError, mathml

__all__ = ["setup"]

_logger = logging.getLogger(__name__)


def _drawn(node: nodes.Element, *, display: bool) -> str:
    formula = node.astext().strip()
    if "&" in formula and r"\begin" not in formula:
        formula = rf"\begin{{align*}} {formula} \end{{align*}}"  # lines that are aligned, as Sphinx reads them
    try:
        return mathml(formula, display=display)
    except FormulaError as error:
        _logger.warning("%s", error, location=node)
        return f"<code>{escape(formula)}</code>"


def _inline(writer: HTML5Translator, node: nodes.math) -> None:
    writer.body.append(_drawn(node, display=False))
    raise nodes.SkipNode


def _block(writer: HTML5Translator, node: nodes.math_block) -> None:
    writer.body.append(f'<div class="formula" tabindex="0">{_drawn(node, display=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Let Sphinx draw formulas as MathML."""
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
