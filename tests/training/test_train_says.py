"""What ``python -m grace_geom.train`` says of a run: its images, its rate, its processes."""

import json

import pytest

from grace_geom import train
from grace_geom.config import parse_train
from grace_geom.data import resolve
from grace_geom.distributed import World
from grace_geom.methods.flyp import Flyp
from grace_geom.methods.grace import Grace
from grace_geom.methods.sam import Sam
from grace_geom.study.options import StudyOptions, jobs_of
from grace_geom.training import run as training
from grace_geom.training.sentences import _flag, more_held_out
from tests.small_run import flags, small_config


def test_asking_for_more_images_than_there_are_is_said(tmp_path, capsys):
    train.main(flags(tmp_path, train_images=10**6, epochs=1))
    assert "training images (all there are, of 1000000 asked for), " in capsys.readouterr().err


def test_a_batch_larger_than_the_training_set_is_warned_about(tmp_path, capsys):
    train.main(
        flags(tmp_path, method="at", batch_size=10**6, epochs=2, attack_steps=1, eps="2/255")
    )
    err = capsys.readouterr().err
    seen = len(resolve(f"npz:{tmp_path / 'toy.npz'}", "train"))
    assert f" 2 steps of {seen} images (2 epochs), lr " in err and ", ε 2/255, " in err
    said = (
        f"--batch-size 1000000 is larger than the training set: each step takes all {seen} images"
    )
    assert said in err


def test_a_rate_that_nobody_searched_for_these_data_is_said_once(tmp_path, capsys):
    argv = flags(tmp_path, method="ft", max_steps=1)
    train.main([*argv, "--json"])
    out, err = capsys.readouterr()
    assert json.loads(out)["result"]["lr_from"] == "default"
    assert err.count("not searched for npz:") == 1
    assert "lr 3e-05 is a general start of ft" in err and "--methods ft --data npz:" in err
    assert "--lr-search asha" in err and err.count("--lr-grid search\n") == 1
    assert "held-out images tell an accuracy to ±" in err and "--val-fraction (now 0.1)" in err
    train.main([*argv, f"--out={tmp_path / 'b'}", "--quiet"])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("argv", "source"),
    [
        ("--method ft", "recipe"),
        ("--method ft --lr 1e-3", "given"),
        ("--data npz:x.npz --lr=1e-3", "given"),
        ("--data npz:x.npz", "default"),
        ("--data npz:x.npz --method pmg-aft --preset published", "preset"),
        ("--method zero-shot", None),
    ],
)
def test_where_a_rate_comes_from(argv, source):
    assert train._rate_from(parse_train(argv.split()), argv.split()) == source


def test_a_radius_of_most_of_the_range_is_warned_about(tmp_path, capsys):
    train.main(flags(tmp_path, method="at", eps=0.75, attack_steps=1, epochs=1))
    assert "warning: --eps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("method", "said"),
    [(Flyp(), "contrasts its own 4 images"), (Sam(m=3), "4 images of a step, no multiple of --m "
                                                        "3"), (Sam(m=2), ""),
     (Sam(), ""), (Grace(), "")],
)  # fmt: skip
def test_what_processes_change_is_said_by_one_and_recorded(method, said, capsys):
    records = [training._shared_out(method, 8, World(rank, 2)) for rank in range(2)]
    assert records[0] == records[1] and records[0]["processes"] == 2
    assert said in records[0].get("processes_change", "") and (
        "processes_change" in records[0]
    ) == bool(said)
    assert capsys.readouterr().err.count("warning: in 2 processes") == bool(said)


def test_the_search_that_is_offered_is_of_the_same_data_network_and_preset(tmp_path):
    argv = ["--data=folder:my photos", "--method=pmg-aft", "--preset=published", "--max-steps=7"]
    argv += ["--model=ViT-B-32", "--pretrained=my weights.pt", "--batch-size=16"]
    line = train._not_searched(parse_train(argv)).splitlines()[-1]
    assert line == (
        "python -m grace_geom.compare --methods pmg-aft --data 'folder:my photos' --model ViT-B-32 "
        "--pretrained 'my weights.pt' --max-steps 7 --batch-size 16 "
        "--set pmg-aft.preset=published --lr-grid search"
    )
    label, setting = "pmg-aft", {"pmg-aft.preset": "published"}
    (job,) = jobs_of(StudyOptions(methods=(label,), baseline=label, set=setting), {})
    assert job.config.preset == "published"  # as the study reads it
    assert "--model tiny-shapes" in train._not_searched(small_config(tmp_path, model="tiny-shapes"))


@pytest.mark.parametrize(
    ("n", "how", "remedy"),
    [
        (50, "val: seeded 0.1 of train", "a larger --val-images (now 50) looks at more"),
        (50, "the data set's own", "a larger --val-images (now 50) looks at more"),
        (40, "val: seeded 0.1 of train", "a larger --val-fraction (now 0.1) holds out more"),
        (40, "the data set's own", "add images to it, or leave it out of the data, and --val-frac"),
    ],
)
def test_few_held_out_images_have_the_remedy_that_fits(n, how, remedy):
    assert remedy in more_held_out(n, 50, 0.1, how, _flag)
