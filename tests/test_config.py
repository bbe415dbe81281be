"""The command line, YAML files and typed settings are one thing, and say clearly what is wrong with
them.
"""

import contextlib
import io
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import yaml

from grace_geom.cli import parse, peek
from grace_geom.config import TrainConfig, default_out, differing, make_config, parse_train, recipe
from grace_geom.errors import UserError
from grace_geom.methods import METHODS
from grace_geom.methods.settings import RECIPES
from grace_geom.serialise import plain, read_yaml, to_yaml


@dataclass
class Toy:
    """Settings.

    Attributes:
        files: What to read.
        max_steps: Steps at most [images].
        eps: Radius.
    """

    files: list[str] = field(metadata={"group": "input"})
    max_steps: int | None = None
    eps: float = field(default=4 / 255, metadata={"group": "attack"})
    rho: float | None = None
    gv: bool = True
    resume: bool = False
    attack: Literal["pgd", "apgd-ce"] = "pgd"
    ood: dict[str, str] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1)
    out: Path | None = None


def toy(*argv: str) -> Toy:
    return parse(Toy, argv, positionals=("files",))


def printed(call) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as stop:
        call()
    assert stop.value.code == 0
    return out.getvalue()


def test_flags_of_every_type():
    line = (
        "a.pt --max-steps 7 --eps 8/255 b.pt --gv off --resume --ood v2=x:y --ood s=npz:a=b.npz "
        "--seeds 3,4 --rho 1/100 --out some/where --attack=apgd-ce c.pt"
    )
    found = toy(*line.split())
    assert found == Toy(
        ["a.pt", "b.pt", "c.pt"],
        7,
        8 / 255,
        0.01,
        False,
        True,
        "apgd-ce",
        {"v2": "x:y", "s": "npz:a=b.npz"},
        (3, 4),
        Path("some/where"),
    )
    assert type(found.eps) is float


def test_defaults_and_null():
    assert toy("a") == Toy(["a"])
    assert toy("a", "--max-steps", "null").max_steps is None
    assert toy("a", "--rho", "-1e-3").rho == -1e-3


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("a --epss 1", "unknown flag --epss; did you mean '--eps'"),
        ("a --eps a/b", "--eps must be a number such as 0.001 or 4/255, not 'a/b'"),
        ("a --eps 1/0", "--eps must be a number"),
        ("a --eps nan", "--eps must be a number"),
        ("a --eps", "--eps needs a value"),
        ("a --max-steps 1.5", "--max-steps must be a whole number or null, not '1.5'"),
        (
            "a --attack apgd",
            "--attack must be one of pgd, apgd-ce, not 'apgd'; did you mean 'apgd-ce' or 'pgd'",
        ),
        ("a --ood x", "--ood takes NAME=VALUE, not 'x'"),
        ("a --seeds 1,x", "--seeds must be a comma-separated list, each a whole number, not '1,x'"),
        ("--eps 1", "missing: files"),
        ("a --config /no/such.yaml", "no such file: /no/such.yaml"),
    ],
)
def test_mistakes_are_said_in_a_line_that_names_the_flag(argv, said):
    with pytest.raises(UserError) as error:
        toy(*argv.split())
    assert said in str(error.value)
    assert str(error.value).count("\n") <= 1


def test_a_file_lies_under_the_flags(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text(
        "max-steps: 4\neps: 4/255\nrho: 1e-5\ngv: off\nood: {a: b}\nseeds: [5]\nprovenance: "
        "{torch: x}\n"
    )
    found = toy("a", "--config", str(file), "--rho", "0.5", "--ood", "q=r")
    assert found == Toy(["a"], 4, 4 / 255, 0.5, gv=False, ood={"q": "r"}, seeds=(5,))


def test_how_a_command_speaks_is_no_setting(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("json: false\n")  # as `evaluate --print-config` wrote it
    assert toy("--quiet", "a", "--json=off", "--config", str(file)) == toy("a")
    assert "json" not in printed(lambda: toy("a", "--json", "--print-config"))
    assert toy("--quiet", "true", "--json", "OFF", "a") == toy("a", "--json", "on") == toy("a")
    assert toy("--json", "a", "b") == toy("a", "b"), "other words are no value of a switch"
    with pytest.raises(UserError, match="--quiet must be on or off, not 'maybe'"):
        toy("a", "--quiet=maybe")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("json: true", "unknown key 'json'"),
        ("epss: 1", "unknown key 'epss'; did you mean 'eps'"),
        ("eps: abc", "eps must be a number such as 0.001 or 4/255, not 'abc'"),
        ("gv: maybe", "gv must be on or off, not 'maybe'"),
        ("x: [", "is not YAML"),
        ("- 1", "must hold settings"),
    ],
)
def test_mistakes_in_a_file_name_the_file_and_the_key(tmp_path, text, said):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        toy("a", "--config", str(file))
    assert said in str(error.value) and str(file) in str(error.value)


