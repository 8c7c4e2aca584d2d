"""Repositories of the Hugging Face hub: what one would get, the artifact of a results folder in the store, and sending.

Everything goes through huggingface_hub's own client. No message holds the token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.engine.store.store import LEDGER, Store
from harness.errors import UserError, first_line

README = "README.md"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


@dataclass(frozen=True)
class Parcel:
    """The content that one repository would get.

    kind   dataset or model, as the hub calls repositories
    files  name in the repository -> the file, or the bytes of one that is generated
    texts  the benchmarks of which prompts, answers and references are in it
    """

    repo: str
    kind: str
    files: Mapping[str, Path | bytes]
    texts: tuple[str, ...] = ()

    def size(self, name: str) -> int:
        """Bytes of one of its files."""
        found = self.files[name]
        return len(found) if isinstance(found, bytes) else found.stat().st_size


def repository(name: str) -> str:
    """The name of a repository. Raises UserError where it has no owner, or the hub knows no such names."""
    if not _NAME.fullmatch(name) or ".." in name or "--" in name:
        fix = "Write OWNER/NAME, such as my-lab/my-results: letters, digits, '-', '_' and '.'."
        raise UserError(f"{name!r} is not the name of a repository with its owner", fix=fix)
    return name


def artifact_cell(cells: Sequence[Mapping[str, Any]], store: Store, method: str, seed: int | None) -> tuple[str, Any]:
    """The key of the artifact that the outcomes of a method come from, and one of its cells.

    cells  as matrix.json lists them
    seed   None for the only one. Raises UserError where the store has none of it, or several
    """
    named = method if seed is None else f"{method}/{seed}"
    own = [one for one in cells if one["method"] == method and one["state"] == "done" and seed in (None, one["seed"])]
    if not own:
        raise UserError(f"no cell of {named} is done", fix="`bakeoff report` lists the cells of a results folder.")
    found: dict[str, Any] = {}
    for one in own:
        if (store.folder("outcomes", one["key"]) / "key.json").is_file():
            found.setdefault(str(store.document("outcomes", one["key"]).get("artifact")), one)
    if not found:
        what = f"no outcome of {named} is in this store"
        raise UserError(what, where=str(store.root), fix="Name the store of the run with --store.")
    if len(found) > 1:
        places = sorted(f"{one['base']}, seed {one['seed']}" for one in found.values())
        fix = (
            f"Name its seed: --artifact {method}/{own[0]['seed']}=OWNER/NAME. Of several base models none can be named."
        )
        raise UserError(f"{named} has {len(found)} artifacts: {'; '.join(places)}", fix=fix)
    return next(iter(found.items()))


def artifact_files(store: Store, key: str) -> dict[str, Path | bytes]:
    """The files of an artifact. Raises UserError where it is missing or damaged, or holds no file of a model."""
    folder = store.folder("artifacts", key)
    damage = store.damage("artifacts", key)
    if damage or not (folder / "done").is_file():
        what = damage or "the artifact is no longer in the store"
        raise UserError(what, where=str(folder), fix="Run the experiment again: what is missing is made.")
    kept = (path for path in sorted(folder.rglob("*")) if path.is_file())
    files: dict[str, Path | bytes] = {
        path.relative_to(folder).as_posix(): path
        for path in kept
        if path.name != "done" and path.relative_to(folder).as_posix() not in (*LEDGER, README)
    }
    if not files:
        raise UserError("this method trains nothing: its artifact has no files", where=str(folder), fix="Name another.")
    return files


def hub_token() -> str:
    """The token of the hub. Raises UserError where none is set; it is never part of a message."""
    from huggingface_hub import get_token

    token = get_token()
    if not token:
        raise UserError("no token of the hub is set", fix="Run `hf auth login`, or set HF_TOKEN to one that may write.")
    return str(token)


def send(parcel: Parcel, token: str, *, public: bool) -> str:
    """Make the repository where it does not exist, and put the files into it as one commit; its address.

    Raises UserError where the hub refuses, or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(token=token)
    adds = [CommitOperationAdd(name, found) for name, found in parcel.files.items()]
    try:
        api.create_repo(parcel.repo, repo_type=parcel.kind, private=not public, exist_ok=True)
        done = api.create_commit(
            parcel.repo, adds, repo_type=parcel.kind, commit_message="Results of bakeoff, by `bakeoff push`"
        )
    except Exception as error:  # of whichever HTTP library the hub's client uses
        raise _refused(parcel.repo, error, token) from None
    return str(done.repo_url)


def _refused(repo: str, error: Exception, token: str) -> UserError:
    status = getattr(getattr(error, "response", None), "status_code", None)
    said = first_line(error).replace(token, "(the token)")
    if status in (401, 403):
        fix = f"Use a token that may write to {repo.split('/')[0]}: `hf auth login`."
        return UserError(f"the hub does not allow this token to write ({status})", where=repo, fix=fix)
    if status:
        return UserError(f"the hub refused with {status}: {said}", where=repo, fix="Nothing was changed there.")
    if type(error).__name__ == "OfflineModeIsEnabled":
        return UserError(
            "HF_HUB_OFFLINE is set, so that nothing can be sent", where=repo, fix="Unset it and push again."
        )
    fix = "Check the connection, and push again: what is there already is not sent twice."
    return UserError(f"the hub cannot be reached: {said}", where=repo, fix=fix)
