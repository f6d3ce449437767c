"""How versions are kept: where, under which names, and how many."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", re.ASCII)
_FOLDERS = ("versions_folder", "snapshots_folder", "checkpoints_folder", "backups_folder")
_TAKEN = {"aliases.json", "aliases.log", "current", "local"}


def _none(value: object) -> object:
    """Read how a variable of the environment says that there is no limit."""
    return None if isinstance(value, str) and value.lower() in ("", "none", "null") else value


Limit = Annotated[int | None, BeforeValidator(_none)]


class StoreConfig(BaseModel):
    """The policy of a store; the same for each model in it.

    Attributes:
        root: has one folder for each model.
        version_format: `date` for v2026-11-21-3f9c2a1, `number` for v1.0, v1.1, …
        max_versions: kept by `retain`; None for all.
        max_snapshots: kept by `retain`, the newest dates; None for all.
        keep_best_by: metric by which the best versions are kept, such as `validation_loss`;
            None keeps the newest.
        lower_is_better: of that metric.
        max_checkpoints: of one unfinished fit.
        max_runs: unfinished fits whose state is kept; the longest untouched go first.
        backups: kept of each name that was overwritten.
        verify_on_load: compute the checksum of each file before a version is given out; without
            it only names and sizes are compared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path
    version_format: Literal["date", "number"] = "date"
    max_versions: Limit = Field(10, ge=1)
    max_snapshots: Limit = Field(None, ge=1)
    keep_best_by: Annotated[str | None, BeforeValidator(_none)] = None
    lower_is_better: bool = True
    max_checkpoints: int = Field(3, ge=1)
    max_runs: int = Field(20, ge=1)
    backups: int = Field(2, ge=1)
    verify_on_load: bool = True
    versions_folder: str = "versions"
    snapshots_folder: str = "snapshots"
    checkpoints_folder: str = "checkpoints"
    backups_folder: str = "backups"

    @classmethod
    def read(
        cls,
        file: Path | None,
        values: Mapping[str, Any] | None = None,
        *,
        root: Path | None = None,
    ) -> Self:
        """Read a YAML file.

        Args:
            file: None for the defaults.
            values: win over the file.
            root: where neither names one.

        Raises:
            ValueError: it cannot be read, or a value is not what it should be; names it.
        """
        first = {} if root is None else {"root": root}
        document = {} if file is None else _document(file)
        try:
            return cls.model_validate(first | document | dict(values or {}))
        except ValidationError as error:
            wrong = "; ".join(_sentence(dict(one)) for one in error.errors())
            raise ValueError(f"the settings of the store are wrong: {wrong}") from error

    @model_validator(mode="after")
    def _has_folders_of_its_own(self) -> Self:
        names = [getattr(self, field) for field in _FOLDERS]
        for field, name in zip(_FOLDERS, names, strict=True):
            if not _FOLDER.fullmatch(name) or name in _TAKEN:
                raise ValueError(f"{field} must be one plain name, and not {name!r}")
        if len(set(names)) < len(names):
            raise ValueError(f"{', '.join(_FOLDERS)} must differ")
        return self


def _document(file: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{file.name} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file.name} is no YAML: {error}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ValueError(f"{file.name} must hold names and values, such as max_versions: 10")  # noqa: TRY004 -- a setting
    return {str(name): value for name, value in document.items()}


def _sentence(error: Mapping[str, Any]) -> str:
    place = ".".join(map(str, error["loc"]))
    return f"{place}: {error['msg']}" if place else str(error["msg"])
