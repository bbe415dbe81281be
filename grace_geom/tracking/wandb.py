"""Weights & Biases. ``WANDB_PROJECT``, ``WANDB_ENTITY``, ``WANDB_MODE`` and ``WANDB_DIR`` hold as
wandb documents them; without them the project is ``grace_geom`` and the files lie in
``.trackers/wandb/`` of the folder.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grace_geom.tracking.base import PROJECT, Home, Status


class Wandb:
    """See :class:`~grace_geom.tracking.base.Tracker`."""

    def __init__(self, home: Home) -> None:
        import wandb

        self.library, self.home = wandb, home
        self.run: Any = None

    def start(self, settings: Mapping[str, Any], name: str) -> dict[str, str]:
        """Begin or resume the run.

        Raises:
            RuntimeError: Where wandb would ask for a login.
        """
        wandb = self.library
        online = wandb.setup().settings.mode in ("online", "shared")
        if online and not wandb.login(
            prompt=False
        ):  # a question would wait for ever in a batch job
            raise RuntimeError("not logged in: call `wandb login`, or set WANDB_MODE=offline")
        folder = os.environ.get("WANDB_DIR")
        if folder is None:
            self.home.hidden.mkdir(exist_ok=True)
        known = self.home.known.get("id")
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=name,
            group=name.partition("/")[0],
            id=known,
            resume="allow" if known else None,
            dir=folder or str(self.home.hidden),
            config=dict(settings),
            allow_val_change=True,
            reinit="create_new",  # a study or a notebook may have several at a time
            settings=wandb.Settings(silent=True, console="off"),
        )
        # By our step, not by the calls: a resumed run makes some steps again.
        self.run.define_metric("step")
        self.run.define_metric("*", step_metric="step")
        return {"id": str(self.run.id)}

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """A row of the run's history."""
        self.run.log({"step": step, **numbers})

    def figure(self, name: str, path: Path) -> None:
        """An image or a page."""
        if path.suffix == ".png":
            self.run.log({name: self.library.Image(str(path))})
        elif path.suffix == ".html":
            self.run.log({f"{name}.html": self.library.Html(path)})

    def finish(self, status: Status) -> None:
        """Upload the rest; exit code 1 unless the run finished."""
        self.run.finish(exit_code=0 if status == "finished" else 1)


TRACKER = Wandb
