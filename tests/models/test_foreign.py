"""Files from elsewhere: each tensor is read, merged, named or refused, and no code is run."""

import argparse
import collections
import io
import json
import pickle
import random
import re
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from grace_geom.checkpoint import open_checkpoint
from grace_geom.errors import UserError
from grace_geom.models import ModelSpec, open_clip_model
from grace_geom.models.tensor_files import read_tensors
from tests.toys import CLASSES, register_toy, toy_clip

OUT, IN, RANK = 64, 16, 2
FC = "visual.transformer.resblocks.{}.mlp.c_fc"
QKV = "visual.transformer.resblocks.{}.attn.in_proj_weight"


@pytest.fixture(scope="module")
def tuned():
    """Weights of a toy that are nobody else's."""
    return {n: w.clone() for n, w in toy_clip(seed=5).clip.state_dict().items()}


def opened(content, folder: Path, pretrained: str | None = None):
    torch.save(content, folder / "f.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return open_checkpoint(
            folder / "f.pt", model=register_toy(), pretrained=pretrained, class_names=CLASSES
        )


def same(clip, tuned) -> bool:
    return all(torch.equal(w, tuned[n]) for n, w in clip.state_dict().items())


def average(state):
    return {n: w + 1 if w.is_floating_point() else w for n, w in state.items()}


LAYOUTS = {
    **{
        prefix: lambda s, p=prefix: {p + n: w for n, w in s.items()}
        for prefix in (
            "module.", "_orig_mod.", "_forward_module.", "clip_model.", "image_encoder.model.",
            "base_model.model.", "model.", "model.module.clip.",
        )
    },
    "checkpointed blocks": lambda s: {
        n.replace("resblocks.0.", "resblocks.0._checkpoint_wrapped_module."): w for n, w in s.items()
    },
    "lightning": lambda s: {
        "state_dict": {f"model.{n}": w for n, w in s.items()},
        "hyper_parameters": argparse.Namespace(lr=np.float64(1e-3), out=Path("/x")),
        "epoch": np.int64(3), "optimizer_states": [{"state": {0: torch.ones(2)}}],
    },
    "deepspeed": lambda s: {"module": s, "ds_version": "0.9", "optimizer": None},
    "an equal average": lambda s: {"model": s, "model_ema": {n: w.clone() for n, w in s.items()}},
    "ordered": lambda s: collections.OrderedDict(s),
    "half": lambda s: {n: w.half().float() for n, w in s.items()},
    "parameters": lambda s: {n: torch.nn.Parameter(w) for n, w in s.items()},
    "separate q, k, v": lambda s: {
        m: v for n, w in s.items()
        for m, v in (
            zip([n.replace("in_proj_", f"{q}_proj.") for q in "qkv"], w.chunk(3), strict=True)
            if "in_proj_" in n else [(n, w)]
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read_at_both_doors(layout, tuned, tmp_path):
    wanted = tuned if layout != "half" else {n: w.half().float() for n, w in tuned.items()}
    model, _ = opened(LAYOUTS[layout](tuned), tmp_path)
    assert same(model.clip, wanted)
    clip, _ = open_clip_model(ModelSpec(register_toy(), str(tmp_path / "f.pt")))
    assert same(clip, wanted)


def test_archives_and_whole_modules_are_read_without_running_them(tuned, tmp_path):
    clip = toy_clip(seed=5).clip
    torch.save({"model": clip}, tmp_path / "module.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.trace_module(
            clip, {"encode_image": torch.rand(1, 3, 16, 16)}, check_trace=False
        )
    script.save(str(tmp_path / "script.pt"))
    for name in ("module.pt", "script.pt"):
        model, _ = open_checkpoint(tmp_path / name, model=register_toy(), class_names=CLASSES)
        assert same(model.clip, tuned)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_reads_what_torch_reads(protocol, zipped, tmp_path):
    w = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    content = {
        "plain": w, "transposed": w.t(), "slice": w[1:3], "half": w.half(), "bf16": w.bfloat16(),
        "scalar": torch.tensor(3.0), "int": torch.arange(3), "bool": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3), "expanded": torch.ones(1).expand(5, 5),
    }  # fmt: skip
    beside = {"np": np.float32(1.5), "path": Path("/a/b"), "counts": collections.Counter("aab")}
    torch.save(
        content | beside, tmp_path / "x.pt", pickle_protocol=protocol,
        _use_new_zipfile_serialization=zipped,
    )  # fmt: skip
    found = read_tensors(tmp_path / "x.pt")
    for name, want in content.items():
        assert_close(found[name], want, rtol=0, atol=0)
    assert (found["np"], found["path"], found["counts"]) == (1.5, "/a/b", {"a": 2, "b": 1})


@pytest.fixture(scope="module")
def pairs(tuned):
    """Factors of two weights: name, A, B."""
    g = torch.Generator().manual_seed(1)
    found = {}
    for name, rows in ((FC.format(0), OUT), (QKV.format(1), 48)):
        found[name] = torch.randn(RANK, IN, generator=g), torch.randn(rows, RANK, generator=g)
    return found


def merged(base, pairs, scale):
    total = {n: w.clone() for n, w in base.items()}
    for name, (A, B) in pairs.items():
        key = name if name in total else f"{name}.weight"
        total[key] = total[key] + scale * (B @ A)
    return total


def named(pairs, a: str, b: str):
    """PEFT wraps a module: the fused weight of an attention is that of the module ``attn``."""
    return {
        name.removesuffix(".in_proj_weight") + end: w
        for name, factors in pairs.items()
        for end, w in zip((a, b), factors, strict=True)
    }


NAMES = {
    "loralib": (".lora_A", ".lora_B"),
    "peft": (".lora_A.weight", ".lora_B.weight"),
    "peft adapter": (".lora_A.default.weight", ".lora_B.default.weight"),
    "kohya": (".lora_down.weight", ".lora_up.weight"),
}


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("state", ["beside", "merged already", "alone"])
def test_low_rank_factors_are_merged_once(names, state, tuned, pairs, tmp_path):
    torch.save(tuned, tmp_path / "base.pt")
    total = merged(tuned, pairs, 4.0)
    held = {"beside": tuned, "merged already": total, "alone": {}}[state]
    content = {"state_dict": held | named(pairs, *NAMES[names]), "lora_alpha": 8, "r": RANK}
    model, record = opened(content, tmp_path, str(tmp_path / "base.pt"))
    for name, w in model.clip.state_dict().items():
        assert_close(w, total[name], rtol=1e-5, atol=1e-5)
    assert "low-rank factors" in record.config["reading"][0]


def test_wrapped_base_layers_are_not_merged_yet(tuned, pairs, tmp_path):
    only = {FC.format(0): pairs[FC.format(0)]}
    wrapped = {
        n.replace(f"{FC.format(0)}.", f"{FC.format(0)}.base_layer."): w for n, w in tuned.items()
    }
    wrapped |= named(only, *NAMES["peft adapter"])
    content = {f"base_model.model.{n}": w for n, w in wrapped.items()}
    with pytest.raises(UserError, match=r"lora_A.* does not say their scale"):
        opened(content, tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 4, "r": RANK}))
    model, _ = opened(content, tmp_path)
    for name, w in model.clip.state_dict().items():
        assert_close(w, merged(tuned, only, 2.0)[name], rtol=1e-5, atol=1e-5)


