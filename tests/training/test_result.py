"""What ``train --json`` says of a run directory."""

from grace_geom.training.result import files_of


def test_the_files_of_a_run_are_those_that_training_wrote(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    names = [
        "ckpt.pt", "config.yaml", "compile.jsonl", "metrics.jsonl", "checkpoints/best.pt",
        "checkpoints/step-2.pt",
    ]  # fmt: skip
    for name in (*names, "eval.json", "notes.yaml", "checkpoints/mine.txt"):
        (tmp_path / name).write_text("")
    assert files_of(tmp_path) == [tmp_path / name for name in names]
