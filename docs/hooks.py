"""Page that mkdocs makes while it builds the site: every method, from the table of methods."""

from typing import Any

from mkdocs.structure.files import File, Files

from grace_geom.tools.method_pages import method_page


def on_files(files: Files, *, config: Any) -> Files:
    """Add ``methods.md``, which exists in no folder."""
    files.append(File.generated(config, "methods.md", content=method_page()))
    return files
