"""Sphinx settings: `sphinx-build -W docs site` writes the site, the pages of the networks and of the API included."""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported anywhere
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import kzoo  # noqa: E402

project = "kzoo"
author = "the kzoo authors"
release = kzoo.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated"]
exclude_patterns = ["_*"]
default_role = "code"
nitpicky = True
# Names of other libraries are not looked up: nothing is fetched while the site is built.
nitpick_ignore_regex = [("py:.*", r"(?!kzoo\.).*"), ("py:class", r"kzoo\..*\.[ST]")]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
rst_prolog = ".. role:: mpltype"  # in docstrings that Matplotlib gives to the figures of kzoo
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
maximum_signature_line_length = 100
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "kzoo"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
