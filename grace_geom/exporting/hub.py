"""To the Hugging Face Hub, with the token of ``hf auth login`` or ``HF_TOKEN``, which is never
printed.
"""

from pathlib import Path
from typing import cast

from grace_geom.errors import UserError
from grace_geom.exporting.extras import need


def check(repository: str) -> None:
    """Refuse before anything is built what cannot be pushed.

    Raises:
        UserError: Without huggingface_hub, for a name that is not ``ORG/NAME``, and without a
            token.
    """
    need("hub", "--push-to-hub")
    from huggingface_hub import get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
        named = repository.count("/") == 1
    except HFValidationError:
        named = False
    if not named:
        raise UserError(f"--push-to-hub {repository!r} is no name of a repository: give ORG/NAME")
    if not get_token():
        raise UserError(
            "--push-to-hub needs a token that may write: `hf auth login`, or the environment "
            "variable HF_TOKEN"
        )


def push(folder: Path, repository: str, *, private: bool) -> str:
    """Make a repository hold exactly a folder, in one commit; it is made where it is missing.

    Files of an earlier export are removed: readers choose among weights by their names, and would
    take the old ones. Earlier commits and ``.gitattributes`` stay.

    Args:
        folder: An exported folder.
        repository: ``ORG/NAME``.
        private: Make a new repository private; if not, it is what the organisation's default says.

    Returns:
        The address of the commit or of the repository.

    Raises:
        UserError: If the Hub cannot be reached or refuses; the folder stays.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError

    # Every error of the Hub is also one of the HTTP library in use, and one of the system.
    kinds = cast("tuple[type[Exception], ...]", HfHubHTTPError.__bases__)
    api = HfApi()
    try:
        address = api.create_repo(repository, private=private or None, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message="Add model by grace_geom",
            delete_patterns="*",  # the client spares .gitattributes and what is uploaded
        )
    except kinds as error:
        said, token = " ".join(str(error).split()), get_token()
        said = said.replace(token, "(token)") if token else said
        raise UserError(
            f"--push-to-hub {repository}: {said[:300]}. {folder} is whole; push it again with "
            f"`hf upload {repository} {folder} --delete '*'`"
        ) from None
    return str(address)
