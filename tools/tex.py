"""Text as LaTeX."""

import re

from lab.drawing.output import in_fonts

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def escape(text):
    """Return text with LaTeX's special characters escaped."""
    text = in_fonts(str(text))
    return re.sub(r"[\\~^&%$#_{}]", lambda m: SPECIAL.get(m[0], "\\" + m[0]), text)
