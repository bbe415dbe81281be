"""``NAME.json`` beside ``NAME.npz``: the numbers and arrays that one analysis found.

The JSON (format ``grace_geom.result/2``) holds ``parts``, an object for each checkpoint by its
label::

    "parts": {"ft-s0": {"values": {NAME: {"value": 1.5, "error": ...}},
                        "arrays": {NAME: {"shape": [3, 12], "dtype": "float32"}},
                        "n": {"id": 512}}}

A checkpoint that could not be measured has ``not_measured``, the reason, beside these. ``values``
and ``arrays`` outside of ``parts`` are about all checkpoints together. In the npz an array is
called ``LABEL/NAME``, one of all checkpoints ``NAME``; where a name is taken, the JSON's entry says
which ``key`` the array has instead.
"""

import dataclasses
import hashlib
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from grace_geom.errors import UserError
from grace_geom.files import atomic_write, write_text
from grace_geom.records.arrays import KINDS, read_arrays
from grace_geom.records.flat import FLAT_FORMAT, from_flat
from grace_geom.records.forms import MeasureForm, PartForm, ResultForm
from grace_geom.records.schema import Plain, RecordError, checked, dumps, misfit, read_record
from grace_geom.serialise import read_file

RESULT_FORMAT = "grace_geom.result/2"
MEND = "run the analysis again"


@dataclass(frozen=True)
class Measure:
    """One number of an analysis, never without its uncertainty where it is an estimate.

    Attributes:
        value: The number.
        error: Its standard error, or ``None`` where it is exact.
        low, high: An interval, where one was computed; ``level`` says which (0.95).
        level: Coverage of the interval.
        estimator: How it was estimated ("Hutchinson, 60 Rademacher probes").
        unit: Unit, if it has one.
    """

    value: float
    error: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    estimator: str = ""
    unit: str = ""


@dataclass(frozen=True)
class Part:
    """What an analysis found on one checkpoint.

    Attributes:
        values: Numbers by name; ``/`` groups them (``trace/visual.proj``).
        arrays: What is drawn, by name.
        n: Images that were used, by set; filled in by :func:`grace_geom.analysis.analyse`.
        not_measured: Why the checkpoint could not be measured; empty where it was.
    """

    values: dict[str, Measure] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    n: dict[str, int] = field(default_factory=dict)
    not_measured: str = ""


@dataclass(frozen=True)
class Result:
    """What one analysis found on one or several checkpoints: ``NAME.json`` beside ``NAME.npz``.

    Attributes:
        name: The analysis, also the files' stem.
        checkpoints: One dictionary each that was measured: ``label``, ``path``, ``sha256``,
            ``method``, ``images``, ``base`` and ``others`` (see
            :class:`grace_geom.records.forms.CheckpointForm`).
        settings: ``data``, ``n``, ``seed``, ``dtype``, ``batch``, ``params``, ``estimator``: all
            that is needed to run it again.
        parts: What was found on each checkpoint, by label, as for one checkpoint so for many.
        values: Numbers about all checkpoints together, by name.
        arrays: Arrays about all checkpoints together, by name.
        seconds: Wall time.
        versions: Of this package and of what it computed with.
    """

    name: str
    checkpoints: tuple[Plain, ...]
    settings: Plain
    parts: Mapping[str, Part]
    values: Mapping[str, Measure] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    seconds: float = 0.0
    versions: Plain = field(default_factory=dict)

    def measures(self) -> Iterator[Measure]:
        """Every number: those of the parts, then those about all checkpoints together."""
        for part in self.parts.values():
            yield from part.values.values()
        yield from self.values.values()

    def save(self, folder: Path | str) -> Path:
        """Write ``NAME.npz``, then ``NAME.json``, which names the hash of the arrays that belong to
        it.

        Float64 arrays are kept as float32: they are drawn, not computed with. Returns the JSON's
        path.

        Raises:
            ValueError: If an array is not of numbers, booleans or text (it would need pickle).
        """
        folder, kept = Path(folder), _Kept()
        parts = {label: _plain_part(label, part, kept) for label, part in self.parts.items()}
        joint = {"values": _plain_values(self.values), "arrays": kept.add("", self.arrays)}
        digest = ""
        if kept.arrays:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **kept.arrays)  # type: ignore[arg-type]
            digest = hashlib.sha256(buffer.getvalue()).hexdigest()
            with atomic_write(folder / f"{self.name}.npz") as file:
                file.write(buffer.getvalue())
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        plain |= {"parts": parts, **joint, "format": RESULT_FORMAT, "npz_sha256": digest}
        path = folder / f"{self.name}.json"
        write_text(path, dumps(plain))
        return path

    @classmethod
    def load(cls, path: Path | str, arrays: bool = True) -> "Result":
        """Read ``NAME.json`` of this format or of format 1 and, if asked for, the arrays beside it.
        Pickled objects are never read.

        Raises:
            RecordError: If a file is missing, truncated, of a newer version, or the arrays are of
                another run.
        """
        plain = read_record(path, RESULT_FORMAT)
        if plain["format"] == FLAT_FORMAT:
            plain = from_flat(plain, path, MEND)
        form = checked(plain, ResultForm, path, MEND)
        for i, checkpoint in enumerate(form.checkpoints):
            if checkpoint.label not in form.parts:
                what = f"{checkpoint.label!r} has no entry in parts"
                raise misfit(path, f"$.checkpoints[{i}].label", what, MEND)
        found = _arrays_of(form, Path(path)) if arrays else None
        parts = {
            label: Part(_values(part), _chosen(label, part, found), part.n, part.not_measured)
            for label, part in form.parts.items()
        }
        return cls(
            form.name,
            tuple(plain["checkpoints"]),
            form.settings,
            parts,
            _values(form),
            _chosen("", form, found),
            form.seconds,
            form.versions,
        )


