"""The dashboard: ``streamlit run app/main.py [-- --runs DIR]``"""

import argparse
import sys
from pathlib import Path

import streamlit as st
from streamlit.navigation.page import StreamlitPage

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # streamlit puts only this folder there

from app import shell

VIEWS = Path(__file__).parent / "views"


def folder_of_runs() -> Path:
    """``--runs``, given once when the dashboard is started; no widget and no link can change it."""
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    return parser.parse_known_args()[0].runs


def nothing_yet(root: Path) -> None:
    """What to do before there is a run."""
    st.title("No runs yet")
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
    st.button("Look again", on_click=st.cache_resource.clear)


def main() -> None:
    """Sidebar, then the page."""
    st.set_page_config(page_title="grace_geom", layout="wide")
    pages = [
        st.Page(VIEWS / "overview.py", title="Overview", default=True),
        st.Page(VIEWS / "curvature.py", title="Curvature"),
        st.Page(VIEWS / "landscape.py", title="Landscape"),
        st.Page(VIEWS / "drift.py", title="Representation drift"),
        st.Page(VIEWS / "features.py", title="Feature geometry"),
        st.Page(VIEWS / "robustness.py", title="Robustness"),
        st.Page(VIEWS / "weights.py", title="Weights"),
        st.Page(VIEWS / "training.py", title="Training"),
        st.Page(VIEWS / "run.py", title="Run"),
    ]
    page = st.navigation(pages)
    with shell.noticing():
        draw(page, folder_of_runs())


def draw(page: StreamlitPage, root: Path) -> None:
    """Sidebar and page, or what to do where there is nothing to show."""
    choice = shell.sidebar(root)
    if choice is None:
        nothing_yet(root)
        return
    st.session_state["choice"] = choice
    if not choice.runs:
        st.title(page.title)
        st.info("No run is chosen: choose some in the sidebar.")
        return
    page.run()


if __name__ == "__main__":  # not where a process of another program looks this file up
    main()
