import yaml

from grace_geom.config import differing, make_config, stored_settings
from grace_geom.serialise import plain


def test_a_run_from_before_captions_were_read_is_one_on_prompts(tmp_path) -> None:
    given = {"method": "flyp", "data": "csv:pairs.csv"}
    older = {k: v for k, v in make_config(given).flat().items() if k != "pair_with"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain(older)))
    stored = stored_settings(tmp_path)
    assert differing(make_config(given), stored) == ["pair_with was prompt, now auto"]
    assert differing(make_config({**given, "pair_with": "prompt"}), stored) == []
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain({**older, "data": "shapes"})))
    assert "pair_with" not in stored_settings(tmp_path)  # no captions: the same run either way
