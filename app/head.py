"""The head of a page: its question, the sentence that answers it, and one line for all notices."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import streamlit as st
from streamlit.delta_generator import DeltaGenerator


@dataclass
class Head:
    """Places that are reserved while the page is drawn, and what is to stand there.

    Attributes:
        answer: Where the answer goes; ``None`` before the title is drawn.
        slot: Where the notices go.
        notices: Each text in Markdown with the command that helps, ``""`` for none.
    """

    answer: DeltaGenerator | None = None
    slot: DeltaGenerator | None = None
    notices: list[tuple[str, str]] = field(default_factory=list)


def title(question: str) -> None:
    """Draw the question and keep places below it for the answer and the notices."""
    st.title(question, anchor="content")  # where the skip link leads
    if head := _current():
        head.answer, head.slot = st.container(), st.container()


def answer(sentence: str) -> None:
    """The answer to a page's question, in Markdown, above its first figure and its notices.

    Args:
        sentence: Computed from the records shown; names in it are escaped with
            :func:`app.shell.text`.
    """
    head = _current()
    (head.answer if head and head.answer else st).markdown(unbroken(sentence))


_CODE = re.compile(r"((?<!\\)`[^`]*`)")
_UNITS = r"(?:%|(?:ms|s|min|h|d|px|[kMG]B|points?)\b)"
_ENDS = r"(?<=[\d∞],) (?=[−+]?[\d∞][^\s\[\]]*\\?\])"  # 3.0, 4.1] in Markdown
_TIED = re.compile(
    rf"(?<=\d) (?={_UNITS})|(?<=\d min) (?=\d)|(?<=\d h) (?=\d)|{_ENDS}"
    r"|(?<=\S) (?=[=<>±≤≥≈] [\d−∞])|(?<=[=<>±≤≥≈]) (?=[\d−∞])"
)


def unbroken(sentence: str) -> str:
    """A sentence whose numbers stay on one line with their unit and with what they are of, as in
    ``ε = 4/255``, and both ends of an interval, by spaces that do not break; code, which people
    copy, is left alone.
    """
    parts = _CODE.split(sentence)
    parts[::2] = [_TIED.sub("\u00a0", part) for part in parts[::2]]
    return "".join(parts)


def typeset(caption: str) -> str:
    """A caption for the page: numbers stay with their units, and norms have real subscripts."""
    return unbroken(caption).replace("ℓ∞", r"$\ell_\infty$")


def notice(sentence: str, command: str = "") -> None:
    """Something to know that is not the answer: what was left out, and why.

    All notices of a page are one collapsed line at the end of its head, however early or late they
    are given; each sentence once. Outside of :func:`noticing` a notice is drawn where it is given.

    Args:
        sentence: In Markdown; names in it are escaped with :func:`app.shell.text`.
        command: For a shell, shown below the sentence.
    """
    head = _current()
    if head is None:
        st.warning(sentence)
        if command:
            st.code(command, language="bash", wrap_lines=True)
    elif (sentence, command) not in head.notices:
        head.notices.append((sentence, command))


@contextmanager
def noticing(key: str = "notices") -> Iterator[None]:
    """Gather what :func:`notice` is given inside, and draw it at the end as one line.

    It stands at the end of the head where the page was given one inside, else where the block
    began. A fragment that gives notices needs a block of its own: when it is run again, the page's
    is over.

    Args:
        key: Of the line; another one for each block of a page.
    """
    outer = _current()
    st.session_state["head"] = head = Head(slot=st.container())
    try:
        yield
        _draw(head, key)
    finally:
        st.session_state["head"] = outer


MOST_LETTERS = 72
"""Of a sentence in a line that stands for it: one line on a laptop, two on a telephone."""


def first_words(sentence: str, most: int = MOST_LETTERS) -> str:
    """The begin of a text in Markdown, at most its first sentence, neither bold nor as code; what
    is escaped stays escaped.
    """
    first = re.sub(r"(?<!\\)\.$", "", re.split(r"(?<=[^\\][.!?]) ", sentence)[0])
    words = re.sub(r"(?<!\\)(\*\*|`)", "", first).split(" ")
    for count in range(len(words), 0, -1):
        said = " ".join(words[:count])
        if len(re.sub(r"\\(.)", r"\1", said)) <= most:
            return said if count == len(words) else f"{said.rstrip(',;')} …"
    return f"{words[0][:most].rstrip(chr(92))}…"


def _current() -> Head | None:
    """That of the innermost block."""
    head: Head | None = st.session_state.get("head")
    return head


def _draw(head: Head, key: str) -> None:
    if not head.notices or head.slot is None:
        return
    many = len(head.notices)
    label = f"{many} notice{'s' if many > 1 else ''}: {first_words(head.notices[0][0])}"
    with head.slot.expander(label, key=key):
        for sentence, command in head.notices:
            st.markdown(f"- {sentence}")
            if command:
                st.code(command, language="bash", wrap_lines=True)
