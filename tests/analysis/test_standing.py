"""Which checkpoint is best: the order, who may be as good, and what the report says of it."""

import html
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np

from grace_geom.analysis.report_page import page
from grace_geom.analysis.standing import RankedCheckpoints, figures, how_measured, standing
from grace_geom.records import Accuracy, EvalRecord, pack, wilson

N = 400
APGD = {
    "name": "apgd-ce", "eps": 4 / 255, "norm": "linf", "seed": 0, "precision": "float32",
    "parts": [{"name": "apgd-ce", "steps": 100}],
}  # fmt: skip


def accuracy(suite: str, right: np.ndarray, attack: dict[str, object] | None = None) -> Accuracy:
    k = int(right.sum())
    subset = {"of": N, "seed": 0, "ids_sha256": "ab" * 32}
    return Accuracy(
        suite, "set", "npz:set", N, k, k / N, *wilson(k, N), 1.0,
        attack=attack, subset=subset, outcomes=pack(right),
    )  # fmt: skip


def evaluated(folder: Path, name: str, right: tuple[int, int, int], sha: str = "") -> Path:
    """A run whose ID, OOD and adversarial answers are right on the first images."""
    answers = [np.arange(N) < k for k in right]
    suites = (("id", None), ("ood", None), ("adv", APGD))
    found = [accuracy(s, a, attack) for (s, attack), a in zip(suites, answers, strict=True)]
    record = EvalRecord(sha or name, name, name, 0, {}, tuple(found)).summed()
    (folder / name).mkdir()
    record.save(folder / name / "eval.json")
    return folder / name / "ckpt.pt"


def three(tmp_path: Path) -> RankedCheckpoints:
    files = {
        "weak": evaluated(tmp_path, "weak", (380, 300, 20)),
        "near": evaluated(tmp_path, "near", (360, 300, 239)),
        "best": evaluated(tmp_path, "best", (360, 300, 240)),
    }
    return standing(files, {name: name for name in files})


def test_checkpoints_are_ordered_by_hm_whatever_their_order(tmp_path: Path) -> None:
    found = three(tmp_path)
    assert list(found.estimates) == list(found.records) == ["best", "near", "weak"]
    assert found.by == "HM" and found.columns == ["HM", "ID", "OOD", "Adv"]
    assert found.leaders("HM") == {"best", "near"} and found.leaders("ID") == {"weak"}


def test_one_image_is_no_clear_lead_and_two_hundred_are(tmp_path: Path) -> None:
    said = three(tmp_path).sentence()
    assert said.startswith("**best** has the best trade-off, HM 73.0 % [")
    assert "not clearly ahead of **near** (+0.1 points [" in said
    assert "; clearly ahead of **weak** (+" in said


def test_an_evaluation_of_another_content_does_not_count(tmp_path: Path) -> None:
    files = {name: evaluated(tmp_path, name, (360, 300, 240)) for name in ("old", "new")}
    found = standing(
        files | {"none": tmp_path / "none" / "ckpt.pt"}, {"old": "rewritten", "new": "new"}
    )
    assert list(found.records) == ["new"] and found.sentence().endswith("].")
    assert found.missing == {
        "old": "evaluated before the checkpoint was last written", "none": "not evaluated"
    }  # fmt: skip


def test_attacks_that_differ_are_not_compared(tmp_path: Path) -> None:
    files = {name: evaluated(tmp_path, name, (360, 300, k)) for name, k in (("a", 240), ("b", 10))}
    path = tmp_path / "b" / "eval.json"
    path.write_text(path.read_text().replace('"steps": 100', '"steps": 10'))
    found = standing(files, {"a": "a", "b": "b"})
    said = found.sentence()
    assert said.startswith("**a** has the highest HM on record, HM 73.0 % [")
    assert "not to be compared with **b** (attacks are not the same)" in said
    assert found.leaders("Adv") == found.leaders("HM") == set() and found.ranks() == {}
    assert found.leaders("ID") == {"a", "b"}
    table = page("A report", list(files), [], best=found).partition("<tbody>")[2]
    assert 'class="lead"' not in table and '<span class="rank"></span>' in table


def test_a_checkpoint_without_the_number_has_no_rank(tmp_path: Path) -> None:
    files = {name: evaluated(tmp_path, name, (360, 300, 240)) for name in ("a", "b")}
    record = EvalRecord.load(path := tmp_path / "b" / "eval.json")
    replace(record, accuracies=record.accuracies[:1]).summed().save(path)
    found = standing(files, {"a": "a", "b": "b"})
    assert found.ranks() == {"a": "1"} and list(found.records) == ["a", "b"]
    text = page("A report", list(files), [], best=found)
    assert re.findall(r'"rank">([^<]*)</span>', text) == ["1", ""]


