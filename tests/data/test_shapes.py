"""The embedded benchmark is the same on every machine, in any batch, and asks what it says it
asks."""

import itertools
import json

import numpy as np
import pytest
from PIL import Image

from grace_geom.data.shapes import scene as scenes
from grace_geom.data.shapes.captions import (
    CLASSES,
    COARSE,
    MISTAKEN,
    NIGHT,
    SYNONYMS,
    Sloppiness,
    captions,
)
from grace_geom.data.shapes.corruptions import CORRUPTIONS, SEVERITIES, drawn
from grace_geom.data.shapes.draws import Draws, mix
from grace_geom.data.shapes.noise import SIDE
from grace_geom.data.shapes.sdf import SHAPES, distance
from grace_geom.data.shapes.sets import (
    CONTRAST,
    HARD_IDS,
    SHAPES_SETS,
    SIZES,
    VERSION,
    fingerprint,
    ids_of,
    labels_of,
    render,
    render_rules,
    scene_of,
)
from grace_geom.data.shapes.sheet import NAMES, contact_sheet
from grace_geom.data.shapes.web import captioned

FINGERPRINT = {
    "shapes": "41e1a867dc3574ce",
    "shapes:v2": "bf18630f569e2eb3",
    "shapes:sketch": "2950ddea27b90e3a",
    "shapes:rendition": "5b6abdb835ac2781",
    "shapes:corrupt": "919f6905ba1214e3",
    "shapes:hard": "497cdb38982b43b9",
    "shapes:colour": "e3cf988062062aec",
    "shapes:texture": "4df07c96b4395088",
    "shapes:size": "73af1eac1e0d396a",
    "shapes:count": "14c5c937bd68f4df",
    "shapes:background": "227aa724ba4717f7",
    "web": "91ba23e1f2f57699",
}

TRUTHFUL = Sloppiness(coarse=0, synonym=0, mistaken=0, night=0, random=0, mention=1.25, slip=0)


def test_pictures_are_the_ones_that_were_shipped():
    assert fingerprint() == FINGERPRINT


def test_splitmix_gives_the_published_numbers():
    # First outputs of the reference implementation (Vigna, splitmix64.c) for seed 0: a state that
    # counts by the golden ratio, finalised.
    golden = 0x9E3779B97F4A7C15
    states = np.array([(k * golden) % 2**64 for k in (1, 2, 3)], dtype=np.uint64)
    assert [hex(v) for v in mix(states).tolist()] == [
        "0xe220a8397b1dcdaf",
        "0x6e789e6aa1b965f4",
        "0x6c45d188009454f",
    ]


def test_draws_are_uniform_normal_and_independent():
    draws = Draws("test", 0, np.arange(4000))
    u, z = draws.uniforms("u", 5).ravel(), draws.normals("z", 5).ravel()
    n = len(u)
    assert abs(u.mean() - 0.5) < 4 * np.sqrt(1 / 12 / n)
    assert abs(z.mean()) < 4 / np.sqrt(n)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / n)
    table = draws.uniforms("u", 5)
    pairs = [
        table[:, 0],
        table[:, 1],
        draws.uniform("v"),
        Draws("test", 1, draws.indices).uniform("u"),
        z[::5],
    ]
    correlation = np.corrcoef(pairs)[np.triu_indices(len(pairs), 1)]
    assert abs(correlation).max() < 4.5 / np.sqrt(4000)


@pytest.mark.parametrize("name", SHAPES_SETS)
def test_a_picture_depends_on_its_number_alone(name: str):
    together, labels = render(name, "test", np.arange(70, 210))
    mixed = np.array([200, 71, 133, 71])
    apart, labels_apart = render(name, "test", mixed)
    np.testing.assert_array_equal(apart, together[mixed - 70])
    np.testing.assert_array_equal(labels_apart, labels[mixed - 70])


def test_splits_sets_and_seeds_share_no_picture():
    first = np.arange(24)
    blocks = [render("shapes", split, first)[0] for split in ("train", "val", "test")]
    blocks += [
        render("shapes", "test", first, seed=1)[0],
        render("shapes:v2", "test", first)[0],
        captioned(first)[0],
    ]
    different = {picture.tobytes() for block in blocks for picture in block}
    assert len(different) == len(blocks) * len(first)