def test_printed_settings_read_back_as_the_same(tmp_path):
    text = printed(lambda: toy("a", "--eps", "3/255", "--gv", "off", "--print-config"))
    (tmp_path / "c.yaml").write_text(text)
    assert parse(Toy, ["a", "--config", str(tmp_path / "c.yaml")], positionals=("files",)) == toy(
        "a", "--eps", "3/255", "--gv", "off"
    )


def test_help_is_grouped_and_gives_texts_and_defaults():
    text = printed(lambda: toy("--help"))
    assert (
        text.index("input:")
        < text.index("--max-steps")
        < text.index("attack:")
        < text.index("--eps")
    )
    assert "Steps at most [images]. (integer or null; default: null)" in text
    assert "Radius. (number; default: 4/255)" in text


def test_help_speaks_of_no_python_types():
    text = " ".join(printed(lambda: toy("--help")).split())
    for inner in ("type:", "class", "str", "bool", "dict", "tuple", "Literal", "False"):
        assert inner not in text, inner
    assert "FILES... [flags]" in text
    assert "--gv [on|off]" in text and "(default: on)" in text
    assert "(NAME=VALUE, repeatable; default: none)" in text
    assert "(integers a,b,c; default: 0,1)" in text
    assert "--attack {pgd,apgd-ce}" in text and "(default: pgd)" in text


def test_help_shows_what_a_file_sets(tmp_path):
    (tmp_path / "c.yaml").write_text("rho: 0.25")
    text = printed(lambda: toy("a", "--config", str(tmp_path / "c.yaml"), "--help"))
    assert "(number or null; in --config: 0.25)" in text


def test_help_tells_a_recipe_from_the_usual_default():
    text = " ".join(printed(lambda: parse_train(["--method", "grace", "--help"])).split())
    rate = recipe("shapes", "grace", {})["lr"]
    assert f"Peak learning rate. (number; default: 0.0002; with --data shapes: {rate:g})" in text
    assert "(integer or null; default: null; with --data shapes: 2)" in text
    other = printed(lambda: parse_train(["--data", "folder:photos", "--help"]))
    assert "Peak learning rate. (number; default: 0.0002)" in " ".join(other.split())
    preset = ["--method", "pmg-aft", "--preset", "published", "--help"]
    assert "; with --preset published: 5e-05)" in " ".join(
        printed(lambda: parse_train(preset)).split()
    )


def test_peek_sees_flags_before_files(tmp_path):
    (tmp_path / "c.yaml").write_text("method: at")
    given = ["--config", str(tmp_path / "c.yaml")]
    assert peek(given, "method", "grace") == "at"
    assert peek([*given, "--method=ft"], "method", "grace") == "ft"
    assert peek([], "method", "grace") == "grace"


@pytest.mark.parametrize("name", METHODS)
def test_no_method_has_a_field_that_a_run_has_too(name):
    assert not {f.name for f in fields(METHODS[name])} & {f.name for f in fields(TrainConfig)}


@pytest.mark.parametrize("name", METHODS)
def test_every_field_has_a_help_text(name):
    text = printed(lambda: parse_train(["--method", name, "--help"]))
    for f in [*fields(TrainConfig), *fields(METHODS[name])]:
        if f.name != "options":
            assert f"--{f.name.replace('_', '-')} " in text
            assert f"  {f.name.replace('_', ' ')} (" not in text, (
                f"{f.name} is explained by its own name only"
            )


def test_flat_settings_make_the_same_run_again():
    config = make_config(
        {"method": "grace", "data": "shapes", "rho": "1/50", "ood": {"a": "b"}, "seed": 3}
    )
    assert config.options["rho"] == 0.02
    again = make_config(yaml.safe_load(to_yaml(config.flat())))
    assert again.flat() == config.flat() and again.build_method() == config.build_method()


