"""A board as Markdown, LaTeX, one HTML file, and for the terminal; each from the board's value alone.

Equal boards give equal bytes. Whatever a user may have named is escaped for the form that shows it.
"""

from recbench.render.latex import latex
from recbench.render.markdown import markdown
from recbench.render.page import html
from recbench.render.terminal import terminal

__all__ = ["html", "latex", "markdown", "terminal"]
