"""Options of a study: what they make of its rows, and which are refused."""

import pytest

from grace_geom.compare import main
from grace_geom.errors import UserError
from grace_geom.methods import METHODS
from grace_geom.study import StudyOptions
from grace_geom.study.options import jobs_of, settings_of


def test_methods_train_on_equal_terms():
    options = StudyOptions(methods=("ft", "at"), set={"at.batch_size": "64"})
    with pytest.raises(UserError, match="not on equal terms: batch_size is 64 for at"):
        jobs_of(options, {})


def test_a_shared_setting_without_a_method_is_that_of_all():
    given = {"precision": "bf16", "at.precision": "float32"}
    options = StudyOptions(methods=("linear-probe", "ft", "at"), set=given, unequal=("precision",))
    assert [job.config.precision for job in jobs_of(options, {})] == ["bf16", "bf16", "float32"]


def test_unequal_terms_name_what_makes_them_equal():
    options = StudyOptions(methods=("ft", "at"), set={"precision": "bf16", "at.precision": "auto"})
    with pytest.raises(UserError, match=r"precision is auto for at.*--set precision=VALUE to all"):
        jobs_of(options, {})


def test_a_setting_of_one_method_needs_its_name():
    with pytest.raises(UserError, match=r"FIELD=VALUE for micro_batch.*not 'lr'"):
        jobs_of(StudyOptions(methods=("ft", "at"), set={"lr": "1e-4"}), {})


def test_options_of_a_method_and_its_variants(tmp_path):
    methods = ("grace", "grace:gv=off:rho=1/100")
    options = StudyOptions(methods=methods, set={"grace.r": "8", "ft.lr": "1"}, out=tmp_path)
    plain, variant = jobs_of(options, {})
    assert plain.config.options["gv"] is True and variant.config.options["gv"] is False
    assert variant.config.options["rho"] == 0.01
    assert plain.config.options["r"] == variant.config.options["r"] == 8
    assert variant.folder == tmp_path / "grace-gv-off-rho-1-100-s0"


def test_the_papers_tables_are_groups_of_rows():
    labels = StudyOptions(methods=("table8", "all")).labels()
    assert labels[:5] == (
        "lora",
        "grace:lar=off",
        "grace:gv=off:curriculum=off",
        "grace:gv=off",
        "grace",
    )
    assert set(METHODS) <= set(labels) and len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--methods", "gracee"], "did you mean 'grace'"),
        (["--methods", "grace:gvv=off"], "did you mean 'gv'"),
        (["--methods", "grace:gv"], "must be FIELD=VALUE"),
        (["--seeds", "0,0"], "--seeds needs different numbers"),
        (["--set", "gracee.r=8"], "did you mean 'grace'"),
        (["--lr-grid", "1e-3,x"], "--lr-grid must be off, search or numbers"),
        (["--workers", "0"], "--workers must be at least 1"),
        (["--trial-share", "2"], "--trial-share must lie in"),
        (["--attack", "pdg"], "did you mean 'pgd'"),
        (["--methods", "ft", "--baseline", "lora"], "--baseline lora is no row of this study"),
        (
            ["--methods", "ft", "--set", "ft.lr=1e-3", "--lr-grid", "1e-3,1e-2"],
            "--set ft.lr fixes a learning rate",
        ),
        (
            ["--methods", "ft:lr=1e-3", "--lr-grid", "search"],
            "--methods ft:lr=1e-3 fixes a learning rate",
        ),
        (["--methods", "ft", "--lr-extend"], "--lr-extend needs a grid"),
        (["--methods", "ft", "--set", "ft.seed=3"], "--set ft.seed: the study decides that itself"),
        (["--methods", "ft", "--also", "ft=x.pt"], "a method of this study has that name"),
        (
            ["--methods", "zero-shot", "--also", "fare=absent.pt"],
            "--also fare=absent.pt: no such checkpoint",
        ),
        (
            ["--methods", "zero-shot", "--also", "x y=a.pt", "--also", "x:y=b.pt"],
            "would share a file",
        ),
        (["--data", "npz:absent.npz", "--methods", "ft"], "absent.npz"),
        (["--ood", "x=npz:absent.npz", "--methods", "zero-shot"], "absent.npz"),
    ],
)
def test_mistakes_are_one_clear_line_before_anything_is_trained(tmp_path, capsys, argv, message):
    with pytest.raises(SystemExit) as stop:
        main(["--out", str(tmp_path / "out"), *argv])
    text = capsys.readouterr().err
    assert stop.value.code == 2 and message in text and len(text.splitlines()) <= 2
    assert not (tmp_path / "out").exists()


def test_settings_do_not_fix_what_a_recipe_decides():
    values = settings_of(StudyOptions(), "ft", 3)
    assert values["seed"] == 3 and "epochs" not in values and "lr" not in values