@pytest.mark.parametrize("name", [name for name in SHAPES_SETS if name != "shapes:hard"])
def test_labels_are_balanced(name: str):
    counts = np.bincount(labels_of(name, ids_of(name, "test")))
    assert len(counts) == len(SHAPES_SETS[name].class_names)
    assert counts.max() - counts.min() <= 1
    assert counts.sum() == SIZES["test"]


def test_every_set_has_a_prompt_and_every_word_one_meaning():
    for kind in SHAPES_SETS.values():
        assert all(template.count("{}") == 1 for template in kind.templates)
        assert len(set(kind.class_names)) == len(kind.class_names)
    assert {s.suite for s in SHAPES_SETS.values()} == {"id", "ood", "natural_adv", "zeroshot"}
    assert sum(s.suite == "zeroshot" for s in SHAPES_SETS.values()) >= 4
    assert len(CLASSES) >= 12


def grid(n: int = 401) -> tuple[np.ndarray, np.ndarray]:
    axis = np.linspace(-1.6, 1.6, n)
    return np.broadcast_to(axis, (1, n, n)), np.broadcast_to(axis[:, None], (1, n, n))


@pytest.mark.parametrize("kind", range(len(SHAPES)))
def test_distance_bounds_the_true_distance_to_the_edge(kind: int):
    """A signed distance has slope at most 1 everywhere: no point is called farther from the edge
    than it is.
    """
    x, y = grid()
    d = distance(np.array([kind]), x, y)[0]
    h = x[0, 0, 1] - x[0, 0, 0]
    slope = np.maximum(abs(np.diff(d, axis=0)).max(), abs(np.diff(d, axis=1)).max()) / h
    assert slope <= 1 + 1e-9
    assert (d < 0).any()
    edge = np.concatenate([d[0], d[-1], d[:, 0], d[:, -1]])
    assert (edge > 0).all()  # the shape is bounded


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("circle", np.pi * 0.92**2),
        ("square", 1.6**2),
        ("ring", np.pi * (0.94**2 - 0.46**2)),
        ("cross", 2 * 0.6 * 1.9 - 0.36),
        ("hexagon", 2 * np.sqrt(3) * 0.84**2),
        ("pentagon", 5 * np.tan(np.pi / 5) * 0.8**2),
    ],
)
def test_areas_are_the_closed_forms(name: str, area: float):
    x, y = grid()
    h = x[0, 0, 1] - x[0, 0, 0]
    inside = distance(np.array([CLASSES.index(name)]), x, y) < 0
    assert inside.sum() * h**2 == pytest.approx(area, rel=0.01)


def test_star_has_five_points_and_five_notches():
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    x, y = (0.75 * f(angle)[None, None] for f in (np.cos, np.sin))
    inside = distance(np.array([CLASSES.index("star")]), x, y)[0, 0] < 0
    assert (inside & ~np.roll(inside, 1)).sum() == 5


@pytest.mark.parametrize(("one", "other"), itertools.combinations(range(len(SHAPES)), 2))
def test_classes_can_be_told_apart(one: int, other: int):
    """No two shapes cover the same points, even if one may be scaled to fit the other best."""
    x, y = grid(161)
    mask = distance(np.array([one]), x, y) < 0
    for scale in np.linspace(0.7, 1.4, 15):
        fitted = distance(np.array([other]), x / scale, y / scale) < 0
        assert (mask ^ fitted).sum() > 0.05 * (mask | fitted).sum()


@pytest.mark.parametrize("name", ["shapes", "shapes:v2", "shapes:corrupt"])
def test_shape_stands_out_by_more_than_an_attack_moves_pixels(name: str):
    rules = SHAPES_SETS[name].rules
    scene = scene_of(rules, f"{name}/test", np.arange(600), 0)
    gap = CONTRAST * abs(scenes.luminance(scene.paint) - scenes.luminance(scene.backdrop))
    assert np.quantile(gap, 0.05) > 2 * 8 / 255


def test_attributes_are_the_labels_and_the_others_are_free():
    first = np.arange(400)
    for name, kind in SHAPES_SETS.items():
        labels = labels_of(name, first)
        scene = scene_of(kind.rules, f"{name}/test", first, 0, {kind.attribute: labels})
        np.testing.assert_array_equal(getattr(scene, kind.attribute), labels)
        if kind.attribute != "shape":
            assert len(np.unique(scene.shape)) == len(CLASSES)