def test_what_was_not_evaluated_as_it_is_now_has_the_command_that_does(tmp_path: Path) -> None:
    files = {name: evaluated(tmp_path, f"my {name}", (360, 300, 240)) for name in ("old", "new")}
    found = standing(files, {"old": "rewritten", "new": "my new"})
    text = page("A report", ["old", "new"], [], best=found)
    command = shlex.join(["python", "-m", "grace_geom.evaluate", str(files["old"])])
    assert f"<pre>{html.escape(command)}</pre>" in text


def test_a_report_opens_with_the_answer_and_the_ranked_table(tmp_path: Path) -> None:
    found = three(tmp_path)
    text = page("A report", list(found.records), [], best=found)
    assert text.index("Which checkpoint is best?</h2>") < text.index("<table") < text.index("<nav")
    rows = re.findall(r"<tr[^>]*>.*?</tr>", text.partition("<tbody>")[2].partition("</tbody>")[0])
    assert [re.sub("<[^>]+>", " ", row).split()[1] for row in rows] == ["best", "near", "weak"]
    best = [re.findall(r'best">([\d.]+) <span', row) for row in rows]
    assert best == [["73.0", "75.0", "60.0"], ["72.8", "75.0", "59.8"], ["95.0", "75.0"]]
    assert (
        text.count("data:image/webp") == 2 and "APGD-CE, ε\u00a0=\u00a04/255 on 400 images" in text
    )
    assert "<script" not in text and "http" not in text


def test_a_report_without_evaluations_says_what_measures_them(tmp_path: Path) -> None:
    found = standing({"a": tmp_path / "run" / "ckpt.pt"}, {"a": "a"})
    text = page("A report", ["a"], [], best=found)
    assert "was evaluated, so none is ahead yet" in text and found.sentence() == ""
    assert f"python -m grace_geom.evaluate {tmp_path}/run/ckpt.pt</pre>" in text


def test_many_points_have_the_places_of_the_table(tmp_path: Path) -> None:
    files = {f"r{k}": evaluated(tmp_path, f"r{k}", (300 + k, 250, 100 + k)) for k in range(9)}
    found = standing(files, {name: name for name in files})
    assert found.numbers() == {f"r{8 - i}": str(i + 1) for i in range(9)}
    title, figure = figures(found)["standing-adv"]
    assert "1: r8" in {trace.name for trace in figure.data} and "against ID" in title
    text = page("A report", list(files), [], best=found)
    assert "Numbers: places in the table." in text and ">9 checkpoints</p>" in text
    found = standing(files, {name: "other" if name == "r8" else name for name in files})
    assert found.numbers() == {}, "eight names have room"
    other = (tmp_path / "r0" / "eval.json").read_text().replace('"steps": 100', '"steps": 10')
    (tmp_path / "r0" / "eval.json").write_text(other)
    letters = standing(files, {name: name for name in files}).numbers()
    assert letters == {f"r{8 - i}": "abcdefghi"[i] for i in range(9)}, "nobody has a rank"


def test_figures_and_words_are_of_what_was_measured(tmp_path: Path) -> None:
    found = three(tmp_path)
    drawn = figures(found)
    assert list(drawn) == ["standing-adv", "standing-ood"] and found.numbers() == {}
    names = {trace.name for trace in drawn["standing-adv"][1].data}
    assert {"best", "near", "weak"} <= names
    assert how_measured(found).startswith("Top-1 accuracy in % on 400 images a set, Wilson 95 %")


def test_a_narrow_screen_folds_columns_and_says_which(tmp_path: Path) -> None:
    files = {name: evaluated(tmp_path, name, (360, 300, k)) for name, k in (("a", 240), ("b", 9))}
    found = standing(files, {name: name for name in files})
    assert "folded" not in page("A report", list(files), [], best=found).partition("<body>")[2]
    zs = {
        x: {**known, "ZS": known["ID"], "HM'": known["HM"]} for x, known in found.estimates.items()
    }
    text = page("A report", list(files), [], best=replace(found, estimates=zs))
    head, _, rest = text.partition("<body>")[2].partition('<details class="folded">')
    assert rest.startswith("<summary>More columns: HM\u2032, ZS</summary>")
    assert head.count('<td class="number wide') == 4
    more = rest.partition("</details>")[0]
    assert more.count("<td") == 4 and "wide" not in more and "HM\u2032</th>" in more
