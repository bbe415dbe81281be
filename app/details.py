"""What stands behind the figures of a page, for those who want to know: one expander at its end."""

from collections.abc import Mapping

import streamlit as st


def details(said: Mapping[str, str]) -> None:
    """Longer explanations of the figures, collapsed; nothing where there are none.

    Args:
        said: Title of a figure -> text in Markdown; empty texts are left out.
    """
    known = {title: text for title, text in said.items() if text}
    if not known:
        return
    with st.expander("How to read and how it was measured", key="details"):
        for title, text in known.items():
            st.markdown(f"**{title}.** {text}")


def heading(title: str, meaning: str = "") -> None:
    """A heading that leaves room beside it for a control; call it inside a horizontal container."""
    st.header(title, anchor=False, help=meaning or None, width="content")


def form(names: tuple[str, str], many: bool, key: str) -> str:
    """A control beside a heading that chooses between two forms of a figure.

    Args:
        names: The form for many runs, and that for few.
        many: Whether there are so many that the first is drawn until somebody wants the other.
        key: Of the control, in the page and in its link.
    """
    return st.segmented_control(
        "Form", names, default=names[not many], key=key, bind="query-params", required=True,
        width="content", label_visibility="collapsed",
    )  # fmt: skip
