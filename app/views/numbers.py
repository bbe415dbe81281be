"""Does one number of a run go with another?"""

from collections.abc import Mapping, Sequence
from typing import cast

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import compare, relations, shell, show, tables
from app.catalogue import Catalogue, catalogue, without_attack
from app.grouped import alone, grouped, in_names, listed
from app.kept import kept
from app.measured import command
from app.relations import LINES, PRESETS, Preset
from app.shell import Choice, inline, text
from grace_geom.plots import numbers as plots
from grace_geom.plots.numbers import Axis, Scale
from grace_geom.records import RecordError, titles
from grace_geom.records.fit import Fit, line_of, together
from grace_geom.records.numbers import Quantity
from grace_geom.records.printed import MISSING, Printed

METHOD = "method"
FEW = 4  # runs of which each has a column of settings; of more, the rows say which differ
MOST_INLINE = 6  # settings of one method that stand in a row; more are folded below
DIFFERS = (
    "Only settings in which the runs differ; \u2013: without such a setting, or without effect. Of "
    "means over seeds: the settings of the first run."
)
# On a telephone the figure comes before the controls; cells of text use the room that there is.
LOOK = (
    "@media(max-width:640px){[data-testid=stLayoutWrapper]:has(>.st-key-numbers-controls),"
    ".st-key-numbers-top>.st-key-numbers-controls{order:1}}"
    "[data-testid=stTable] td *{max-width:none!important}"
    "[data-testid=stTable] td:first-child{min-width:7rem}"
)

# plotly draws parallel axes in black at a quarter of its strength: unseen on dark ground.
AXES = ".js-plotly-plot .axis :is(.domain,.tick>line){{stroke:{color};stroke-opacity:.7}}"


def main() -> None:
    """Presets, the choice of two numbers, the scatter; then all of them side by side."""
    choice = shell.page("Does one number go with another?")
    st.html(f"<style>{LOOK}{AXES.format(color=choice.ground.muted)}</style>")
    top = st.container(key="numbers-top")
    controls = top.container(key="numbers-controls")
    buttons = controls.container(horizontal=True, gap="small")
    with controls:
        *fields, more = st.columns([3, 3, 3, 1.7], vertical_alignment="bottom")
    with more, st.popover("More", width="stretch", key="numbers_more"):
        scales = st.container(gap="small")
        matrices = st.toggle(
            "Numbers of each matrix of weights", key="numbers_matrices", bind="query-params",
            help="Curvature, drift and ranks matrix by matrix: some hundred numbers more.",
        )  # fmt: skip
    known = catalogue(choice, matrices)
    plottable = [key for key, some in known.values.items() if some]
    if len(plottable) < 2:
        st.info("The chosen runs have no numbers yet. This evaluates them:")
        ids = " ".join(shell.quoted(e.path) for e in choice.runs)
        st.code(f"python -m grace_geom.evaluate {ids}", language="bash", wrap_lines=True)
        return
    with buttons:
        presets(choice, known)
    x, y, color = picks(known, plottable, fields)
    with scales:
        kinds = cast(tuple[Scale, Scale], (_scale("x", x), _scale("y", y)))
        through = st.segmented_control(
            "Line through", list(LINES), default="all", required=True, key="numbers_line",
            format_func=LINES.__getitem__, bind="query-params",
        )  # fmt: skip
    with top:
        relation(choice, known, (x, y), kinds, color, through or "all")
    side_by_side(choice, known)
    differences(choice, known)


def presets(choice: Choice, known: Catalogue) -> None:
    """A button for each question; one whose numbers are missing says what measures them."""
    for name, preset in PRESETS.items():
        x, y = known.first(*preset.x), known.first(*preset.y)
        ready = bool(x and y)
        lacking = (
            f" Not yet measured: {command(choice, preset.analysis)}" if preset.analysis else ""
        )
        st.button(
            preset.title, key=f"numbers_preset_{name}", disabled=not ready, on_click=_take,
            args=(x, y, preset), help=preset.help + ("" if ready else lacking),
        )  # fmt: skip


def _take(x: str, y: str, preset: Preset) -> None:
    chosen = {"x": x, "y": y, "line": preset.line}
    chosen |= {"x_scale": preset.scales[0], "y_scale": preset.scales[1]}
    for name, value in chosen.items():
        st.session_state[f"numbers_{name}"] = value


