"""A board as Markdown, LaTeX, one HTML file, and for the terminal; each from the board's value alone.

Equal boards give equal bytes. Whatever a user may have named is escaped for the form that shows it.
"""

from recbench.board.render.latex import latex
from recbench.board.render.markdown import markdown
from recbench.board.render.page import html
from recbench.board.render.terminal import terminal

__all__ = ["html", "latex", "markdown", "terminal"]