def test_factors_that_nothing_explains_are_refused(tuned, pairs, tmp_path):
    loralib = tuned | named(pairs, *NAMES["loralib"])
    with pytest.raises(UserError, match="lora_A and 3 more"):
        opened(loralib, tmp_path)
    with pytest.raises(UserError, match="hold them already"):
        opened({"state_dict": loralib, "lora_alpha": 8}, tmp_path)
    with pytest.raises(UserError, match="neither the pretrained ones"):
        opened({"state_dict": loralib, "lora_alpha": 8}, tmp_path, "random")
    with pytest.raises(UserError, match="without its partner"):
        opened({n: w for n, w in loralib.items() if "lora_B" not in n}, tmp_path)
    with pytest.raises(UserError, match=r"says r = 5"):
        opened({"state_dict": loralib, "lora_alpha": 8, "r": 5}, tmp_path)


REFUSED = {
    "a part of a text tower: it has no text_projection": lambda s: {
        n: w for n, w in s.items() if n != "text_projection"
    },
    "prompt": lambda s: s | {"prompt_learner.ctx": torch.ones(4, 16)},
    "visual.prompt": lambda s: s | {"visual.prompt": torch.ones(4, 16)},
    "classification_head.weight": lambda s: s | {"classification_head.weight": torch.ones(3, 16)},
    "resblocks.2": lambda s: s | {"visual.transformer.resblocks.2.ln_1.bias": torch.ones(16)},
    "different weights in model and in model_ema": lambda s: {"model": s, "model_ema": average(s)},
    "different weights in .*teacher": lambda s: (
        {f"student.{n}": w for n, w in s.items()}
        | {f"teacher.{n}": w for n, w in average(s).items()}
    ),
    "text_encoder": lambda s: {
        n.replace("visual.", "image_encoder."): w for n, w in s.items() if n.startswith("visual.")
    } | {f"text_encoder.{n}": w for n, w in s.items() if not n.startswith("visual.")},
    "not finite": lambda s: s | {"visual.proj": s["visual.proj"] * float("nan")},
    "of type torch.int64": lambda s: s | {"visual.proj": s["visual.proj"].long()},
}  # fmt: skip