def test_unknown_names_offer_the_nearest():
    for values, said in [
        ({"method": "gracee"}, "did you mean 'grace'"),
        ({"model": "ViT-B32"}, "did you mean 'ViT-B-32'"),
        ({"lambda_gvv": 1}, "did you mean 'lambda_gv'"),
        ({"method": "ft", "lambda_gv": 1}, "unknown key 'lambda_gv'"),
        ({"batch_size": 0}, "--batch-size is 0, it must be at least 1"),
    ]:
        with pytest.raises(UserError, match=said):
            make_config(values)


def test_the_recipe_lies_under_everything(capsys):
    content = read_yaml(RECIPES / "shapes.yaml")
    assert set(content) == {"all"}, "what is a method's own stands in its file"
    for name in METHODS:
        make_config({"method": name, "data": "shapes"})  # every key is a setting
    grace = make_config({"method": "grace", "data": "shapes"})
    assert grace.options["lr"] == recipe("shapes", "grace", {})["lr"]
    assert make_config({"data": "shapes", "lr": 0.5}).options["lr"] == 0.5
    assert make_config({"data": "shapes", "max_steps": 7}).epochs is None, (
        "the user's length replaces the recipe's"
    )
    assert make_config({"data": "npz:a.npz"}).options["lr"] == 2e-4
    assert parse_train(["--method", "grace"]).flat() == grace.flat()
    assert f"lr {grace.options['lr']:g}" in capsys.readouterr().err, "what a recipe sets is said"


def test_a_preset_lies_under_the_flags_and_over_the_recipe(tmp_path, capsys):
    config = parse_train(["--method", "pmg-aft", "--preset", "published", "--eps", "2/255"])
    method = config.build_method()
    assert (method.kl_reduction, method.logit_scale, method.optimizer, method.lr) == (
        "sum",
        "none",
        "sgd",
        5e-5,
    )
    assert method.eps == 2 / 255 and method.alpha == 1 / 255 and method.attack_steps == 2
    assert "preset published" in capsys.readouterr().err, "what a preset sets is said"
    assert (
        make_config({"method": "pmg-aft", "preset": "published", "eps": "2/255"}).flat()
        == config.flat()
    )
    assert (
        TrainConfig(method="pmg-aft", preset="published", options={"eps": 2 / 255}).build_method()
        == method
    )
    text = printed(
        lambda: parse_train(["--method", "tecoa", "--preset", "published", "--print-config"])
    )
    shown = make_config(yaml.safe_load(text)).flat()
    expected = {"preset": "published", "optimizer": "sgd", "attack_steps": 2, "eps": 1 / 255}
    assert {name: shown[name] for name in expected} == expected
    (tmp_path / "c.yaml").write_text(text)
    assert parse_train(["--config", str(tmp_path / "c.yaml")]).build_method().optimizer == "sgd"


def test_a_preset_without_a_learning_rate_lies_over_the_recipe(capsys):
    cheap = parse_train(["--method", "grace", "--preset", "cheap"])
    usual = make_config({"method": "grace", "data": "shapes"})
    own = METHODS["grace"].presets["cheap"]
    assert cheap.flat() == usual.flat() | own | {"preset": "cheap"}
    assert cheap.options["lr"] == METHODS["grace"].recipes["shapes"]["lr"]
    assert make_config({"method": "grace", "preset": "cheap"}).flat() == cheap.flat()
    said = capsys.readouterr().err
    assert "recipe of shapes and preset cheap" in said and "attack_steps 4" in said
    published = make_config({"method": "tga-zsr", "preset": "published"})
    assert published.options["eps_warmup"] == 0, (
        "nothing of the recipe enters the authors' settings"
    )