def picks(
    known: Catalogue, keys: list[str], places: Sequence[DeltaGenerator]
) -> tuple[Quantity, Quantity, str]:
    """What stands on the axes, and what colours mean; a control in each of three places."""
    first = known.first("parameter_drift/drift", "ID") or keys[0]
    other = known.first("ZS") if first == "parameter_drift/drift" else ""
    start = (first, other or known.first("Adv", "OOD", "HM") or keys[-1])
    picked = []
    for place, axis, key in zip(places, ("x", "y"), start, strict=False):
        _keep(f"numbers_{axis}", keys)
        with place:
            picked.append(
                st.selectbox(
                    f"On the {axis} axis", keys, index=keys.index(key), key=f"numbers_{axis}",
                    format_func=lambda k: known.quantities[k].title, bind="query-params",
                    filter_mode="contains",
                )
            )  # fmt: skip
    colors = [METHOD, *known.settings]
    _keep("numbers_color", colors)
    with places[2]:
        color = st.selectbox(
            "Colour by", list(dict.fromkeys(colors)), key="numbers_color", bind="query-params",
            filter_mode="contains", format_func=titles.setting,
            help="The method, or any setting in which the runs differ.",
        )  # fmt: skip
    return known.quantities[picked[0]], known.quantities[picked[1]], color


def _scale(axis: str, quantity: Quantity) -> str:
    """Linear, logarithmic, or for shares probit."""
    offered = ["linear", "log", *(["probit"] if quantity.share else [])]
    key = f"numbers_{axis}_scale"
    _keep(key, offered)
    found = st.segmented_control(
        f"{axis} axis is", offered, default="linear", required=True, key=key, bind="query-params"
    )
    return found or "linear"


def _keep(key: str, options: list[str]) -> None:
    """Forget a choice that these runs do not offer."""
    if st.session_state.get(key, options[0]) not in options:
        del st.session_state[key]


def relation(
    choice: Choice,
    known: Catalogue,
    picked: tuple[Quantity, Quantity],
    scales: tuple[Scale, Scale],
    color: str,
    through: str,
) -> None:
    """The scatter of two numbers, and what it says."""
    points = known.pairs(picked[0].key, picked[1].key)
    titled = zip(picked, scales, strict=True)
    x, y = (Axis(relations.axis_title(q), scale, q.share) for q, scale in titled)
    at = plots.places(points, x, y)
    found = together([a for a, _ in at.values()], [b for _, b in at.values()])
    clean = [e.id for e in choice.compared if e.id in at and without_attack(e)]
    fitted, lacking = _line(at, clean, through)
    names = {run: text(name) for run, name in choice.names.items()}
    said = relations.sentence(picked, len(at), found)
    if fitted is not None and through == "clean":
        highest = relations.above(fitted, points, clean, (x, y))
        said += relations.beyond(highest, fitted.n, y.share, names) if highest else ""
    shell.answer(said)
    if lacking:
        shell.notice(f"No line: {lacking}.")
    lost = [names[run] for run in points if run not in at]
    if lost:
        shell.notice(f"Without a place on these axes: {', '.join(lost)}.")
    values = known.settings.get(color, {}) if color != METHOD else {}
    shades = plots.colors_of(values, choice.ground)
    colors = {run: shades[str(value)] for run, value in values.items()}
    diagonal = picked[0].share and picked[1].share and scales[0] == scales[1]
    drawn = plots.Drawn(fitted, clean if through == "clean" else (), colors, diagonal)
    if shades:
        st.caption(f"Colours: {inline(titles.setting(color))}")
        show.swatches(shades)
    named = plots.labels({run: choice.names[run] for run in at})
    if not named and color == METHOD:
        show.legend(list(at), choice.legend, lines=False)
    show.figure(
        kept(plots.scatter, points, choice.legend, x, y, drawn), "numbers",
        f"Scatter of {picked[1].title} against {picked[0].title}, a point a run. {_plain(said)}",
        relations.caption(points, picked, fitted, through),
        lambda: pd.DataFrame([
            {"run": run, picked[0].key: a.value, "x low": a.low, "x high": a.high,
             picked[1].key: b.value, "y low": b.low, "y high": b.high}
            for run, (a, b) in points.items()
        ]),
        "No chosen run has both numbers on these axes.",
    )  # fmt: skip


def _line(
    at: dict[str, tuple[float, float]], clean: list[str], through: str
) -> tuple[Fit | None, str]:
    """The fitted line, or why there is none."""
    if through == "none":
        return None, ""
    runs = clean if through == "clean" else list(at)
    try:
        return line_of([at[run][0] for run in runs], [at[run][1] for run in runs]), ""
    except RecordError as error:
        return None, f"{error}{' that trained without attack' if through == 'clean' else ''}"


def _plain(said: str) -> str:
    return said.replace("\\", "").replace("**", "")


