"""A number with its unit and its rounding, from where it is made to where it is
printed.
"""

from typing import NamedTuple

import numpy as np

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


def numbers_of(seeds):
    """Return {key: Number} of a network for the report, means over its Seeds.

    Keys begin with dataset.model, followed by the variant where it is not "main".
    """
    records = [run.record for run in seeds]
    first = records[0]
    values = {
        "seeds": Number(len(seeds), "count"),
        "parameters": Number(first["parameters"], "count"),
        "seconds.train": Number(seeds.seconds(), "minutes"),
    }
    for name in ("epochs_run", "best_epoch"):
        mean = float(np.mean([record[name] for record in records]))
        values[name] = Number(mean, "mean")
    for split, measured in first["metrics"].items():
        for metric in [name for name in measured if seeds.has(split, name)]:
            each = [record["metrics"][split][metric] for record in records]
            form = "percent" if "accuracy" in metric else "ratio"
            values[f"{split}.{metric}"] = Number(float(np.mean(each)), form)
            if metric == "accuracy" and len(seeds) > 1:
                spread = Number(float(np.std(each, ddof=1)), form)
                values[f"{split}.accuracy_std"] = spread
    for metric in ("accuracy", "accuracy_tta"):
        if seeds.has("test", metric):
            low, high = seeds.interval(metric)
            values[f"test.{metric}_low"] = Number(low, "percent")
            values[f"test.{metric}_high"] = Number(high, "percent")
    name = f"{first['dataset']}.{seeds[0].label.replace(' ', '.')}"
    return {f"{name}.{key}": value for key, value in values.items()}