def test_whole_matrices_have_a_rate_and_weight_decay_of_their_own(capsys):
    flags = ["--method", "grace", "--adapter", "full"]
    whole = parse_train([*flags, "--data", "shapes"])
    assert (whole.options["lr"], whole.options["weight_decay"]) == (0.0027, 0.1)
    assert whole.options["eps_warmup"] == 0.2 and whole.epochs == 2, "the rest of the recipe stays"
    assert make_config({"adapter": "full"}).flat() == whole.flat()
    assert make_config({"adapter": "tower"}).flat() == whole.flat() | {"adapter": "tower"}
    elsewhere = parse_train([*flags, "--data", "npz:a.npz"])
    assert (elsewhere.options["lr"], elsewhere.options["weight_decay"]) == (3e-5, 0.1)
    assert "--adapter full (flags and --config override it): lr 3e-05" in capsys.readouterr().err
    assert parse_train([*flags, "--weight-decay", "0"]).options["weight_decay"] == 0
    for kind in ("lora", "dora"):
        same = make_config({"adapter": kind}).flat() | {"adapter": "lora"}
        assert same == make_config({}).flat()
    said = " ".join(printed(lambda: parse_train([*flags, "--help"])).split())
    assert "with --data shapes: 0.0027" in said


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if hasattr(m, "eps_warmup")])
def test_the_recipe_warms_the_attack_up_for_every_method_alike(name):
    assert recipe("shapes", name, {})["eps_warmup"] == 0.2


LIKE_THE_AUTHORS = "tecoa fare pmg-aft tga-zsr vpt-pmg-aft comp-tga agft ucat adv-flyp"
NOT_CLIPPED = [(m, p) for m in LIKE_THE_AUTHORS.split() for p in METHODS[m].presets]


@pytest.mark.parametrize(("method", "preset"), NOT_CLIPPED)
def test_presets_of_codes_that_do_not_clip_train_without_clipping(method, preset, capsys):
    flags = ["--method", method, "--preset", preset]
    assert parse_train(["--method", method]).clip_norm == 1.0
    assert parse_train(flags).clip_norm is None and "clip_norm null" in capsys.readouterr().err
    assert parse_train([*flags, "--clip-norm", "0.5"]).clip_norm == 0.5
    assert make_config({"method": method, "preset": preset}).clip_norm is None
    assert make_config({"method": method, "preset": preset, "clip_norm": 2.0}).clip_norm == 2.0
    shown = yaml.safe_load(printed(lambda: parse_train([*flags, "--print-config"])))
    assert shown["clip_norm"] is None
    assert TrainConfig(method=method, preset=preset).clip_norm is None, (
        "Python and the command line agree"
    )
    assert TrainConfig(method=method, preset=preset, clip_norm=1.0).clip_norm == 1.0
    assert TrainConfig(method=method).clip_norm == 1.0


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("--method pmg-aft --preset publish", "did you mean 'published'"),
        ("--method ft --preset published", "it has none, leave --preset out"),
    ],
)
def test_an_unknown_preset_is_refused(argv, said):
    with pytest.raises(UserError, match=said):
        parse_train(argv.split())


def test_four_instead_of_four_255ths_is_refused(capsys):
    for values in ({"eps": 4}, {"alpha": 4}, {"method": "at", "eps": 4}):
        with pytest.raises(UserError, match=r"pixels are in \[0, 1\] here\. Did you mean 4/255\?"):
            make_config(values)
    make_config({"eps": 0.75})
    assert "pixels are in [0, 1]" in capsys.readouterr().err
    make_config({"eps": 1})
    capsys.readouterr()
    make_config({"eps": "4/255"})
    assert not capsys.readouterr().err


def test_length_of_a_run():
    assert TrainConfig(epochs=3).total_steps(10) == 30
    assert TrainConfig(max_steps=7).total_steps(10) == 7
    assert TrainConfig(epochs=1, max_steps=70).total_steps(10) == 10
    assert TrainConfig().total_steps(10) == 100
    assert default_out("at", "npz:some/File.npz", 2) == Path("runs/at-npz-some-File.npz-s2")


def test_plain_types():
    assert plain({"a": (1, Path("x")), "b": np.int64(3), "c": np.float32(0.5)}) == {
        "a": [1, "x"],
        "b": 3,
        "c": 0.5,
    }


def test_a_record_from_before_an_option_existed_counts_as_its_default() -> None:
    config = make_config({"method": "grace", "lr": 2e-3})
    older = {
        name: value
        for name, value in config.flat().items()
        if name not in ("steps_warmup", "shuffle_buffer")
    }
    assert differing(config, older) == []
    given = make_config({"method": "grace", "lr": 2e-3, "steps_warmup": 0.5})
    assert differing(given, older) == ["steps_warmup was 0.0, now 0.5"]
