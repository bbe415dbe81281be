"""``NAME.json`` beside ``NAME.npz``: the numbers and arrays that one analysis found."""

import dataclasses
import hashlib
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from grace_geom.errors import UserError
from grace_geom.files import atomic_write, write_text
from grace_geom.records.arrays import KINDS, read_arrays
from grace_geom.records.forms import ResultForm
from grace_geom.records.schema import Plain, RecordError, checked, dumps, misfit, read_record
from grace_geom.serialise import read_file

RESULT_FORMAT = "grace_geom.result/1"
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
class Result:
    """What one analysis found on one or several checkpoints: ``NAME.json`` beside ``NAME.npz``.

    Attributes:
        name: The analysis, also the files' stem.
        checkpoints: One dictionary each: ``path``, ``sha256``, ``run``, ``method``.
        settings: ``data``, ``n``, ``seed``, ``dtype``, ``batch``, ``params``, ``estimator``: all
            that is needed to run it again.
        values: Numbers by name; ``/`` groups them (``trace/visual.proj``), checkpoints first where
            there are several.
        arrays: What is drawn, by name.
        seconds: Wall time.
        versions: Of this package and of what it computed with.
    """

    name: str
    checkpoints: tuple[Plain, ...]
    settings: Plain
    values: Mapping[str, Measure]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    seconds: float = 0.0
    versions: Plain = field(default_factory=dict)
    format: str = RESULT_FORMAT

    def save(self, folder: Path | str) -> Path:
        """Write ``NAME.npz``, then ``NAME.json``, which names the hash of the arrays that belong to
        it.

        Float64 arrays are kept as float32: they are drawn, not computed with. Returns the JSON's
        path.

        Raises:
            ValueError: If an array is not of numbers, booleans or text (it would need pickle).
        """
        folder = Path(folder)
        arrays = {name: _small(name, array) for name, array in self.arrays.items()}
        digest = ""
        if arrays:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
            digest = hashlib.sha256(buffer.getvalue()).hexdigest()
            with atomic_write(folder / f"{self.name}.npz") as file:
                file.write(buffer.getvalue())
        plain = {
            f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "arrays"
        }
        plain["values"] = {name: dataclasses.asdict(value) for name, value in self.values.items()}
        plain["arrays"] = {
            name: {"shape": list(a.shape), "dtype": str(a.dtype)} for name, a in arrays.items()
        }
        path = folder / f"{self.name}.json"
        write_text(path, dumps(plain | {"npz_sha256": digest}))
        return path

    @classmethod
    def load(cls, path: Path | str, arrays: bool = True) -> "Result":
        """Read ``NAME.json`` and, if asked for, the arrays beside it. Pickled objects are never
        read.

        Raises:
            RecordError: If a file is missing, truncated, of a newer version, or the arrays are of
                another run.
        """
        plain = read_record(path, RESULT_FORMAT)
        form = checked(plain, ResultForm, path, MEND)
        values = {name: _measure(v, path, name) for name, v in form.values.items()}
        read = {}
        if arrays and form.arrays:
            read = _read_arrays(Path(path).with_suffix(".npz"), form.npz_sha256)
            listed = {name: (tuple(a.shape), a.dtype) for name, a in form.arrays.items()}
            if listed != {name: (a.shape, str(a.dtype)) for name, a in read.items()}:
                raise misfit(path, "$.arrays", "not those of the npz beside it", MEND)
        rest = checked(plain | {"values": {}, "arrays": {}}, _Head, path, MEND)
        return cls(**vars(rest) | {"values": values, "arrays": read})


@dataclass(frozen=True)
class _Head:
    """What a result holds beside values and arrays."""

    name: str
    checkpoints: tuple[Plain, ...]
    settings: Plain
    seconds: float = 0.0
    versions: Plain = field(default_factory=dict)
    format: str = RESULT_FORMAT


def _measure(plain: Any, path: Path | str, name: str) -> Measure:
    at = f"$.values[{json.dumps(name)}]"
    if isinstance(plain, dict) and plain.get("value", 0.0) is None:  # NaN, as JSON has none
        plain = plain | {"value": math.nan}
    return checked(plain, Measure, path, MEND, at)


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
