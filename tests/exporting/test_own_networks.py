"""Networks that open_clip does not bring: a file, a folder, a repository of the Hub."""

import dataclasses
import json
from pathlib import Path

import open_clip
import pytest
import torch

from grace_geom.checkpoint import load_checkpoint, save_checkpoint
from grace_geom.errors import UserError
from grace_geom.exporting import FORMATS, ExportRequest, export_model
from grace_geom.exporting import loaded as loaded_module
from grace_geom.exporting.loaded import Loaded, opened
from grace_geom.exporting.open_clip_folder import check, travelling
from grace_geom.models import ModelSpec, build
from tests.exporting.conftest import EXTRA
from tests.exporting.toy_checkpoints import lora_checkpoint, own_network, saved, toy
from tests.toys import CLASSES, CONFIG, TEMPLATES


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run directory whose network is a file that is gone since."""
    folder = tmp_path_factory.mktemp("made")
    run = folder / "run"
    run.mkdir()
    lora_checkpoint(run, network=own_network(folder))
    (folder / "my net.json").unlink()
    return run


def with_text(**values: object) -> dict:
    return {**CONFIG, "text_cfg": {**CONFIG["text_cfg"], **values}}


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_holds_a_network_of_ones_own_and_tells_no_path(format, run):
    if format in EXTRA:
        pytest.importorskip(EXTRA[format], reason=f"needs grace_geom[{format}]")
    before = set(run.parent.rglob("*"))
    said = export_model(ExportRequest(run, None, format))
    out = Path(said.splitlines()[0])
    assert out == run / ("my-net.safetensors" if format == "safetensors" else f"my-net-{format}")
    new = set(run.parent.rglob("*")) - before
    assert out in new and all(path.is_relative_to(run) for path in new)
    assert all(str(run.parent).encode() not in f.read_bytes() for f in new if f.is_file())


@pytest.mark.parametrize(
    ("model", "name", "told"),
    [
        ("hf-hub:org/robust", "robust", "hf-hub:org/robust"),
        ("local-dir:/home/me/robust/", "robust", "local-dir:robust/"),
    ],
)
def test_folders_and_repositories_give_the_export_its_name(model, name, told, run, tmp_path):
    checkpoint = dataclasses.replace(load_checkpoint(run), model=model)
    save_checkpoint(tmp_path / "ckpt.pt", checkpoint)
    export_model(ExportRequest(tmp_path, None, "open_clip"))
    out = tmp_path / f"{name}-open_clip"
    assert f"CLIP `{told}`" in (out / "README.md").read_text()
    assert json.loads((out / "grace_geom_head.json").read_text())["model"] == told
    config = json.loads((out / "open_clip_config.json").read_text())["model_cfg"]
    assert config == checkpoint.network


def test_the_path_of_a_tokenizer_stays_here(tmp_path):
    config = with_text(hf_tokenizer_name=str(tmp_path / "words"))
    assert travelling(config) == with_text(hf_tokenizer_name="words"), "its folder is gone"
    (tmp_path / "words").mkdir()
    beside = tmp_path / "words" / "open_clip_config.json"
    beside.write_text(json.dumps({"model_cfg": with_text(hf_tokenizer_name="org/words")}))
    assert travelling(config) == with_text(hf_tokenizer_name="org/words")
    beside.write_text("{")
    assert travelling(config) == with_text(hf_tokenizer_name="words"), "it is another file"
    assert travelling(with_text(hf_tokenizer_name="a/b")) == with_text(hf_tokenizer_name="a/b")
    assert travelling(CONFIG) == CONFIG


def test_a_text_tower_that_lies_in_a_folder_is_refused(run):
    loaded = opened(run, verify=True)
    place = str(run / "tower")
    network = with_text(hf_model_name=place)
    checkpoint = dataclasses.replace(loaded.checkpoint, network=network)
    with pytest.raises(UserError, match=r"tower lies in .*/tower, .*--format torch.export"):
        check(dataclasses.replace(loaded, checkpoint=checkpoint))
    check(loaded)


def test_a_tokenizer_of_transformers_travels_with_its_files(tmp_path):
    transformers = pytest.importorskip("transformers", reason="needs grace_geom[transformers]")
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["<pad>", "</s>", "<unk>", "a", "photo", "drawing", "of", "circle", "square", "star"]
    own = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    own.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=own, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(tmp_path / "words")
    network = with_text(vocab_size=10, hf_tokenizer_name="words")
    (tmp_path / "net.json").write_text(json.dumps(network))
    model = build(ModelSpec(str(tmp_path / "net.json"), "random", 0), CLASSES, TEMPLATES)
    (tmp_path / "run").mkdir()
    out = tmp_path / "out"
    export_model(ExportRequest(saved(tmp_path / "run", model, {}), out, "open_clip"))
    tokens = open_clip.get_tokenizer(f"local-dir:{out}")(["a photo of"])
    assert tokens[0].tolist() == [3, 4, 6] + [0] * 9
    assert all(str(tmp_path).encode() not in f.read_bytes() for f in out.iterdir())


@pytest.mark.parametrize("format", ["open_clip", "torch.export"])
def test_a_tokenizer_that_cannot_be_read_is_missing_and_the_card_says_so(
    format, run, tmp_path, monkeypatch
):
    pytest.importorskip("transformers", reason="needs grace_geom[transformers]")

    def unreached(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", unreached)
    checkpoint = load_checkpoint(run)
    text = {**checkpoint.network["text_cfg"], "hf_tokenizer_name": "org/words"}
    network = {**checkpoint.network, "text_cfg": text}
    save_checkpoint(tmp_path / "ckpt.pt", dataclasses.replace(checkpoint, network=network))
    said = export_model(ExportRequest(tmp_path / "ckpt.pt", tmp_path / "out", format))
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Whether the text tower gives the same logits is unknown" in card
    told = "hf download org/words --local-dir out"
    assert (told in card, told in said) == ((format == "open_clip",) * 2)
    if format == "open_clip":
        clip = open_clip.create_model(f"local-dir:{tmp_path / 'out'}")
        x = torch.rand(2, 3, 16, 16)
        own = opened(tmp_path / "ckpt.pt", verify=True)
        features = own.model.features(x)
        normal = (x - own.model.mean) / own.model.std
        torch.testing.assert_close(clip.eval().encode_image(normal, normalize=True), features)


def loaded_with(changes: dict[str, torch.Tensor], bias: float | None = None) -> Loaded:
    """The toy, or one with SigLIP's logit bias, with changes of its head."""
    model = toy()
    if bias is not None:
        model.clip.logit_bias = torch.nn.Parameter(torch.tensor(bias))
        model = model.with_head(CLASSES, TEMPLATES)
    head = {name: w + changes.get(name, 0) for name, w in model.head.items()}
    model = model.with_head(CLASSES, TEMPLATES, head)
    return Loaded(model, None, Path())  # type: ignore[arg-type]


LAST = torch.tensor([0.0, 0.0, 1.0])


def test_of_many_classes_two_rows_and_every_bias_are_compared(monkeypatch):
    monkeypatch.setattr(loaded_module, "FEW", 2)
    assert not loaded_with({}, -10.0).trained_head()
    assert loaded_with({"head.bias": LAST}, -10.0).trained_head()
    assert loaded_with({"head.weight": torch.ones(3, 1)}).trained_head()


@pytest.mark.parametrize("bias", [None, -10.0])
def test_a_head_is_trained_where_it_is_not_that_of_the_text_tower(bias):
    assert not loaded_with({}, bias).trained_head()
    assert loaded_with({"head.weight": LAST[:, None]}, bias).trained_head(), "the last class"
    assert loaded_with({"head.bias": LAST}, bias).trained_head()
