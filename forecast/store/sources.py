"""Where weights come from: a source is one string, what comes back is a local folder.

hf:<repo>[@revision]                  a repository of the model hub
local:<path>                          a folder in the model's local folder or a configured root
mlflow:models:/<name>@<alias>         a registered model, at whatever version the alias means
mlflow:models:/<name>/<version>       a registered model, at one version
mlflow:runs:/<id>/<path>              a folder among the artifacts of a run
store:<name>                          a version, alias or snapshot in this server's own store
package:<model_id>                    weights that are installed with the gateway
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from forecast.core.errors import FileMissing, Forbidden, InvalidRequest
from forecast.store.checkpoint import digest, require_digests, require_weights
from forecast.store.hub_settings import HubSettings
from forecast.store.mlflow import TrackingServer
from forecast.store.versions import ModelStore

if TYPE_CHECKING:
    from forecast.store.hub import Hub

SCHEMES = ("hf", "local", "mlflow", "store", "package")

_PACKAGED = Path(__file__).parents[1] / "models"  # <model_id>/weights, with a list of digests

_REPO = re.compile(r"(?:[\w-][\w.-]*/)?[\w-][\w.-]*", re.ASCII)
_REVISION = re.compile(r"[\w-][\w./-]{0,199}", re.ASCII)
_MODEL_VERSION = re.compile(r"models:/(?P<name>[^/:@]{1,256})/(?P<version>[1-9][0-9]{0,9})")
_MODEL_ALIAS = re.compile(r"models:/(?P<name>[^/:@]{1,256})@(?P<alias>[\w-]{1,255})")
_STORED = re.compile(r"[A-Za-z0-9][\w.-]{0,79}", re.ASCII)
_MODEL_ID = re.compile(r"[a-z0-9_]{1,80}", re.ASCII)
_RUN = re.compile(r"runs:/(?P<run_id>[\w-]{1,64})/(?P<path>.{1,500})", re.ASCII)


@dataclass(frozen=True, slots=True)
class HubSource:
    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"hf:{self.repo}@{self.revision}" if self.revision else f"hf:{self.repo}"


@dataclass(frozen=True, slots=True)
class LocalSource:
    path: str

    def __str__(self) -> str:
        return f"local:{self.path}"


@dataclass(frozen=True, slots=True)
class AliasSource:
    name: str
    alias: str

    def __str__(self) -> str:
        return f"mlflow:models:/{self.name}@{self.alias}"


@dataclass(frozen=True, slots=True)
class VersionSource:
    name: str
    version: str

    def __str__(self) -> str:
        return f"mlflow:models:/{self.name}/{self.version}"


@dataclass(frozen=True, slots=True)
class RunSource:
    run_id: str
    path: str

    def __str__(self) -> str:
        return f"mlflow:runs:/{self.run_id}/{self.path}"


@dataclass(frozen=True, slots=True)
class StoreSource:
    name: str

    def __str__(self) -> str:
        return f"store:{self.name}"


@dataclass(frozen=True, slots=True)
class PackageSource:
    model_id: str

    def __str__(self) -> str:
        return f"package:{self.model_id}"


Source = (
    HubSource | LocalSource | AliasSource | VersionSource | RunSource | StoreSource | PackageSource
)


@dataclass(frozen=True, slots=True)
class ResolvedSource:
    """A source, as a folder.

    Attributes:
        source: with the revision really used, such as `hf:amazon/chronos-bolt-small@<40 hex>`
            or `store:<version>` where an alias was asked for.
        path: a local folder, all of whose files lie where they may be read.
        sha256: of the weights, as `checkpoint.digest` says; None if not known.
        published_at: when they were on a hub at the latest; None if not known.
    """

    source: str
    path: Path
    sha256: str | None
    published_at: datetime | None = None


class SourceResolver:
    """Turns sources into folders. Safe to use from several threads and processes.

    Attributes:
        store: that `store:` sources mean; None refuses them.
    """

    def __init__(
        self,
        *,
        local_roots: Mapping[str, Path] | Sequence[Path],
        cache: Path,
        hub: HubSettings,
        mlflow_tracking_uri: str | None,
        store: ModelStore | None = None,
    ) -> None:
        """Remember where things are; nothing is read or asked yet.

        Args:
            local_roots: folders that `local:` may read. In a sequence, each is open to every
                model, and `<root>/<model_id>/local` in it is looked in first. In a mapping,
                each folder is open to the model whose id is its key.
            cache: folder for downloads; made when needed.
            store: for `store:` sources; None refuses them.
        """
        self._local_roots = local_roots
        self._hub_settings = hub
        self._cache = cache
        self._tracking = TrackingServer(mlflow_tracking_uri, cache / "mlflow")
        self.store = store

    @cached_property
    def _hub(self) -> "Hub":
        from forecast.store.hub import Hub  # with its client, which many hosts never need

        return Hub(self._hub_settings, self._cache)

    def resolve(self, source: str, *, model_id: str) -> ResolvedSource:
        """Bring a source here, or find that it is here already.

        Raises:
            InvalidRequest: this is no source.
            UnknownSource, FileMissing: there is nothing of this name.
            Forbidden: it lies outside the folders that may be read, or needs other credentials.
            UnsupportedFormat: it holds no weights in safetensors.
            VersionNotFound, VersionDamaged: the store does not hold it, or not as it was written.
            VersionDamaged: weights of the package are not those that were published.
            SourceUnavailable: a hub or server does not answer, and the cache has no copy.
            MissingLibrary: a pip extra is needed; says which.
        """
        used, path = self._folder(parse(source), model_id)
        published_at = None
        if isinstance(used, HubSource) and used.revision is not None:
            published_at = self._hub.published_at(used.repo, used.revision)
        return ResolvedSource(str(used), path, digest(path), published_at)

    def _folder(self, source: Source, model_id: str) -> tuple[Source, Path]:
        match source:
            case HubSource(repo, revision):
                commit, path = self._hub.fetch(repo, revision)
                return HubSource(repo, commit), path
            case LocalSource(path=name):
                return source, self._local(name, model_id)
            case AliasSource(name, alias):
                version = self._tracking.version_of(name, alias)
                return VersionSource(name, version), self._tracking.fetch_version(name, version)
            case VersionSource(name, version):
                return source, self._tracking.fetch_version(name, version)
            case RunSource(run_id, path=inner):
                return source, self._tracking.fetch_run(run_id, inner)
            case StoreSource(name):
                return self._stored(name, model_id)
            case PackageSource(model_id=owner):
                return source, _packaged(owner)

    def _local(self, name: str, model_id: str) -> Path:
        folder = confined(name, self._roots_of(model_id))
        require_weights(folder)
        return folder

    def _stored(self, name: str, model_id: str) -> tuple[Source, Path]:
        if self.store is None:
            raise InvalidRequest.field("/source", "store: this server keeps no store of versions")
        version = self.store.model(model_id).get(name)
        require_weights(version.path)
        return StoreSource(version.name), version.path

    def _roots_of(self, model_id: str) -> list[Path]:
        if isinstance(self._local_roots, Mapping):
            root = self._local_roots.get(model_id)
            return [root] if root else []
        own = [root / model_id / "local" for root in self._local_roots]
        return own + list(self._local_roots)


def _packaged(model_id: str) -> Path:
    folder = _PACKAGED / model_id / "weights"
    if not folder.is_dir():
        raise FileMissing(f"package: no weights of {model_id} are installed with the gateway")
    require_digests(folder)
    return folder


def parse(text: str) -> Source:
    """Read a source, without looking whether it exists.

    Raises:
        InvalidRequest: this is no source; says what one looks like.
    """
    scheme, colon, rest = text.partition(":")
    if not text.isprintable():
        raise InvalidRequest.field("/source", "a source is one line of printable characters")
    if not colon or scheme not in SCHEMES:
        known = ", ".join(f"{known}:" for known in SCHEMES)
        raise InvalidRequest.field("/source", f"a source starts with one of {known}")
    return _READERS[scheme](rest)


def confined(name: str, roots: Sequence[Path]) -> Path:
    """Find a folder by its real path, links followed, in one of the roots.

    Args:
        name: relative to a root, the first that has it counts; or absolute.

    Returns:
        The real path, so that a link changed later leads nowhere else.

    Raises:
        Forbidden: it, or a file in it, really lies outside every root.
        FileMissing: no root holds it.
        InvalidRequest: it is no folder.
    """
    real_roots = [_real(root) for root in roots]
    candidates = [_real(root / name) for root in real_roots]
    inside = [path for path in candidates if _is_inside(path, real_roots)]
    found = next(filter(os.path.exists, inside), None)
    if found is None and len(inside) == len(candidates) > 0:
        raise FileMissing("local: no such folder in the configured local folders")
    if found is None:
        raise Forbidden("local: sources may only name folders in the configured local folders")
    if not found.is_dir():
        raise InvalidRequest.field("/source", "local: names a file; name the folder that it is in")
    if not all(_is_inside(path, real_roots) for path in _files_below(found)):
        raise Forbidden("local: the folder holds a link that leads out of the local folders")
    return found


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _is_inside(path: Path, roots: Sequence[Path]) -> bool:
    return any(path.is_relative_to(root) for root in roots)


def _files_below(folder: Path) -> list[Path]:
    return [
        _real(Path(parent, name))
        for parent, folders, files in os.walk(folder)
        for name in (*folders, *files)
    ]


def _read_hub(rest: str) -> Source:
    repo, at, revision = rest.partition("@")
    plain = ".." not in rest and "//" not in rest
    if not plain or not _REPO.fullmatch(repo) or (at and not _REVISION.fullmatch(revision)):
        raise InvalidRequest.field("/source", "expected hf:<repo> or hf:<repo>@<revision>")
    return HubSource(repo, revision or None)


def _read_local(rest: str) -> Source:
    if not rest.strip():
        raise InvalidRequest.field("/source", "expected local:<path>")
    return LocalSource(rest)


def _read_mlflow(rest: str) -> Source:
    if found := _MODEL_VERSION.fullmatch(rest):
        return VersionSource(**found.groupdict())
    if found := _MODEL_ALIAS.fullmatch(rest):
        return AliasSource(**found.groupdict())
    found = _RUN.fullmatch(rest)
    if found and not {"..", "/"} & set(PurePosixPath(found["path"]).parts):
        return RunSource(**found.groupdict())
    raise InvalidRequest.field(
        "/source",
        "expected mlflow:models:/<name>@<alias>, mlflow:models:/<name>/<version>"
        " or mlflow:runs:/<run id>/<path>",
    )


def _read_store(rest: str) -> Source:
    if not _STORED.fullmatch(rest):
        raise InvalidRequest.field("/source", "expected store:<version, alias or snapshot>")
    return StoreSource(rest)


def _read_package(rest: str) -> Source:
    if not _MODEL_ID.fullmatch(rest):
        raise InvalidRequest.field("/source", "expected package:<model id>")
    return PackageSource(rest)


_READERS: dict[str, Callable[[str], Source]] = {
    "hf": _read_hub,
    "local": _read_local,
    "mlflow": _read_mlflow,
    "store": _read_store,
    "package": _read_package,
}
