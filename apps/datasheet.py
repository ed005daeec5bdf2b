"""The datasheet of a data base: what is known is written, what is not stays a marked
question for its authors.
"""

import re
from collections import Counter

from lab.plumbing.files import ROOT, LabError, relative, text_of, write, writing

from . import agreement, curve, splits
from .collection import GROUPINGS, NOT_KNOWN
from .labels import UNSURE

MARK = "<!-- data base {} -->"  # says whose datasheet a page is
OPEN = "**Open.**"  # begins a paragraph that the authors must still write
# Sections after Gebru and others (arXiv 1803.09010), and what no program can know.
QUESTIONS = {
    "Motivation": (
        "For what purpose was the data base made, by whom, and for whom?",
        "What should a network answer? Where does one class end and the next begin?",
    ),
    "Composition": (
        "What do the pictures show, and what do they leave out (places, seasons, light,"
        " ages, skin colours, cameras)?",
    ),
    "Collection": (
        "How were the pictures found or taken, and how was it decided which to keep?",
        "How were the people shown asked, and how can they have a picture removed?",
    ),
    "Labels": (
        "What were annotators told, and who are they?",
        "What do the disputed pictures have in common?",
    ),
    "Splits": ("Why do the groups hold what must not be divided?",),
    "Size": ("Which pictures would help most?",),
    "Uses and limits": (
        "What may the data base be used for, and what must it not be used for?",
        "Where will a network that is trained on it fail?",
    ),
    "Distribution and maintenance": (
        "Who may have the pictures, under which terms, and who keeps them until when?",
    ),
}


def path(collection):
    """Return where the datasheet of a collection stands."""
    return ROOT / "data" / f"{collection.name}.md"


def is_datasheet(text):
    """Return whether a page was begun by `written`."""
    return "<!-- Composition:start -->" in text


def open_places(text):
    """Return how many places of a page wait for its authors."""
    return text.count(OPEN)


def written(collection, labels):
    """Write the datasheet, and return its path. What the authors wrote below the facts
    stays; the facts between the markers are written anew.
    """
    target, facts = path(collection), known(collection, labels)
    collection.keep()
    mark = MARK.format(collection.id)
    if target.exists():
        text = text_of(target)
        if not is_datasheet(text):
            raise LabError(
                f"{relative(target)} is a page of its own: rename the folder"
                f" {collection.folder.name}, whose datasheet would replace it."
            )
        if mark not in (re.findall(MARK.format(r"\w+"), text) or [mark]):
            raise LabError(
                f"{relative(target)} describes another data base, whose folder has the"
                " same name: rename one of the two folders. If it is this one, delete"
                " the last line of the page."
            )
        for section, lines in facts.items():
            start, end = _markers(section)
            pattern = re.escape(start) + ".*?" + re.escape(end)
            block = _block(section, lines)
            text = re.sub(pattern, lambda _, block=block: block, text, flags=re.S)
    else:
        text = f"# Datasheet: {collection.name}\n"
        for section, questions in QUESTIONS.items():
            text += f"\n## {section}\n\n{_block(section, facts[section])}\n"
            text += "".join(f"\n{OPEN} {question}\n" for question in questions)
    if mark not in text:
        text = f"{text.rstrip()}\n\n{mark}\n"
    write(target, text)
    figure, result = drawing(collection.name), splits.kept(collection, "curve")
    figure.unlink(missing_ok=True)
    if result:
        with writing(figure) as part:
            curve.drawn(result).savefig(
                part, format="pdf", metadata={"CreationDate": None}
            )
    return target


def drawing(name):
    """Return where the learning curve of a data base is drawn, for the report."""
    return ROOT / "build" / "collect" / name / "curve.pdf"


def _markers(section):
    return f"<!-- {section}:start -->", f"<!-- {section}:end -->"


def _block(section, lines):
    start, end = _markers(section)
    return "\n".join([start, *lines, end])