@pytest.mark.parametrize("says", REFUSED)
@pytest.mark.parametrize("pretrained", [None, "random"])
def test_what_changes_the_answers_is_never_dropped(says, pretrained, tuned, tmp_path):
    with pytest.raises(UserError, match=says):
        opened(REFUSED[says](tuned), tmp_path, pretrained)


WORDS = [
    "delta", "delta.visual.proj", "visual_delta", "weight_delta.0", "task_vector.proj",
    "base.lora_A", "lora_alpha_table", "lora.down", "hada_w1_a", "lokr_w1", "vera_lambda_b",
    "oft.blocks", "dora.scale", "x.diff", "x.diff_b", "adapter.down.weight", "ia3_l", "x.ia3.w",
    "prompt", "prompt_learner.token", "ctx", "learner.ctx_vectors", "soft_prompt", "prefix.0",
    "head.weight", "fc.weight", "classifier.weight", "linear.weight", "probe",
    "ema.visual.proj", "model_ema.x", "ema_model.x", "shadow_params", "averaged.x", "swa.x",
    "transformer.resblocks.7.ln_1.weight", "text.transformer.resblocks.7.ln_1.weight",
    "cache_keys", "magnitude", "ssf_scale", "film.weight", "residual.0",
]  # fmt: skip


@pytest.mark.parametrize("name", WORDS)
@pytest.mark.parametrize("place", ["beside", "in a dictionary", "in a list"])
def test_names_that_carry_meaning_are_refused_wherever_they_stand(name, place, tuned, tmp_path):
    w = torch.ones(3, 5)
    content = {
        "beside": {**tuned, name: w},
        "in a dictionary": {"state_dict": tuned, name: {"x": w}},
        "in a list": {"state_dict": tuned, name: [w, w]},
    }[place]
    with pytest.raises(UserError, match=r"change its answers|without its partner|low-rank"):
        opened(content, tmp_path)


def test_lists_of_numbers_and_a_training_state_are_no_weights(tuned, tmp_path):
    beside = {
        "losses": [torch.tensor(1.0)] * 3,
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "ema": [torch.ones(3)]},
        "schema": torch.ones(2),
    }
    model, _ = opened({"state_dict": tuned} | beside, tmp_path)
    assert same(model.clip, tuned)


def both(how: str, s: dict, mean: dict) -> dict:
    """A file of two sets of weights."""
    if how == "prefixes":
        return {f"student.{n}": w for n, w in s.items()} | {f"ema.{n}": w for n, w in mean.items()}
    if how == "around":
        return s | {f"ema.{n}": w for n, w in mean.items()}
    first, second = {
        "timm": ("state_dict", "state_dict_ema"), "ema": ("model", "ema"),
        "deit": ("model", "model_ema"),
    }[how]  # fmt: skip
    if how == "ema":
        mean = {"module": {"module." + n: w for n, w in mean.items()}}
    return {first: s, second: mean, "epoch": 3}


@pytest.mark.parametrize("how", ["timm", "ema", "deit", "prefixes", "around"])
@pytest.mark.parametrize("tower", [False, True])
def test_of_two_sets_of_weights_one_is_chosen_or_both_are_named(how, tower, tuned, tmp_path):
    own = {n: w for n, w in tuned.items() if not tower or n.startswith("visual.")}
    mean = average(own)
    torch.save(both(how, own, mean), tmp_path / "f.pt")

    def read(weights: str | None):
        return open_checkpoint(
            tmp_path / "f.pt", model=register_toy(), pretrained="random" if tower else None,
            class_names=CLASSES, weights=weights,
        )  # fmt: skip

    with pytest.raises(UserError, match=r"different weights in .* and in .*--weights ema") as error:
        read(None)
    places = re.search(r"weights in (.*) and in (.*) \(", str(error.value)).groups()
    for words, right in ((("model", places[0]), own), (("ema", places[1]), mean)):
        for word in words:
            model, record = read(word)
            clip = model.clip.state_dict()
            assert all(torch.equal(clip[n], w) for n, w in right.items())
            assert any("were read, not those in" in note for note in record.config["reading"])
    with pytest.raises(UserError, match=r"no weights called 'nobody' .*: they are in"):
        read("nobody")


