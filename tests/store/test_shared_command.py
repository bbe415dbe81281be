"""``compare --out ADDRESS``, from the command line to the tables in the store."""

from pathlib import Path

import pytest

from grace_geom.compare import main
from grace_geom.store import Store
from tests.analysis.conftest import blank
from tests.small_run import write_npz
from tests.toys import register_toy


def test_the_command_works_over_a_store(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("grace_geom.study.figure.save", blank)
    url = f"file://{tmp_path}/store"
    flags = ["--data", write_npz(tmp_path), "--model", register_toy(), "--pretrained", "random"]
    argv = ["--out", url, "--methods", "zero-shot", "--suites", "id", "--max-steps", "1", *flags]
    for machine in ("one", "two"):
        monkeypatch.setenv("GRACE_GEOM_CACHE", str(tmp_path / machine))
        main(argv)
        said, progress = capsys.readouterr()
        assert f"streamlit run app/main.py -- --runs {url}" in said
        assert f"-> {url}" in progress
        assert ("every run is finished" in progress) == (machine == "two")
    names = Store(url).names()
    assert names[:1] == ["tables"] and names[-1] == "zero-shot-s0"
    assert f'"out": "{url}"' in Store(url).read("tables/table.json").decode()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--out", "ftp://host/x"], "a store is a folder or an address of file, memory, s3"),
        (
            ["--out", "memory://x", "--lr-search", "asha"],
            "makes its trials on one machine: search with",
        ),
        (["--out", "memory://x", "--workers", "2"], "is the memory of one process: --engine local"),
    ],
)
def test_an_address_that_cannot_be_shared_is_refused(capsys, flags, says) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--methods", "zero-shot", *flags])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and says in said and "Traceback" not in said
