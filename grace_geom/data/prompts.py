"""Prompt templates: sentences with one ``{}`` for the class name, by kind of image.

The sentences for published data sets follow Radford et al. 2021 (CLIP).
"""

import functools
from pathlib import Path

from grace_geom.data.text import read_text
from grace_geom.errors import UserError, nearest

Templates = tuple[str, ...]

GENERIC: Templates = (
    "a photo of a {}.",
    "a picture of a {}.",
    "a blurry photo of a {}.",
    "a bright photo of a {}.",
    "a close-up photo of a {}.",
    "an image of the {}.",
    "a {}.",
)

CIFAR: Templates = (
    "a photo of a {}.",
    "a blurry photo of a {}.",
    "a black and white photo of a {}.",
    "a low contrast photo of a {}.",
    "a high contrast photo of a {}.",
    "a bad photo of a {}.",
    "a good photo of a {}.",
    "a photo of a small {}.",
    "a photo of a big {}.",
    "a photo of the {}.",
    "a blurry photo of the {}.",
    "a black and white photo of the {}.",
    "a low contrast photo of the {}.",
    "a high contrast photo of the {}.",
    "a bad photo of the {}.",
    "a good photo of the {}.",
    "a photo of the small {}.",
    "a photo of the big {}.",
)

# Several styles in one head, so that the zero-shot classifier favours none of the domains.
STYLES: Templates = (
    "a photo of a {}.",
    "a painting of a {}.",
    "a cartoon of a {}.",
    "a sketch of a {}.",
    "a drawing of a {}.",
    "an image of a {}.",
    "a {}.",
)

TEMPLATES: dict[str, Templates] = {
    "generic": GENERIC,
    "cifar": CIFAR,
    "styles": STYLES,
    "digits": (
        'a photo of the number: "{}".',
        "a photo of the digit {}.",
        "the handwritten number {}.",
        "the printed number {}.",
    ),
    "street-digits": ('a street sign of the number: "{}".', 'a photo of the number: "{}".'),
    "clothing": ("a photo of a {}, a type of clothing.", "a grey photo of a {}."),
    "food": ("a photo of {}, a type of food.",),
    "flowers": ("a photo of a {}, a type of flower.",),
    "pets": ("a photo of a {}, a type of pet.",),
    "aircraft": ("a photo of a {}, a type of aircraft.", "a photo of the {}, a type of aircraft."),
    "cars": (
        "a photo of a {}.",
        "a photo of the {}.",
        "a photo of my {}.",
        "a photo of my new {}.",
        "a photo of a clean {}.",
    ),
    "textures": (
        "a photo of a {} texture.",
        "a photo of a {} pattern.",
        "a photo of a {} thing.",
        "a photo of a {} object.",
        "a photo of the {} texture.",
        "a photo of the {} pattern.",
        "a photo of the {} thing.",
        "a photo of the {} object.",
    ),
    "satellite": (
        "a centered satellite photo of {}.",
        "a centered satellite photo of a {}.",
        "a centered satellite photo of the {}.",
    ),
    "scenes": ("a photo of a {}.", "a photo of the {}."),
    "countries": (
        "a photo i took in {}.",
        "a photo i took while visiting {}.",
        "a photo showing the country of {}.",
    ),
    "signs": (
        'a zoomed in photo of a "{}" traffic sign.',
        'a centered photo of a "{}" traffic sign.',
        'a close up photo of a "{}" traffic sign.',
    ),
    "histology": ("this is a photo of {}.",),
    "reviews": ("a {} review of a movie.",),
}

# A data set's name begins with one of these, whatever follows (cifar10_train, pacs_photo): longest
# match first.
KINDS: dict[str, str] = {
    "cifar": "cifar",
    "stl10": "generic",
    "tinyimagenet": "generic",
    "imagenet": "imagenet",
    "pacs": "styles",
    "digits": "digits",
    "mnist": "digits",
    "kmnist": "generic",
    "usps": "digits",
    "svhn": "street-digits",
    "fashionmnist": "clothing",
    "caltech": "generic",
    "food101": "food",
    "flowers102": "flowers",
    "oxfordiiitpet": "pets",
    "fgvcaircraft": "aircraft",
    "stanfordcars": "cars",
    "dtd": "textures",
    "eurosat": "satellite",
    "sun397": "scenes",
    "country211": "countries",
    "gtsrb": "signs",
    "pcam": "histology",
    "renderedsst2": "reviews",
}


def templates_for(name: str) -> tuple[str, Templates]:
    """Kind and templates of a data set, by the beginning of its name; ``generic`` where none is
    known.
    """
    plain = "".join(c for c in name.lower() if c.isalnum())
    kind = next(
        (KINDS[k] for k in sorted(KINDS, key=len, reverse=True) if plain.startswith(k)), "generic"
    )
    return kind, imagenet_templates() if kind == "imagenet" else TEMPLATES[kind]


@functools.cache
def imagenet_templates() -> Templates:
    """The 80 templates for ImageNet that open_clip ships."""
    from open_clip.zero_shot_metadata import (
        OPENAI_IMAGENET_TEMPLATES,
    )  # seconds to import, seldom needed

    return tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)


@functools.cache
def imagenet_class_names() -> tuple[str, ...]:
    """The 1,000 class names for ImageNet that open_clip ships, by rank of the WordNet id."""
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

    return tuple(IMAGENET_CLASSNAMES)


def given_templates(source: str | Path) -> tuple[str, Templates]:
    """Templates the user asked for: a kind of the table above, or a text file with one template a
    line.

    ``{}`` and ``{c}`` both stand for the class name.

    Raises:
        UserError: If there is neither such a kind nor such a file, or a line has no place for the
            name.
    """
    kinds = {*TEMPLATES, "imagenet"}
    if str(source) in kinds:
        return str(source), imagenet_templates() if str(source) == "imagenet" else TEMPLATES[
            str(source)
        ]
    path = Path(source)
    if not path.is_file():
        raise UserError(
            f"templates {str(source)!r}: neither a file nor a known kind; "
            f"{nearest(str(source), kinds)}"
        )
    return str(path), parse_templates(read_text(path), str(path))


def parse_templates(text: str, where: str) -> Templates:
    """One template a line; empty lines do not count."""
    lines = [line.strip().replace("{c}", "{}") for line in text.splitlines() if line.strip()]
    if not lines:
        raise UserError(
            f"{where}: no template in it; write one sentence a line, such as: a photo of a {{}}."
        )
    for line in lines:
        if line.count("{}") != 1 or "{" in line.replace("{}", ""):
            raise UserError(
                f"{where}: template {line!r} needs exactly one {{}}, for the class name"
            )
    return tuple(lines)
