"""What a reader is asked for: a SPEC taken apart, and where its files may lie."""

from dataclasses import dataclass
from pathlib import Path

from grace_geom.errors import UserError


@dataclass(frozen=True)
class Request:
    """A SPEC and its surroundings.

    Attributes:
        spec: As the user wrote it.
        rest: What follows the colon.
        data_root: Folder of the data sets; ``None``: the current folder only.
        download: Whether an absent torchvision set may be fetched.
        captions: Whether captions are read too; then labels may be absent.
        stream: Whether shards of a store stay there.
    """

    spec: str
    rest: str
    data_root: Path | None = None
    download: bool = False
    captions: bool = False
    stream: bool = False

    def located(self, name: str) -> Path:
        """A path as named from here, else as named from the data root."""
        path = Path(name).expanduser()
        if self.data_root is not None and not path.exists() and (self.data_root / path).exists():
            return self.data_root / path
        return path

    def names(self, what: str) -> list[str]:
        """The one name after the colon, or the two of ``TRAIN+TEST``.

        Raises:
            UserError: If nothing follows the colon.
        """
        if not self.rest.strip("+ "):
            scheme = self.spec.partition(":")[0]
            raise UserError(f"{self.spec!r} names no {what}: write {scheme}:{what.upper()}")
        if "+" not in self.rest or self.located(self.rest).exists():
            return [self.rest]
        return self.rest.split("+", 1)
