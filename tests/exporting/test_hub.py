"""Pushing, against a Hub that is not there."""

import pytest

from grace_geom import export
from grace_geom.errors import UserError
from grace_geom.exporting import ExportRequest, export_model, hub
from tests.exporting.toy_checkpoints import full_checkpoint

huggingface_hub = pytest.importorskip("huggingface_hub", reason="needs huggingface_hub")
filter_repo_objects = pytest.importorskip("huggingface_hub.utils").filter_repo_objects
TOKEN = "hf_secretsecretsecret"


class Hub:
    """Takes what is pushed."""

    def __init__(self) -> None:
        self.made: list[tuple[str, dict]] = []
        self.files: set[str] = set()
        self.fails: Exception | None = None

    def __call__(self) -> "Hub":
        return self

    def create_repo(self, name: str, **options) -> str:
        self.made.append((name, options))
        return f"https://huggingface.co/{name}"

    def upload_folder(self, *, repo_id, folder_path, commit_message, delete_patterns) -> None:
        if self.fails:
            raise self.fails
        old = filter_repo_objects(self.files - {".gitattributes"}, allow_patterns=delete_patterns)
        self.files -= set(old)
        self.files |= {str(p.relative_to(folder_path)) for p in folder_path.rglob("*")}


@pytest.fixture
def fake(monkeypatch) -> Hub:
    fake = Hub()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(huggingface_hub, "HfApi", fake)
    return fake


def test_the_whole_folder_is_pushed(tmp_path, fake, capsys):
    path = full_checkpoint(tmp_path)
    flags = ["--format", "open_clip", "--push-to-hub", "org/robust-clip", "--private"]
    export.main([str(path), "--out", str(tmp_path / "out"), *flags])
    assert fake.made == [("org/robust-clip", {"private": True, "exist_ok": True})]
    assert {"README.md", "open_clip_config.json", "grace_geom_head.json"} <= fake.files
    said = capsys.readouterr()
    assert "pushed to https://huggingface.co/org/robust-clip" in said.out
    assert TOKEN not in said.out + said.err
    card = (tmp_path / "out" / "README.md").read_text()
    assert "# robust-clip" in card
    assert "hf download org/robust-clip --local-dir robust-clip" in card


def test_a_repository_holds_the_last_export_and_no_weights_of_an_earlier_one(tmp_path, fake):
    fake.files = {".gitattributes", "model.safetensors", "base/model.safetensors", "README.md"}
    path, out = full_checkpoint(tmp_path), tmp_path / "out"
    export_model(ExportRequest(path, out, "open_clip", push_to_hub="org/name"))
    assert fake.files == {".gitattributes"} | {p.name for p in out.iterdir()}


@pytest.mark.parametrize("kind", [OSError, huggingface_hub.errors.HTTPError])
def test_a_refusal_keeps_the_folder_and_the_secret(kind, tmp_path, fake):
    fake.fails = kind(f"401 for Bearer {TOKEN}")
    path = full_checkpoint(tmp_path)
    with pytest.raises(UserError) as error:  # without --private, the organisation decides
        export_model(ExportRequest(path, tmp_path / "out", "open_clip", push_to_hub="org/name"))
    assert fake.made == [("org/name", {"private": None, "exist_ok": True})]
    said = str(error.value)
    assert TOKEN not in said and "401 for Bearer (token)" in said
    assert f"`hf upload org/name {tmp_path / 'out'} --delete '*'`" in said
    assert (tmp_path / "out" / "README.md").is_file()


@pytest.mark.parametrize("name", ["name", "a/b/c", "a b/c", "org/--x", ""])
def test_a_name_must_be_one(name, fake):
    with pytest.raises(UserError, match="give ORG/NAME"):
        hub.check(name)


def test_a_token_is_asked_for_before_anything_is_built(monkeypatch, fake):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(UserError, match="hf auth login"):
        export_model(ExportRequest("nowhere", None, "open_clip", push_to_hub="org/name"))
    assert not fake.made
