"""Data sets are refused early only where it is sure that nobody will find them."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from grace_geom.errors import UserError
from grace_geom.models import ModelSpec, loading
from grace_geom.refusals import (
    check_data,
    check_evaluation,
    check_study,
    check_training,
    refuse_several,
)

ALL = ("id", "ood", "adv", "natural_adv", "zeroshot")


def values(**given):
    sets = {"ood": {}, "natural_adv": {}, "zeroshot": {}}
    return {"suites": ALL, "data": None, "data_root": None, **sets, **given}


@pytest.mark.parametrize(
    "given",
    [
        {"data": "nowhere"},
        {"data": "npz:no.npz", "data_root": Path("/")},
        {"zeroshot": {"x": "folder:/no/such/folder"}},
        {"ood": {"x": "npz:no.npz"}, "data_root": "/"},
    ],
)
def test_an_evaluation_is_refused_for_sets_that_are_nowhere(given):
    with pytest.raises(UserError, match=r"unknown data set|no such file or folder"):
        check_evaluation(values(**given))


@pytest.mark.parametrize(
    "given",
    [
        {"data": "npz:no.npz"},  # it may lie below the data root of the training run
        {"ood": {"x": "nowhere"}, "suites": ("id",)},  # nobody reads it
        {"data": "nowhere", "suites": ("ood",)},
        {"data": "shapes", "ood": {"x": "wds:{000..099}.tar"}},
    ],
)
def test_an_evaluation_that_may_find_its_sets_is_not_refused(given):
    check_evaluation(values(**given))


def test_training_data_lies_here_or_below_the_data_root(tmp_path):
    (tmp_path / "there.npz").touch()
    for check in (check_data, check_study):
        check(values(data="npz:there.npz", data_root=tmp_path))
        check(values(data=f"npz:{tmp_path}/there.npz"))
        with pytest.raises(UserError, match=r"no such file or folder: there\.npz"):
            check(values(data="npz:there.npz"))


def test_a_text_is_no_pretrained_weights_and_no_row_of_a_study(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("Weights are elsewhere.")
    given = values(data="shapes", pretrained="openai", also={"theirs": str(text)})
    with pytest.raises(UserError, match=r"^--also theirs=.*notes\.txt is not a checkpoint"):
        check_study(given)
    for name in ("pretrained", "pretrained_base"):
        with pytest.raises(UserError, match=r"notes\.txt is not a checkpoint: it looks like text"):
            check_training(values(data="shapes", **{name: str(text)}))
    check_training(values(data="shapes", pretrained="openai", pretrained_base=None))


@pytest.mark.parametrize("name", ["pretrained", "pretrained_base"])
def test_arrays_of_pretrained_weights_reach_the_reader(name, tmp_path, monkeypatch):
    file = tmp_path / "siglip.npz"
    np.savez(file, weights=np.zeros(3))
    check_training(values(data="shapes", **{name: str(file)}))

    def read(model: str, path: Path) -> None:
        raise UserError(f"read as {model}: {path.name}")

    monkeypatch.setattr(loading, "_from_big_vision", read)
    with pytest.raises(UserError, match="read as tiny-shapes: siglip"):
        loading.open_clip_model(ModelSpec("tiny-shapes", str(file)))


def test_what_is_not_shared_out_is_refused_in_several_processes(monkeypatch):
    refuse_several("compare")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="compare runs in one process: start it without torchrun"):
        refuse_several("compare")


@pytest.mark.parametrize("command", ["compare", "interpolate", "export", "pretrain"])
def test_commands_of_one_process_say_so_in_two(command, monkeypatch, tmp_path, capsys):
    (tmp_path / "ckpt.pt").touch()
    monkeypatch.setenv("WORLD_SIZE", "2")
    main = import_module(f"grace_geom.{command}").main
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path)] * (command in ("interpolate", "export")))
    assert f"error: {command} runs in one process" in capsys.readouterr().err
