"""The documentation site: ``make docs`` builds it from the pages beside this file and from docstrings."""

import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import sqlalchemy_cmk
import sqlalchemy_cmk.alembic.ops

sys.path.insert(0, str(Path(__file__).parent))  # for `site_changes`
# They give Alembic its operations.
for module in iter_modules(sqlalchemy_cmk.alembic.ops.__path__):
    import_module(f"sqlalchemy_cmk.alembic.ops.{module.name}")

project = "sqlalchemy_cmk"
copyright = "the sqlalchemy_cmk authors"
release = version = sqlalchemy_cmk.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "site_changes"]
html_theme = "furo"
html_title = f"{project} {release}"
# A site has a page of its own by this name: `searching` shows the text.
exclude_patterns = ["build", "search.md"]

myst_enable_extensions = ["colon_fence"]
# Headings have the anchors that the pages have where the repository is read.
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_class_signature = "separated"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_use_unqualified_type_names = True