def test_sizes_are_called_by_their_radius():
    for size, (low, high) in enumerate(scenes.SIZE_RADII):
        assert scenes.called_size(np.array([low, high])).tolist() == [size, size]


def test_sketches_are_dark_lines_on_pale_paper():
    pictures = render("shapes:sketch", "test", np.arange(120))[0].astype(float)
    whitest = 255 * (0.5 + CONTRAST / 2)
    paper, ink = np.quantile(pictures, 0.9, axis=(1, 2, 3)), pictures.min((1, 2, 3))
    assert (paper > 0.75 * whitest).all()
    assert (ink < 0.75 * paper).all()


def test_renditions_include_negatives_of_photos():
    first = np.arange(60)
    fixed = {"rendition": np.full(60, scenes.RENDITIONS.index("negative")), "shape": first % 12}
    negative = render_rules("rendition", "x", first, 0, fixed | {"style": np.full(60, 2)})
    photo = render_rules("rendition", "x", first, 0, fixed | {"style": np.full(60, 0)})
    assert abs(negative.astype(int) + photo - 255).max() <= 1


def test_corruption_hurts_more_when_more_severe():
    first = np.arange(3000)
    drawn_kinds, severity = drawn(Draws(f"{VERSION}/shapes:corrupt/test", 0, first))
    kind = np.array(tuple(CORRUPTIONS))[drawn_kinds]
    assert set(kind) == set(CORRUPTIONS)
    assert set(severity) == set(range(1, SEVERITIES + 1))
    fixed = {"shape": labels_of("shapes:corrupt", first)}
    spoilt = render_rules("corrupt", "shapes:corrupt/test", first, 0, fixed).astype(float)
    clean = render_rules("photo", "shapes:corrupt/test", first, 0, fixed).astype(float)
    change = abs(spoilt - clean).mean((1, 2, 3))
    for name in CORRUPTIONS:
        mild, strong = (change[(kind == name) & (severity == s)].mean() for s in (1, SEVERITIES))
        assert 0 < mild < strong, name


def test_truthful_captions_tell_what_is_there():
    first = np.arange(300)
    scene = scene_of("web", "web", first, 0)
    for i, caption in enumerate(captions(scene, Draws("web", 0, first), TRUTHFUL)):
        assert CLASSES[scene.shape[i]].rstrip("s") in caption
        if scene.style[i] != scenes.STYLES.index("sketch"):
            assert list(scenes.COLOURS)[scene.colour[i]] in caption
        if scene.count[i]:
            assert scenes.COUNTS[scene.count[i]] in caption


def test_sloppy_captions_name_the_class_as_often_as_said():
    first = np.arange(6000)
    sloppy = Sloppiness()
    scene = scene_of("web", "web", first, 0)
    texts = captions(scene, Draws("web", 0, first), sloppy)
    right = np.array([CLASSES[k] in text for k, text in zip(scene.shape, texts, strict=True)])
    other = np.array(
        [MISTAKEN[CLASSES[k]] in text for k, text in zip(scene.shape, texts, strict=True)]
    )
    night = (scene.style == 0) & (scenes.luminance(scene.backdrop) < NIGHT)
    rest = 1 - sloppy.coarse - sloppy.synonym - sloppy.random
    for where, mistaken in ((night, sloppy.night), (~night, sloppy.mistaken)):
        error = 4 * np.sqrt(0.25 / where.sum())
        assert right[where].mean() == pytest.approx(rest - mistaken + sloppy.random / 12, abs=error)
        assert other[where].mean() == pytest.approx(mistaken + sloppy.random / 12, abs=error)


def test_wrong_names_are_names_of_other_classes():
    assert set(MISTAKEN) == set(CLASSES)
    assert all(MISTAKEN[wrong] == name != wrong for name, wrong in MISTAKEN.items())
    others = {word for words in SYNONYMS.values() for word in words} | set(COARSE)
    assert not others & set(CLASSES)


def test_hard_set_has_the_shipped_ids():
    ids = ids_of("shapes:hard", "test")
    assert len(ids) == SIZES["test"]
    assert (np.diff(ids) > 0).all()
    assert len(json.loads(HARD_IDS.read_text())["weights_sha256"]) == 64


def test_contact_sheet_shows_a_row_a_set(tmp_path):
    sheet = Image.open(contact_sheet(tmp_path / "sheet.png", columns=6))
    assert sheet.height > len(NAMES) * SIDE
    assert np.asarray(sheet).std() > 20
