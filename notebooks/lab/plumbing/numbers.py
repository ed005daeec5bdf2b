"""A number with its unit and its rounding, from where it is made to where it is
printed.
"""

from typing import NamedTuple

FORMS = {  # name: (factor, format, LaTeX's name of the unit)
    "count": (1, ".0f", ""),
    "mean": (1, ".1f", ""),
    "ratio": (1, ".3f", ""),
    "percent": (100, ".1f", r"\percent"),
    "points": (100, "+.1f", ""),
    "minutes": (1 / 60, ".1f", r"\minute"),
}


class Number(NamedTuple):
    """A value and the name in `FORMS` of the form in which it is printed.

    value: shares are fractions from 0 to 1, times are seconds.
    """

    value: float
    form: str

    def latex(self):
        """Return the number as the report prints it, by the package siunitx."""
        factor, digits, unit = FORMS[self.form]
        text = format(factor * self.value, digits)
        if self.form == "mean":
            text = text.removesuffix(".0")
        return rf"\qty{{{text}}}{{{unit}}}" if unit else rf"\num{{{text}}}"
