"""FLYP on captions of the images' own."""

from pathlib import Path

import numpy as np
import pytest
import torch

from grace_geom.checkpoint import load_checkpoint
from grace_geom.errors import Interrupted, UserError
from grace_geom.evaluate import main as evaluate
from grace_geom.methods.adv_flyp import AdvFlyp
from grace_geom.methods.flyp import Flyp
from grace_geom.records import EvalRecord
from grace_geom.training import train_run
from tests.data.makers import encoded, write_tar
from tests.small_run import lines, small_config, small_run, write_npz
from tests.toys import CLASSES, toy_batch, toy_run

N = 40
PROMPT = "a photo of a {}"


def shards(folder: Path, labels: bool = True, captions: list[str] | None = None) -> str:
    """Pictures of the toy's classes with captions, by default the prompts; their SPEC."""
    batch = toy_batch(N, seed=1)
    images = (batch.images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    said = captions or [PROMPT.format(CLASSES[y]) for y in batch.labels]
    members = []
    for i, (image, text) in enumerate(zip(images, said, strict=True)):
        members += [(f"{i:03d}.png", encoded(np.asarray(image))), (f"{i:03d}.txt", text.encode())]
        members += [(f"{i:03d}.cls", str(int(batch.labels[i])).encode())] * labels
    folder.mkdir(exist_ok=True)
    write_tar(folder / "photos.tar", members)
    if labels:
        (folder / "classnames.txt").write_text("\n".join(CLASSES))
        (folder / "zeroshot_classification_templates.txt").write_text(PROMPT)
    return f"wds:{folder}/photos.tar"


def flyp(folder: Path, spec: str, name: str, **values) -> Path:
    plan = {"data": spec, "max_steps": 6, "out": str(folder / name)}
    return small_run(folder, "flyp", **plan | values)


def same(one: Path, other: Path) -> bool:
    first, second = (load_checkpoint(run).state_dict for run in (one, other))
    return all(torch.equal(w, second[name]) for name, w in first.items())


def test_captions_that_are_the_prompts_give_the_run_on_prompts(tmp_path, capsys):
    spec = shards(tmp_path / "data")
    own, prompts = (
        train_run(
            small_config(
                tmp_path, "flyp", data=spec, max_steps=6, out=str(tmp_path / w), pair_with=w
            )
        )
        for w in ("caption", "prompt")
    )
    assert same(own, prompts)
    said = [line for line in capsys.readouterr().err.splitlines() if "paired with" in line]
    assert [line.partition("paired with ")[2].partition(" -> ")[0] for line in said] == [
        "captions",
        "prompts",
    ]
    assert [r.get("loss") for r in lines(own / "metrics.jsonl")] == [
        r.get("loss") for r in lines(prompts / "metrics.jsonl")
    ]
    others = [f"number {i}\nthing {i}" for i in range(N)]
    different = flyp(tmp_path, shards(tmp_path / "others", captions=others), "auto")
    assert not same(different, own), "captions are read"


def test_captions_alone_train_and_go_on_and_labelled_data_measure(tmp_path, capsys):
    spec, test = shards(tmp_path / "data", labels=False), write_npz(tmp_path)
    more = {"ood": {"toy": test}, "val_fraction": 0.2, "templates": str(tmp_path / "t.txt")}
    (tmp_path / "t.txt").write_text(PROMPT)
    whole = flyp(tmp_path, spec, "whole", **more)
    with pytest.raises(Interrupted):
        flyp(tmp_path, spec, "cut", stop_after=4, **more)
    assert same(flyp(tmp_path, spec, "cut", resume=True, **more), whole)
    labelled = flyp(tmp_path, shards(tmp_path / "l"), "labelled", val_fraction=0.2, **{
        key: value for key, value in more.items() if key == "templates"
    })  # fmt: skip
    assert same(whole, labelled), "labels play no part"
    assert load_checkpoint(whole).class_names == CLASSES
    assert not any("val_acc" in line for line in lines(whole / "metrics.jsonl"))
    evaluate([str(whole), "--suites", "ood", "--device", "cpu"])
    (accuracy,) = EvalRecord.load(whole / "eval.json").accuracies
    assert accuracy.suite == "ood" and accuracy.n > 20
    with pytest.raises(SystemExit) as stop:
        evaluate([str(whole), "--suites", "id", "--device", "cpu"])
    told = capsys.readouterr().err
    assert (
        stop.value.code == 2 and "caption alone is enough to train flyp and adv-flyp only" in told
    )


def test_changed_captions_are_noticed(tmp_path):
    spec = shards(tmp_path / "data")
    with pytest.raises(Interrupted):
        flyp(tmp_path, spec, "run", stop_after=2)
    shards(tmp_path / "data", captions=[f"other words {i}" for i in range(N)])
    with pytest.raises(UserError, match=r"changed since it began: captions of the training images"):
        flyp(tmp_path, spec, "run", resume=True)


def test_what_cannot_be_is_refused(tmp_path):
    alone = shards(tmp_path / "alone", labels=False)
    with pytest.raises(UserError, match=r"has captions and no labels: .*--ood NAME=SPEC"):
        flyp(tmp_path, alone, "run")
    for method, values in (("lora", {}), ("flyp", {"pair_with": "prompt"})):
        with pytest.raises(UserError, match=r"no label.*enough to train flyp and adv-flyp only"):
            small_run(tmp_path, method, data=alone, **values)
    with pytest.raises(UserError, match=r"--pair-with caption: npz:.* has no captions"):
        small_run(tmp_path, "flyp", data=write_npz(tmp_path), pair_with="caption")
    assert not (tmp_path / "run").exists()


def test_without_classes_the_nearest_caption_is_right_where_it_is_the_images_own():
    run = toy_run(Flyp())
    z = torch.nn.functional.normalize(torch.eye(4) + 0.1, dim=1)
    labels = torch.tensor([0, 1, 0, 1])
    u = z[[2, 1, 0, 3]]
    log_s = torch.tensor(2.0)
    seen = [
        Flyp().contrast(z, u, log_s, y).observed["caption_acc"] for y in (labels, labels * 0 - 1)
    ]
    assert [float(x) for x in seen] == [1.0, 0.5] and run.step == 0


def test_adv_flyp_trains_on_captions_alone_and_reads_them(tmp_path):
    (tmp_path / "t.txt").write_text(PROMPT)
    more = {"ood": {"toy": write_npz(tmp_path)}, "templates": str(tmp_path / "t.txt")}
    ends = []
    for name, said in (("a", None), ("b", [f"number {i}" for i in range(N)])):
        spec = shards(tmp_path / f"data-{name}", labels=False, captions=said)
        plan = {"data": spec, "max_steps": 2, "out": str(tmp_path / name), **more}
        ends.append(small_run(tmp_path, "adv-flyp", **plan))
        assert "caption_acc" in lines(ends[-1] / "metrics.jsonl")[0]
    assert not same(*ends)


@pytest.mark.parametrize("method", [Flyp(), AdvFlyp(attack_steps=1)])
def test_a_step_is_the_same_however_it_is_cut(method, tmp_path):
    from dataclasses import replace

    grads = []
    batch = replace(toy_batch(8), captions=tuple(f"word {i}" for i in range(8)))
    for size in (8, 3):
        run = toy_run(method)
        method.gradients(run, batch.split(size))
        grads.append({name: w.grad for name, w in run.params.items()})
    for name, g in grads[0].items():
        torch.testing.assert_close(grads[1][name], g, rtol=1e-4, atol=1e-6)