class _Kept:
    """The arrays of a file under the keys of its npz."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def add(self, label: str, arrays: Mapping[str, np.ndarray]) -> Plain:
        """Keep these, and return what the JSON says of each."""
        said: Plain = {}
        for name, whole in arrays.items():
            array, usual = _small(name, whole), _key(label, name)
            key = usual
            while key in self.arrays:  # `b/x` of `a` and `x` of `a/b`
                key += "~"
            self.arrays[key] = array
            said[name] = {"shape": list(array.shape), "dtype": str(array.dtype)}
            said[name] |= {"key": key} if key != usual else {}
        return said


def _key(label: str, name: str) -> str:
    return f"{label}/{name}" if label else name


def _plain_part(label: str, part: Part, kept: _Kept) -> Plain:
    why = {"not_measured": part.not_measured} if part.not_measured else {}
    values, arrays = _plain_values(part.values), kept.add(label, part.arrays)
    return {"values": values, "arrays": arrays, "n": part.n, **why}


def _plain_values(values: Mapping[str, Measure]) -> Plain:
    return {name: dataclasses.asdict(value) for name, value in values.items()}


def _values(form: PartForm | ResultForm) -> dict[str, Measure]:
    return {name: _measure(value) for name, value in form.values.items()}


def _measure(form: MeasureForm) -> Measure:
    value = math.nan if form.value is None else form.value
    rest = (form.error, form.low, form.high, form.level, form.estimator, form.unit)
    return Measure(value, *rest)


def _arrays_of(form: ResultForm, path: Path) -> dict[str, np.ndarray]:
    """All arrays of the npz by key, as the JSON lists them."""
    owners = [("", form.arrays), *((label, part.arrays) for label, part in form.parts.items())]
    listed = {
        array.key or _key(label, name): (tuple(array.shape), array.dtype)
        for label, arrays in owners
        for name, array in arrays.items()
    }
    if not listed:
        return {}
    found = _read_arrays(path.with_suffix(".npz"), form.npz_sha256)
    if listed != {name: (a.shape, str(a.dtype)) for name, a in found.items()}:
        raise misfit(path, "$.parts", "arrays are not those of the npz beside it", MEND)
    return found


def _chosen(
    label: str, form: PartForm | ResultForm, found: Mapping[str, np.ndarray] | None
) -> dict[str, np.ndarray]:
    """A part's arrays; none where they are not asked for."""
    if found is None:
        return {}
    return {name: found[array.key or _key(label, name)] for name, array in form.arrays.items()}


def _small(name: str, array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype.kind not in KINDS:
        raise ValueError(
            f"array {name!r} has dtype {array.dtype}: only numbers, booleans and text are stored"
        )
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _read_arrays(path: Path, digest: str) -> dict[str, np.ndarray]:
    try:
        data = read_file(path)
        if hashlib.sha256(data).hexdigest() != digest:
            raise RecordError(f"{path}: does not belong to the JSON beside it; {MEND}")
        return read_arrays(data)
    except RecordError:
        raise
    except UserError as error:
        raise RecordError(f"{error}; {MEND}") from None
    except ValueError as error:
        raise RecordError(f"{path}: arrays cannot be read ({error}); {MEND}") from None