def percent(value, low=None, high=None):
    """Return a share as text, with its interval where it has one."""
    text = f"{100 * value:.1f} %"
    if low is None:
        return text
    return f"{text} (95 % interval {100 * low:.1f} to {100 * high:.1f})"


def ratio(value, low, high):
    """Return a kappa as text, with its interval where it has one."""
    text = "not defined" if value is None else f"{value:.2f}"
    return text if low is None else f"{text} (95 % interval {low:.2f} to {high:.2f})"


def known(collection, labels):
    """Return {section: lines of Markdown}: what the tables of a collection tell."""
    rows, pictures = splits.stored(collection), list(collection.pictures.values())
    agreed = agreement.agreement(labels)
    return {
        "Motivation": [f"- The classes are {listed(collection.classes)}."],
        "Composition": _composition(pictures, rows),
        "Collection": _collection(collection, pictures),
        "Labels": _labels(labels, agreed),
        "Splits": _splits(collection, pictures, rows),
        "Size": _size(splits.kept(collection, "curve"), agreed),
        "Uses and limits": [],
        "Distribution and maintenance": [
            f"- The pictures lie in the folder `{collection.folder.name}`, which Git"
            " leaves out."
        ],
    }


def some(count, noun):
    """Return a number of things as text: "1 pair", "2 pairs"."""
    return f"{count:,} {noun}" + "s" * (count != 1)


def listed(words):
    """Return words in a row, as a sentence has them."""
    words = [str(word) for word in words]
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)


def _composition(pictures, rows):
    lines = [f"- Collected: {some(len(pictures), 'picture')}."]
    if pictures:
        sides = sorted(
            min(int(picture["width"]), int(picture["height"])) for picture in pictures
        )
        lines.append(
            f"- Pixels of the shorter side: {sides[0]:,} to {sides[-1]:,}; the median"
            f" is {sides[len(sides) // 2]:,}."
        )
    if rows:
        names = list(splits.FOLDERS.values())
        lines += [
            f"- In the data set: {some(len(rows), 'picture')}.",
            "",
            f"| class | {' | '.join(names)} | together |",
            "|---|" + "---|" * (len(names) + 1),
        ]
        count = Counter((row["label"], row["split"]) for row in rows)
        for label in dict.fromkeys(row["label"] for row in rows):
            each = [count[label, name] for name in names]
            cells = [f"{number:,}" for number in (*each, sum(each))]
            lines.append(f"| {label} | {' | '.join(cells)} |")
    return lines


def _collection(collection, pictures):
    lines = []
    for name, what in (("source", "Source"), ("consent", "Consent")):
        for said, count in Counter(picture[name] for picture in pictures).most_common():
            lines.append(f"- {what} of {some(count, 'picture')}: {said or 'not said'}.")
    unasked = sum(picture["consent"] == NOT_KNOWN for picture in pictures)
    if pictures:
        days = sorted(picture["collected"][:10] for picture in pictures)
        lines.append(f"- Brought in from {days[0]} to {days[-1]}.")
    films = {picture["file"] for picture in pictures if picture["frame"]}
    if films:
        frames = sum(bool(picture["frame"]) for picture in pictures)
        lines.append(
            f"- From films: {some(frames, 'frame')} of {some(len(films), 'film')}."
        )
    if collection.crops:
        lines.append(
            f"- Cropped by hand to a square: {some(len(collection.crops), 'picture')}."
        )
    lines.append("- Copies hold no place: metadata of the camera were removed.")
    if unasked:
        lines += [
            "",
            f"{OPEN} Consent is not known for {some(unasked, 'picture')}: ask, or take"
            " them out.",
        ]
    return lines


