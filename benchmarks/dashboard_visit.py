"""One visit to the dashboard, timed; ``benchmarks/dashboard.py`` starts it with a folder of runs,
or without one for the floor.

Before the clock starts nothing but Streamlit is imported, as where ``streamlit run`` waits for its
first visitor, and what that keeps is kept: pages that it has compiled. Prints CPU seconds of this
process as JSON, by what was done.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import streamlit.web.bootstrap  # what a server has imported
from streamlit import config
from streamlit.runtime.scriptrunner.script_cache import ScriptCache
from streamlit.testing.v1 import AppTest, app_test, local_script_runner

MAIN = Path(__file__).resolve().parents[1] / "app" / "main.py"
PAGES = (
    "curvature", "landscape", "drift", "features", "robustness", "images", "numbers", "weights",
    "training", "run", "overview",
)  # fmt: skip
LONGEST = 300
"""Seconds that a page may take."""

FLOOR = """
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

st.title("floor")
st.dataframe(pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}).style.format("{:.1f}"))
st.plotly_chart(go.Figure(go.Scatter(x=[1, 2], y=[2, 3])), theme=None)
"""


def as_served() -> None:
    """Take the options that lie beside the dashboard, and keep what was compiled: a server does
    both, a test of Streamlit's neither.
    """
    config._main_script_path = str(MAIN)
    config.get_config_options(force_reparse=True)
    compiled = ScriptCache()
    for module in (app_test, local_script_runner):
        vars(module)["ScriptCache"] = lambda: compiled


def seconds(call: Callable[[], object]) -> float:
    """Of CPU, of one call."""
    began = time.process_time()
    call()
    return time.process_time() - began


def floor() -> dict[str, float]:
    """A table and a figure, and again."""
    app = AppTest.from_string(FLOOR, default_timeout=LONGEST)
    return {"first page": seconds(app.run), "again": seconds(app.run)}


def tour(root: str) -> dict[str, float]:
    """The first page, every page twice, and turns of controls.

    Raises:
        RuntimeError: If a page shows an exception.
    """
    sys.argv = ["main.py", "--runs", root]
    app = AppTest.from_file(str(MAIN), default_timeout=LONGEST)
    found = {"first page": seconds(app.run)}
    for turn in ("first visit", "again"):
        for page in PAGES:
            app.switch_page(f"views/{page}.py")
            found[f"{page}, {turn}"] = seconds(app.run)
            if app.exception:
                raise RuntimeError(f"{page}: {app.exception[0].value}")
    for page, what, change in turns(app):
        app.switch_page(f"views/{page}.py").run()
        change()
        found[f"{page}: {what}"] = seconds(app.run)
    return found


def turns(app: AppTest) -> list[tuple[str, str, Callable[[], object]]]:
    """A page, what is turned there, and how; each is turned from what is shown at first."""
    return [
        ("overview", "differences on", lambda: app.toggle("overview_differences").set_value(True)),
        ("overview", "and off again", lambda: app.toggle("overview_differences").set_value(False)),
        ("overview", "one distribution", lambda: app.multiselect("sets").set_value(["adv"])),
        ("overview", "all again", lambda: app.multiselect("sets").set_value([])),
        ("overview", "each seed", lambda: app.multiselect("over").set_value([])),
        ("overview", "means again", lambda: app.multiselect("over").set_value(["seed"])),
        ("overview", "find runs", lambda: app.text_input("find").set_value("seed<2")),
        ("drift", "another measure", lambda: app.selectbox("drift_measure").select_index(1)),
        (
            "training",
            "logarithmic",
            lambda: app.segmented_control("training_axes").set_value("log"),
        ),
        ("numbers", "another number", lambda: app.selectbox("numbers_x").select_index(1)),
    ]


if __name__ == "__main__":
    assert streamlit.web.bootstrap is not None
    as_served()
    print(json.dumps(tour(sys.argv[1]) if len(sys.argv) > 1 else floor()))
