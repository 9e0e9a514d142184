"""Settings of the documentation: `make docs` builds it, without a network."""

from __future__ import annotations

import sys
from pathlib import Path

import kexue

sys.path.insert(0, str(Path(__file__).parent))

project = "kexue"
author = "The kexue developers"
copyright = "The kexue developers, Apache-2.0"
version = release = kexue.__version__
language = "en"

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_nb", "catalogue_pages", "benchmark_rows", "formulas"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "kexue"
html_static_path = ["_static"]
html_css_files = ["site.css"]
smartquotes_action = "D"  # dashes only: quotes stay as the catalogue has them
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"footer_icons": []}

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
# The notebooks are stored as they were run; a test runs them again.
nb_execution_mode = "off"

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
