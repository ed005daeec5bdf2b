"""Figures, tables and captions in another language than English: the language that the
environment variable LAB_LANGUAGE names, by its catalogue in report/languages, which has
the format of gettext.
"""

import ast
import os
import re
from functools import cache
from typing import NamedTuple

from .files import ROOT, LabError, relative

ENGLISH = "english"
FOLDER = ROOT / "report" / "languages"
names = set()  # stay as they are where the catalogue lacks them, such as own classes
untranslated = set()  # texts that were asked for and have no translation

PLACEHOLDER = r"\{(\w+)\}"
NUMBER = r"[-+−]?\d[\d.,]*"  # what fits the placeholders {n}, {n2}, …
# What stands between parts of a text that are translated one by one.
SEPARATORS = {r"(?<=\.) (?=[A-ZÀ-ÖØ-Þ0-9])": " "} | {
    s: s for s in ("\n", "; ", ", ", ": ")
}
# One word that no language translates: Conv2D, FER2013, float32, cifar10/dense, a
# formula.
IDENTIFIER = r"[\w.+-]*([A-Z]{2}|[a-z][A-Z]|[A-Za-z]\d|_)[\w.+-]*|[\w-]+/[\w-]+|\$.*\$"


class Catalogue(NamedTuple):
    """The translations of one language.

    header: {field: value}; texts: {English: translation}; patterns: (compiled English
        with placeholders, translation), the most letters first.
    """

    header: dict
    texts: dict
    patterns: list


def chosen():
    """Return the name of the language that LAB_LANGUAGE asks for, "" for English.

    Raises LabError where it has no catalogue.
    """
    asked = os.environ.get("LAB_LANGUAGE", "")
    known = [ENGLISH, *sorted(path.stem for path in FOLDER.glob("*.po"))]
    if asked and asked not in known:
        raise LabError(
            f"There is no language {asked!r}: set LANGUAGE (or LAB_LANGUAGE) to"
            f" {' or '.join(map(repr, known))}."
        )
    return "" if asked == ENGLISH else asked


def translated(text):
    """Return a text in the chosen language; one without a translation as it is, and
    note it in `untranslated`.
    """
    if not (language := chosen()) or "…" in text:  # a part of a name of one's own
        return text
    translation = _translation(text, catalogue(language))
    if translation is None:
        untranslated.add(text)
    return text if translation is None else translation


@cache
def catalogue(language):
    """Return the Catalogue of a language. Raises LabError for a faulty one."""
    path = FOLDER / f"{language}.po"
    texts = {english: other for english, other in _entries(path) if other}
    lines = texts.pop("", "").splitlines()
    header = dict(line.split(": ", 1) for line in lines if ": " in line)
    for english, other in texts.items():
        if not {*re.findall(PLACEHOLDER, other)} == {*re.findall(PLACEHOLDER, english)}:
            raise LabError(
                f"{relative(path)}: the translation of {english!r} needs the same"
                " {placeholders}."
            )
    return _catalogue(header, texts)


def english(text):
    """Return the English of a text in the chosen language; one that its catalogue does
    not know as it is.
    """
    if not (language := chosen()):
        return text
    return _translation(_plain(text, language), _back(language)) or text


def _plain(text, language):
    """Return a text of a language with English marks between groups of digits."""
    mark = re.escape(catalogue(language).header.get("X-Group-Mark", ","))
    return re.sub(rf"(?<=\d){mark}(?=\d{{3}})", ",", text)


@cache
def _back(language):
    """Return the Catalogue from a language to English."""
    texts = catalogue(language).texts.items()
    texts = {_plain(other, language): english for english, other in texts}
    named = {text: texts[text] for text in texts if re.sub(PLACEHOLDER, "", text)}
    return _catalogue({}, named)


def _catalogue(header, texts):
    """Return the Catalogue of {text: translation}."""
    literal = {text: re.sub(PLACEHOLDER, "", text) for text in texts}
    patterns = [
        (_compiled(text), texts[text])
        for text in sorted(texts, key=lambda text: -len(literal[text]))
        if literal[text] != text
    ]
    return Catalogue(header, texts, patterns)


def _entries(path):
    """Yield (msgid, msgstr) of a file of gettext."""
    entry = []
    for number, line in enumerate(
        path.read_text(encoding="utf-8").splitlines(), start=1
    ):
        match = re.fullmatch(r'(?:(msgid|msgstr)\s+)?(".*")', line.strip())
        if not line.strip() or line.startswith("#"):
            continue
        kind = match and match[1]
        if kind == "msgid" and len(entry) != 1:
            if entry:
                yield entry
            entry = [""]
        elif kind == "msgstr" and len(entry) == 1:
            entry.append("")
        elif not match or kind or not entry:
            raise LabError(
                f"{relative(path)}, line {number}: needs a msgid with a msgstr after"
                f" it, not {line!r}."
            )
        try:
            entry[-1] += ast.literal_eval(match[2])
        except SyntaxError:
            raise LabError(
                f"{relative(path)}, line {number}: a quotation mark in a text is"
                ' written \\".'
            ) from None
    if len(entry) == 2:
        yield entry


def _compiled(english):
    """Return the regular expression of an English text with placeholders."""
    parts = re.split(PLACEHOLDER, english)
    for i in range(1, len(parts), 2):
        values = NUMBER if re.fullmatch(r"n\d*", parts[i]) else ".+?"
        parts[i] = f"(?P<{parts[i]}>{values})"
    parts[::2] = map(re.escape, parts[::2])
    return re.compile("".join(parts), re.DOTALL)


def _translation(text, words):
    """Return the translation of a text by a Catalogue, or None."""
    if text in words.texts:
        return words.texts[text]
    if text in names:
        return text
    if not re.search(r"[^\W\d_]", re.sub(r"\de[-−+]?\d", "", text)):
        return _with_marks(text, words.header)
    for pattern, other in words.patterns:
        if match := pattern.fullmatch(text):
            values = match.groupdict()
            values = {name: _translation(v, words) for name, v in values.items()}
            if None not in values.values():
                return other.format(**values)
    if re.fullmatch(IDENTIFIER, text):
        return text
    for separator, mark in SEPARATORS.items():
        parts = re.split(separator, text)
        parts = [_translation(p.strip(), words) for p in parts if len(parts) > 1]
        if parts and None not in parts:
            return words.texts.get(mark, mark).join(parts)
    return None


def _with_marks(text, header):
    """Return a text without letters in which numbers have the language's marks."""

    def changed(number):
        whole, point, rest = number[0].partition(".")
        if re.fullmatch(r"\d{1,3}(,\d{3})+", whole):
            whole = whole.replace(",", header.get("X-Group-Mark", ","))
        return whole + (point and header.get("X-Decimal-Mark", ".")) + rest

    return re.sub(r"(?<![\w.])\d[\d,]*(\.\d+)?(?!\w|\.\d)", changed, text)
