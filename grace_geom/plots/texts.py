"""Plotly's texts for matplotlib: ``<b>``, ``<i>``, ``<sub>``, ``<sup>``, ``<br>`` and entities."""

import re
from html.parser import HTMLParser

_SAME = {"strong": "b", "em": "i"}
_STYLES = {"b", "i", "sub", "sup"}
_PLAIN = {"a", "span"}
"""Tags whose words are kept and whose look is not: links, and spans that only fade or resize."""
_MATH = {
    " ": r"\ ", "\\": r"\backslash ", "{": r"\{", "}": r"\}", "$": r"\$", "%": r"\%", "#": r"\#",
    "_": r"\_", "&": r"\&", "^": "\u02c6", "~": "\u223c", "'": "\u2019",
}  # fmt: skip


def begun(sentence: str) -> str:
    """A sentence with a capital letter, where it begins with a word: ``n = 60`` stays."""
    return sentence[:1].upper() + sentence[1:] if re.match("[a-z]{2}", sentence) else sentence


class _Reader(HTMLParser):
    """Collects runs of text with the styles that hold for each."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.runs: list[tuple[str, tuple[str, ...]]] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a style, or a new line; refuse what cannot be drawn."""
        tag = _SAME.get(tag, tag)
        if tag == "br":
            self.runs.append(("\n", ()))
            return
        if tag not in _STYLES | _PLAIN:
            raise ValueError(f"cannot draw the tag <{tag}> in a text")
        style = dict(attrs).get("style") or ""
        if tag == "span" and re.search(r"(^|[;\s])(color|font-weight|font-style)\s*:", style):
            raise ValueError(f"cannot draw <span style={style!r}> in a text")
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        tag = _SAME.get(tag, tag)
        if tag in self._open:
            del self._open[len(self._open) - 1 - self._open[::-1].index(tag)]

    def handle_data(self, data: str) -> None:
        self.runs.append((data, tuple(tag for tag in self._open if tag in _STYLES)))


def inline(text: object) -> str:
    """A text of plotly as matplotlib reads it, with mathtext for what is raised, lowered, bold or
    italic.

    Raises:
        ValueError: A tag whose meaning would be lost, or LaTeX, which plotly hands to MathJax.
    """
    words = str(text)
    if re.fullmatch(r"\s*\$.+\$\s*", words, re.DOTALL):
        raise ValueError(f"cannot draw the LaTeX text {words!r}")
    reader = _Reader()
    reader.feed(words)
    reader.close()
    return "".join(_run(run, styles) for run, styles in reader.runs)


def _run(words: str, styles: tuple[str, ...]) -> str:
    if not styles or not words.strip():
        return words.replace("$", r"\$")
    face = "mathregular"
    if {"b", "i"} <= set(styles):
        face = "mathbfit"
    elif "b" in styles:
        face = "mathbf"
    elif "i" in styles:
        face = "mathit"
    level = next((tag for tag in reversed(styles) if tag in ("sub", "sup")), None)
    if level is None:
        words = words.replace("-", "\u2010")  # in mathematics a hyphen is a minus
    inner = "".join(_MATH.get(letter, letter) for letter in words)
    mark = {"sub": "_", "sup": "^", None: ""}[level]
    return f"${mark}{{\\{face}{{{inner}}}}}$"
