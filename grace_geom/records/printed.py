r"""Tables of numbers with intervals, to be put into a paper, a README or a spreadsheet: LaTeX (with
``\usepackage{booktabs}``), Markdown and CSV.
"""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

MISSING = "\u2013"
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "\u2212": "$-$", "\u00b1": r"$\pm$", "\u0394": r"$\Delta$", "\u03b5": r"$\varepsilon$",
    "\u03bb": r"$\lambda$", "\u03b8": r"$\theta$", "\u03c3": r"$\sigma$", "\u03c1": r"$\rho$",
    "\u2081": "$_1$", "\u2080": "$_0$", "\u2016": r"$\|$", "\u2013": "--", "\u2192": r"$\to$",
    "\u2264": r"$\leq$", "\u00d7": r"$\times$",
}  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """A number of a table.

    Attributes:
        value: The number, in the unit of its column.
        low, high: Its 95 % interval; ``None`` where there is none.
        best: Whether it is set in bold.
        digits: After the point; ``None`` for three significant digits.
        signed: Whether a positive number has its sign.
        whole: Whether the interval is written out in any case.
    """

    value: float
    low: float | None = None
    high: float | None = None
    best: bool = False
    digits: int | None = 1
    signed: bool = False
    whole: bool = False

    def number(self) -> str:
        """The number alone, with a true minus."""
        return self._written(self.value, self.signed)

    def interval(self) -> str:
        """``[69.2, 73.3]``; empty where there is none."""
        if self.low is None or self.high is None:
            return ""
        return f"[{self._written(self.low)}, {self._written(self.high)}]"

    def short(self) -> str:
        """``71.3 \u00b12.1``, with half the width of the interval; with the interval itself where
        that is asked for, or where the number is a quarter of that half or more from its middle, as
        near 0 and 100 %.
        """
        if self.low is None or self.high is None:
            return self.number()
        half = (self.high - self.low) / 2
        if self.whole or abs(self.high + self.low - 2 * self.value) >= 0.5 * half:
            return f"{self.number()} {self.interval()}"
        return f"{self.number()} \u00b1{self._written(half)}"

    def _written(self, number: float, signed: bool = False) -> str:
        if not math.isfinite(number):
            return MISSING
        if self.digits is None:
            return f"{number:{'+' if signed else ''}.3g}".replace("-", "\u2212")
        rounded = round(number, self.digits) + 0.0  # never -0.0
        return f"{rounded:{'+' if signed else ''}.{self.digits}f}".replace("-", "\u2212")


Cell = str | Figure | None
"""A name, a number, or nothing."""


@dataclass(frozen=True)
class Printed:
    """A table as it is printed.

    Attributes:
        heads: Of the columns.
        rows: A cell for each column.
        notes: What a reader must know: units, estimator, n, intervals.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()

    def csv(self) -> str:
        """Every digit; a column of numbers with intervals is followed by ``low`` and ``high``."""
        wide = [any(_has_interval(row[i]) for row in self.rows) for i in range(len(self.heads))]
        heads: list[str] = []
        for head, spread in zip(self.heads, wide, strict=True):
            heads += [head, f"{head} low", f"{head} high"] if spread else [head]
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(heads)
        for row in self.rows:
            writer.writerow([x for i, cell in enumerate(row) for x in _plain(cell, wide[i])])
        return buffer.getvalue()

    def markdown(self) -> str:
        """GitHub's: numbers to the right, the best in bold, intervals behind them."""
        rule = ["---:" if right else "---" for right in self._numbers()]
        rows = [[_in_markdown(cell) for cell in row] for row in self.rows]
        heads = [_pipes(head) for head in self.heads]
        lines = ["| " + " | ".join(row) + " |" for row in (heads, rule, *rows)]
        return "\n".join([*lines, *(["", *self.notes] if self.notes else [])]) + "\n"

    def latex(self) -> str:
        r"""A ``tabular`` with rules of booktabs; intervals stand small behind their numbers, and
        the notes above as comments, to be taken into the caption.
        """
        sides = "".join("r" if right else "l" for right in self._numbers())
        rows = [[_in_latex(cell) for cell in row] for row in self.rows]
        heads = [latex_text(head) for head in self.heads]
        comments = [f"% {line}" for note in self.notes for line in note.splitlines()]
        body = [" & ".join(row) + r" \\" for row in rows]
        return "\n".join([
            r"% \usepackage{booktabs}", *comments, rf"\begin{{tabular}}{{{sides}}}", r"\toprule",
            " & ".join(heads) + r" \\", r"\midrule", *body, r"\bottomrule", r"\end{tabular}", "",
        ])  # fmt: skip

    def _numbers(self) -> list[bool]:
        """Which columns hold numbers."""
        return [
            any(isinstance(row[i], Figure) for row in self.rows) for i in range(len(self.heads))
        ]


def latex_text(raw: str) -> str:
    """Text as LaTeX sets it: what has a meaning there is escaped, Greek letters are mathematics."""
    return "".join(_LATEX.get(letter, letter) for letter in raw)


def scaled(value: float, low: float, high: float, **more: bool) -> Figure:
    """A share of 1 with its interval, in percent."""
    return Figure(100 * value, 100 * low, 100 * high, **more)


def _has_interval(cell: Cell) -> bool:
    return isinstance(cell, Figure) and cell.low is not None


def _plain(cell: Cell, wide: bool) -> list[str]:
    if isinstance(cell, Figure):
        ends = (cell.value, cell.low, cell.high) if wide else (cell.value,)
        return ["" if x is None else repr(float(x)) for x in ends]
    return [cell or "", *(("", "") if wide else ())]


def _pipes(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _in_markdown(cell: Cell) -> str:
    if not isinstance(cell, Figure):
        return _pipes(cell or MISSING)
    number = f"**{cell.number()}**" if cell.best else cell.number()
    return f"{number} {cell.interval()}".strip()


def _in_latex(cell: Cell) -> str:
    if not isinstance(cell, Figure):
        return latex_text(cell or MISSING)
    number = latex_text(cell.number())
    number = rf"\textbf{{{number}}}" if cell.best else number
    ends = latex_text(cell.interval())
    return rf"{number} {{\scriptsize {ends}}}" if ends else number
