"""Fetch a file whose content is known, or say clearly why it cannot be had."""
import shutil
import urllib.request

from .files import LabError, sha256, writing


def fetch(path, urls, digest, timeout=20):
    """Download `path` from the first of `urls` whose content has the SHA-256 `digest`.

    Raises LabError, with the reason of each source, when none gives the right file.
    """
    reasons = []
    for url in urls:
        try:
            with writing(path) as part:
                with urllib.request.urlopen(url, timeout=timeout) as answer, open(part, "wb") as file:
                    shutil.copyfileobj(answer, file)
                if sha256(part) != digest:
                    raise LabError("another content than expected")
            return path
        except (LabError, ValueError) as error:
            reasons.append(f"{url}: {error}")
    raise LabError("; ".join(reasons))