def side_by_side(choice: Choice, known: Catalogue) -> None:
    """Runs as lines across settings and results."""
    st.header("Settings and results side by side", anchor=False)
    offered = [f"setting/{name}" for name in known.settings if name != METHOD]
    offered += [key for key in known.values if not key.startswith("setting/")]
    runs = [e.id for e in choice.compared]
    usual: list[str] = [
        key for key in ("setting/lr", "setting/rho")
        if key in offered and 2 * len(_column(known, key).values.keys() & {*runs}) > len(runs)
    ]  # fmt: skip
    scored = known.values.get("HM", {}).keys()
    for key in ("cost/passes", "cost/step", "ID", "OOD", "Adv", "ZS", "HM"):
        if scored and scored <= known.values.get(key, {}).keys():
            usual.append(key)
    stay = [key for key in st.session_state.get("numbers_axes", []) if key in offered]
    if "numbers_axes" in st.session_state and stay != st.session_state["numbers_axes"]:
        st.session_state["numbers_axes"] = stay
    axes = st.multiselect(
        "Axes", offered, default=usual, key="numbers_axes", bind="query-params",
        format_func=lambda key: _title(known, key), filter_mode="contains",
    )  # fmt: skip
    columns = [_column(known, key) for key in axes]
    whole = [run for run in runs if all(c.few or run in c.values for c in columns)]
    lost = [shell.called(choice.names[run]) for run in runs if run not in whole]
    fig = kept(plots.parallel, columns, whole, choice.legend)
    show.figure(
        fig, "parallel",
        f"Parallel coordinates of {', '.join(c.title for c in columns)}, a line a run",
        "A line a run in its colour. Drag along an axis to keep the runs of that range; drag a "
        "title to move its axis. Accuracies in %, means over seeds where there are some."
        + (" Settings of a few values: equal steps." if any(c.few for c in columns) else "")
        + (f" Without one of these numbers: {', '.join(lost)}." if lost else ""),
        lambda: pd.DataFrame([
            {"run": run, **{c.title: c.values.get(run) for c in columns}} for run in whole
        ]),
        "Choose two axes at least that two of the runs have.", least=plots.parallel_width(fig) if fig else 0,
    )  # fmt: skip


def _title(known: Catalogue, key: str) -> str:
    if key in known.quantities:
        return known.quantities[key].title
    return titles.setting(key.removeprefix("setting/"))


def _column(known: Catalogue, key: str) -> plots.Column:
    name = key.removeprefix("setting/")
    if key.startswith("setting/") and name in known.settings:
        return plots.Column(titles.setting(name), known.settings[name], few=True)
    quantity = known.quantities[key]
    values: dict[str, float | str] = {run: x.value for run, x in known.values[key].items()}
    return plots.Column(quantity.title, values, quantity.share)


def differences(choice: Choice, known: Catalogue) -> None:
    """Settings in which the chosen runs differ: a column a run where there are few, else what most
    have and who has something else. The files have a column a run.
    """
    st.header("What differs", anchor=False)
    runs = [e.id for e in choice.compared]
    if not known.settings:
        st.caption("The chosen runs have the same settings, or none on record.")
        return
    cells = {
        name: {run: _cell(name, values.get(run)) for run in runs}
        for name, values in known.settings.items()
    }
    heads = ["setting", *(choice.names[run] for run in runs), "key"]
    rows = [[titles.setting(name), *cells[name].values(), name] for name in cells]
    table = Printed(heads, rows, [DIFFERS])
    alt = "Settings in which the chosen runs differ"
    if len(runs) <= FEW:
        filled = [[cell or MISSING for cell in row] for row in rows]
        tables.draw(Printed(heads, filled), alt, helps={})
    else:
        by_value(choice, cells, alt)
    more = "" if len(runs) <= FEW else " In brackets: of how many runs."
    st.caption(f"{inline(DIFFERS)}{more}")
    tables.downloads(table, "differences", "table-differences")


def by_value(choice: Choice, cells: Mapping[str, Mapping[str, str | None]], alt: str) -> None:
    """A row a setting: what most runs have, and who has something else. Settings that only some
    runs have, as the options of a method, stand together below, many of them folded.
    """
    some = alone(cells)
    told = {name for known in some.values() for name, _ in known}
    if in_names(cells.get(METHOD, {}), choice.names):
        told.add(METHOD)
    rows = [
        (f"{inline(titles.setting(name))} `{name}`", *grouped(cells[name], choice.names))
        for name in cells
        if name not in told
    ]
    only: list[tuple[str, ...]] = []
    folded: dict[str, list[tuple[str, str]]] = {}
    for having, known in some.items():
        pairs = [(inline(titles.setting(name)), f"**{value}**") for name, value in known]
        whole = "; ".join(" ".join(pair) for pair in pairs)
        if len(pairs) > MOST_INLINE:
            whole = f"{len(pairs)} settings, listed below"
            folded[listed(having, choice.names)] = pairs
        only.append((listed(having, choice.names), whole))
    for heads, body in (
        (("setting", "most runs", "the others"), rows),
        (("only in", "settings that the others do not have"), only),
    ):
        if body:
            frame = pd.DataFrame(body, columns=list(heads))
            st.table(frame, border="horizontal", hide_index=True, alt=alt)
    for i, (names, pairs) in enumerate(folded.items()):
        with st.expander(f"{len(pairs)} settings only in {names}", key=f"numbers_only_{i}"):
            frame = pd.DataFrame(pairs, columns=["setting", "value"])
            st.table(frame, border="horizontal", hide_index=True, alt=f"{alt}: {i + 1}")


def _cell(name: str, value: float | str | None) -> str | None:
    return None if value is None else compare.told(name, value)


main()