def _labels(labels, agreed):
    lines = [
        f"- {name} labelled {some(counts['pictures'], 'picture')}, and could not tell"
        f" for {counts['unsure']:,}."
        for name, counts in agreed["annotators"].items()
    ]
    if not agreed["pictures"]:
        return [*lines, "- No picture has labels of two annotators yet."]
    lines.append(
        f"- Labelled by two annotators or more: {some(agreed['pictures'], 'picture')}"
        f" of {some(agreed['groups'], 'group')}. The page shows nobody the labels of"
        " others before step 3."
    )
    for pair in agreed["pairs"]:
        lines.append(
            f"- {listed(pair['annotators'])} gave the same label to"
            f" {percent(pair['same'])} of {some(pair['pictures'], 'picture')}:"
            f" Cohen's kappa is {ratio(*pair['kappa'])}."
        )
    decided = [label for label in labels.decisions.values() if label != UNSURE]
    lines += [
        f"- Fleiss' kappa of all annotators is {ratio(*agreed['fleiss'])}.",
        f"- Disputed: {some(len(agreed['disputed']), 'picture')}. Decided together"
        f" afterwards: {some(len(decided), 'label')}. The other labels are those of the"
        " most annotators. Disputed without a label, and left out:"
        f" {some(agreed['tied'], 'picture')}. All votes are kept.",
        "- **Ceiling.** The most frequent label is that of"
        f" {percent(*agreed['ceiling'])} of all votes. No network can be expected to"
        " agree with the label of a single annotator more often. With few annotators"
        " this number is high.",
    ]
    return lines


def _splits(collection, pictures, rows):
    used = Counter(
        "the name that the collector gave"
        if picture["group"]
        else "their film"
        if picture["frame"]
        else GROUPINGS.get(
            "none"
            if picture["grouping"] == "time" and not picture["taken"]
            else picture["grouping"],
            GROUPINGS["none"],
        ).partition(":")[0]
        for picture in pictures
    )
    lines = [
        f"- Grouped by {said}: {some(count, 'picture')}."
        if said != "nothing"
        else f"- Not grouped: {some(count, 'picture')}."
        for said, count in used.most_common()
    ]
    division = splits.kept(collection, "splits")
    if not division:
        return [*lines, "- The pictures are not divided yet."]
    groups = {row["group"] for row in rows}
    lines += [
        f"- {some(len(rows), 'picture')} in {some(len(groups), 'group')}; no group"
        " stands in two splits (scikit-learn's StratifiedGroupKFold).",
        "- Near copies in different groups (correlation of"
        f" {splits.NEAR} or more): {some(division['pairs'], 'pair')}, whose groups were"
        " joined.",
    ]
    if division["leak"]["random"]:
        random, here = division["leak"]["random"], division["leak"]["grouped"]
        lines.append(
            "- **Leak.** Had the pictures been divided at random,"
            f" {percent(random['group'])} of the test pictures would have had a picture"
            f" of their group in training, and {percent(random['copy'])} a near copy."
            f" With this division these are {percent(here['group'])} and"
            f" {percent(here['copy'])}. The most similar training picture has the right"
            f" label for {percent(random['neighbour'])} of the test pictures at random,"
            f" and for {percent(here['neighbour'])} here."
        )
    return lines


def _size(result, agreed):
    if not result:
        return ["- The learning curve is not drawn yet."]
    likely, cautious = result["gain"]
    lines = [
        f"- The network with {result['network']} is right on"
        f" {percent(result['now'], *result['interval'])} of the"
        f" {result['validation']:,} validation pictures when it learns from"
        f" {result['largest']:,} pictures.",
        "- By the fitted power law, twice the pictures multiply its error by"
        f" {2 ** -result['power']:.2f}. This is a gain of {100 * likely:.1f} points; a"
        f" cautious estimate is {100 * cautious:.1f} points (the lower end of the 95 %"
        " interval). The true gain is smaller where the curve levels off.",
    ]
    if agreed["ceiling"]:
        lines.append(f"- The ceiling of the labels is {percent(agreed['ceiling'][0])}.")
    return lines


def said(collection):
    """Return a sentence on a datasheet: where it is, and what is open."""
    count = open_places(text_of(path(collection)))
    return f"{relative(path(collection))}: {some(count, 'place')} open"
