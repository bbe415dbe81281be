"""The dashboard: ``streamlit run app/main.py [-- --runs DIR]``, or ``-- s3://BUCKET/STUDY``"""

import argparse
import atexit
import gc
import sys
from collections.abc import Sequence
from pathlib import Path

import streamlit as st
from streamlit.navigation.page import StreamlitPage

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # streamlit puts only this folder there

from app import head, link, mirror, shell, store, studying
from app.shell import Choice, text
from app.sidebar import sidebar
from grace_geom.errors import UserError
from grace_geom.store import PROTOCOLS, protocol_of

VIEWS = Path(__file__).parent / "views"
# What the Tab key reaches first, seen only then; less air above a page's question; links whose
# marks do not lie over each other; code in captions and flags of commands, which Streamlit's light
# theme writes too pale for many people; what is chosen of a few, which Streamlit writes paler than
# the rest; and whole names of chosen runs.
SKIP = """<a class="skip" href="#content">Skip to the page</a>
<style>.skip:not(:focus){position:absolute;left:-100vw}
[data-testid=stCaptionContainer] code{color:inherit}
[data-testid=stMainBlockContainer]{padding-top:4rem}
[data-testid=stSidebar] [data-testid=stElementContainer]:has(>[data-testid=stPageLink]){margin:-4px 0}
.token.parameter.variable{color:inherit}
[data-testid=stButtonGroup] [data-variant][data-selected]{
color:inherit;border-color:currentcolor;box-shadow:inset 0 0 0 1px currentcolor}
[data-testid=stButtonGroup] [data-variant][data-selected] p{color:inherit;font-weight:600}
[data-tag]{height:auto;min-height:1.75rem;max-width:100%;white-space:normal;padding-block:3px}
[data-tag]>span{white-space:normal;overflow-wrap:anywhere;line-height:1.35}</style>"""
# Streamlit writes chosen runs in white, also on the pale ground that they have in the dark.
CHIPS = "<style>[data-tag]{{color:{color}}}</style>"


def folder_of_runs() -> Path:
    """``--runs``, given once when the dashboard is started; no widget and no link can change it. Of
    a store, the folder that is kept of it here.

    Raises:
        UserError: If an address is no store.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--runs", default="runs")
    options, others = parser.parse_known_args()
    urls = [word for word in (options.runs, *others) if protocol_of(word) in PROTOCOLS]
    if mirror.is_store(Path(options.runs)):
        urls.append(options.runs)
    if not urls:
        return Path(options.runs)
    found = mirror.of_url(urls[0])
    found.look()
    return found.root


def nothing_yet(root: Path) -> None:
    """What to do before there is a run."""
    head.title("No runs yet")
    if kept := mirror.of_root(root):
        for problem in kept.problems:
            st.warning(text(problem))
        st.markdown(f"No run of **{text(kept.store.url)}** is finished.")
        studying.draw(kept)
        return
    st.markdown(
        f"There is no run below **{shell.text(str(root))}**. This makes five of them in a few "
        "minutes:"
    )
    st.code("make demo", language="bash")
    st.markdown("or train one, evaluate it, and come back:")
    st.code(
        "python -m grace_geom.train\npython -m grace_geom.evaluate runs/*/ckpt.pt", language="bash"
    )
    st.markdown("Runs that lie elsewhere are named when the dashboard is started:")
    st.code("streamlit run app/main.py -- --runs DIR", language="bash")
    st.caption("This page looks again by itself.")


@st.cache_resource(show_spinner=False)
def settle() -> None:
    """Once for all visitors: what is loaded by now stays as long as the server, so the garbage
    collector need not look through it while pages are made; a look takes a tenth of a second.
    """
    gc.collect()  # what is garbage by now would stay too
    gc.freeze()
    atexit.register(gc.unfreeze)  # modules of other languages complain of what is left at the end


def main() -> None:
    """Sidebar, then the page."""
    settle()
    st.set_page_config(page_title="grace_geom", layout="wide")
    pages = [
        st.Page(VIEWS / "overview.py", title="Overview", default=True),
        st.Page(VIEWS / "numbers.py", title="Any number"),
        st.Page(VIEWS / "curvature.py", title="Curvature"),
        st.Page(VIEWS / "landscape.py", title="Landscape"),
        st.Page(VIEWS / "drift.py", title="Representation drift"),
        st.Page(VIEWS / "features.py", title="Feature geometry"),
        st.Page(VIEWS / "robustness.py", title="Robustness"),
        st.Page(VIEWS / "images.py", title="Images"),
        st.Page(VIEWS / "weights.py", title="Weights"),
        st.Page(VIEWS / "training.py", title="Training"),
        st.Page(VIEWS / "run.py", title="Run"),
    ]
    page = st.navigation(pages, position="hidden")
    try:
        root = folder_of_runs()
    except UserError as error:
        head.title("No such store")
        st.error(text(str(error)))
        return
    with shell.noticing():
        draw(page, pages, root)


def draw(page: StreamlitPage, pages: Sequence[StreamlitPage], root: Path) -> None:
    """Sidebar and page, or what to do where there is nothing to show."""
    with st.sidebar:
        links = st.container(gap=None)
    choice = sidebar(root)
    st.set_page_config(page_title=title(page, root, choice))
    with links:
        st.html(SKIP + (CHIPS.format(color=choice.ground.paper) if choice else ""))
        for other in pages:  # a link opened elsewhere shows the same runs
            st.page_link(other, query_params=link.shared(), width="stretch")
    if choice is None:
        nothing_yet(root)
        return
    st.session_state["choice"] = choice
    if not choice.runs:
        head.title(page.title)
        st.info("No run is chosen: choose some in the sidebar.")
        return
    page.run()


def title(page: StreamlitPage, root: Path, choice: Choice | None) -> str:
    """Of the browser's window: the page, and the folder that holds the chosen runs."""
    folders = {e.folder for e in choice.runs} if choice else set()
    kept = mirror.of_root(root)
    study = root / folders.pop() if len(folders) == 1 and not kept else root
    if kept:
        return f"{page.title} · {store.readable(kept.store.url)} · grace_geom"
    return f"{page.title} · {store.readable(str(study))} · grace_geom"


if __name__ == "__main__":  # not where a process of another program looks this file up
    main()