def test_the_flag_names_one_set_or_none(tuned, tmp_path):
    torch.save({"model": tuned}, tmp_path / "one.pt")
    with pytest.raises(UserError, match=r"no weights called 'ema' .*they are in model"):
        open_checkpoint(
            tmp_path / "one.pt", model=register_toy(), class_names=CLASSES, weights="ema"
        )
    torch.save({"a": tuned, "b": average(tuned)}, tmp_path / "two.pt")
    with pytest.raises(UserError, match="different weights in a and in b"):
        open_checkpoint(
            tmp_path / "two.pt", model=register_toy(), class_names=CLASSES, weights="model"
        )
    with pytest.raises(UserError, match="save the one that is meant in a file of its own"):
        open_clip_model(ModelSpec(register_toy(), str(tmp_path / "two.pt")))
    head = {"model": tuned, "ema": average(tuned), "head.weight": torch.ones(3, 16)}
    torch.save(head, tmp_path / "head.pt")
    with pytest.raises(UserError, match="change its answers: head"):
        open_checkpoint(
            tmp_path / "head.pt", model=register_toy(), class_names=CLASSES, weights="ema"
        )


def test_counters_and_masks_are_not_weights(tuned, tmp_path):
    more = {"attn_mask": torch.ones(12, 12), "input_resolution": torch.tensor(16)}
    model, record = opened(tuned | more, tmp_path)
    assert same(model.clip, tuned) and "reading" not in record.config
    _, record = opened(tuned | {"queue": torch.ones(3, 3)}, tmp_path)
    assert record.config["reading"] == ["not used: queue"]


def test_sizes_that_a_file_only_declares_take_no_memory(tmp_path):
    stretched = torch.zeros(1).expand(1 << 40)
    torch.save({"visual.proj": stretched}, tmp_path / "a.pt")
    nested: list = []
    for _ in range(60):
        nested = [nested, nested]
    torch.save({"x": nested}, tmp_path / "b.pt")
    (tmp_path / "c.pt").write_bytes(b"\x80\x04]r\xff\xff\xff\x7f.")  # a memo index of 2 billion
    with zipfile.ZipFile(tmp_path / "d.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", bytes(1 << 24))
    for name in "abcd":
        with pytest.raises(UserError, match=f"{name}.pt"):
            read_tensors(tmp_path / f"{name}.pt")


class Runs:
    """Anything that a pickle may call."""

    def __init__(self, function, *args) -> None:
        self.reduced = function, args

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_nothing_that_a_pickle_names_is_called(protocol, tmp_path):
    trace = tmp_path / "trace"
    for function, args in ((open, (str(trace), "w")), (exec, (f"open({str(trace)!r}, 'w')",)),
                           (Path.touch, (trace,)), (io.open, (str(trace), "w"))):  # fmt: skip
        (tmp_path / "x.pt").write_bytes(
            pickle.dumps({"a": Runs(function, *args)}, protocol=protocol)
        )
        try:
            read_tensors(tmp_path / "x.pt")
        except UserError as error:
            assert "x.pt" in str(error)
        assert not trace.exists()


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_byte_is_told_or_harmless(seed, tuned, tmp_path):
    rng = random.Random(seed)
    small = {n: w for n, w in tuned.items() if n.startswith("visual.")}
    torch.save(small, tmp_path / "x.pt", _use_new_zipfile_serialization=seed % 4 > 0)
    data = bytearray((tmp_path / "x.pt").read_bytes())
    for _ in range(4):
        flipped = bytearray(data)
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        (tmp_path / "y.pt").write_bytes(flipped)
        try:
            found = read_tensors(tmp_path / "y.pt")
        except UserError as error:
            assert "y.pt" in str(error)
            continue
        if seed % 4:  # the old format has no checksums
            assert found.keys() == small.keys()
            assert all(torch.equal(found[n], small[n]) for n in small)
