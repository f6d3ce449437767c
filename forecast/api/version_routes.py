"""What the store holds of a model: its versions, and its snapshots of past dates."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from forecast.api.openapi import problems
from forecast.api.responses import json_response
from forecast.api.schemas import SnapshotsDocument, VersionDetailDocument, VersionsDocument
from forecast.models.spec import ModelSpec
from forecast.store.manifest import verify
from forecast.store.versions import ModelShelf, ModelStore, Version

VersionName = Annotated[
    str, Path(max_length=200, description="A version, a snapshot, its date, or an alias.")
]


def version_router(spec: ModelSpec, store: ModelStore) -> APIRouter:
    """Build `versions` and `snapshots` of a model, for its router."""
    router = APIRouter(tags=["versions"])
    shelf = store.model(spec.model_id)

    @router.get("/versions", response_model=VersionsDocument, responses=problems(401, 404))
    async def list_versions() -> Response:
        """List the versions that training made of this model, newest first."""
        return await asyncio.to_thread(_listed, "versions", shelf)

    @router.get("/snapshots", response_model=SnapshotsDocument, responses=problems(401, 404))
    async def list_snapshots() -> Response:
        """List the models of past dates, each of which has seen nothing after its cutoff."""
        return await asyncio.to_thread(_listed, "snapshots", shelf)

    @router.get(
        "/versions/{name}",
        response_model=VersionDetailDocument,
        responses=problems(401, 404, 409, 422),
    )
    async def get_version(name: VersionName) -> Response:
        """Show a version or snapshot whole, after each of its files was compared with its checksum.

        Where a file is not what was written, the answer is a 409 that names it.
        """
        return await asyncio.to_thread(_detailed, shelf, name)

    return router


def _listed(what: str, shelf: ModelShelf) -> Response:
    found = shelf.versions() if what == "versions" else shelf.snapshots()
    documents = [_document(version) for version in found]
    return json_response({what: documents, "count": len(documents)})


def _detailed(shelf: ModelShelf, name: str) -> Response:
    version = shelf.get(name)
    manifest = verify(version.path)  # whatever the store is set to do on loading
    files = {path: entry.model_dump() for path, entry in manifest.files.items()}
    item_ids = list(version.metadata.item_ids)
    return json_response(
        {**_document(version), "item_ids": item_ids, "files": files, "verified": True}
    )


def _document(version: Version) -> dict[str, Any]:
    metadata = version.metadata
    own = metadata.model_dump(
        mode="json",
        exclude={"format_version", "model_id", "version", "kind", "source", "item_ids"},
    )
    return {
        "name": version.name,
        "kind": version.kind,
        "source": version.source,
        **own,
        "sha256": version.sha256,
        "size_bytes": version.size_bytes,
        "aliases": list(version.aliases),
        "num_items": len(metadata.item_ids),
        "trained_from": metadata.source,
    }
