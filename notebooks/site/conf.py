"""How Sphinx builds the site: from the notebooks, the pages beside them, and the docstrings.

``python -m conveyor_nb docs`` runs it. The folder above this one is the source of all pages.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for from_code

from conveyor_nb import __version__

project = "conveyor_nb"
author = "The conveyor_nb authors"
copyright = "the conveyor_nb authors"  # the name that Sphinx reads
version = release = __version__

extensions = [
    "from_code",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["site", "**/.ipynb_checkpoints", "**/__pycache__"]

# Notebooks: shown with the outputs that they were saved with, which nbval compares. Panels are
# pictures there, so no page needs a script from elsewhere.
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, object] = {}
nb_merge_streams = True
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type"]  # of what only a live page shows

# Docstrings
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
add_module_names = False
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

# Looks
html_theme = "furo"
html_title = "conveyor_nb"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_favicon = "static/logo.svg"
html_show_sphinx = False
html_show_sourcelink = False
html_copy_source = False
copybutton_exclude = ".linenos, .gp, .go"
_FONTS = {"font-stack": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"}
html_theme_options = {
    "light_logo": "logo.svg",
    "dark_logo": "logo.svg",
    "light_css_variables": {
        "color-brand-primary": "#1565a8",
        "color-brand-content": "#1565a8",
        **_FONTS,
    },
    "dark_css_variables": {
        "color-brand-primary": "#7cc0f5",
        "color-brand-content": "#7cc0f5",
    },
}
pygments_style = "friendly"
pygments_dark_style = "native"
