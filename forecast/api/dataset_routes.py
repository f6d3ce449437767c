"""Named datasets: what jobs learn from more than once."""

import asyncio
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Request, Response
from pydantic import Field, WithJsonSchema

from forecast.api import examples
from forecast.api.openapi import problems, takes
from forecast.api.responses import json_response
from forecast.api.schemas import Document
from forecast.core.validation import WireModel, validated
from forecast.data.files import FileFormat
from forecast.data.policy import DataPolicy
from forecast.data.tables import Table, TableSchema
from forecast.training.data import DATASET_NAME, SentFile, read_job_upload
from forecast.training.datasets import Dataset, Datasets
from forecast.training.requests import Body

Name = Annotated[str, Path(pattern=DATASET_NAME, description="Up to 63 of a-z, 0-9, - and _.")]


class DatasetTable(WireModel):
    """A table that is stored under a name."""

    data: Table = Field(description="Columns, or rows, as in a forecast.")
    schema_: TableSchema = Field(alias="schema", description="Which column is what.")


class DatasetForm(WireModel):
    """The parts of an upload that is stored; `schema` is JSON."""

    file: Annotated[str, WithJsonSchema({"type": "string", "format": "binary"})] = Field(
        description="CSV, JSON, XLSX, Parquet or Arrow; told by the ending of its name."
    )
    schema_: TableSchema = Field(alias="schema", description="Which column is what.")


class DatasetDocument(Document):
    """A dataset; the data themselves are not shown."""

    name: str
    format: str
    schema_: dict[str, Any] = Field(alias="schema", description="Which column is what.")
    sha256: str
    size_bytes: int
    rows: int
    items: int = Field(description="Series in it.")
    start: str | None = Field(description="Time of the first step of all.")
    end: str | None = Field(description="Time of the last step of all.")
    created_at: str
    source_name: str = Field(description="The file name its sender gave.")


class DatasetsDocument(Document):
    datasets: list[DatasetDocument]
    count: int


def dataset_router(datasets: Datasets, policy: DataPolicy) -> APIRouter:
    """Build `/datasets` and what is under it."""
    router = APIRouter(tags=["datasets"], prefix="/datasets")
    _add_looks(router, datasets)

    @router.put(
        "/{name}",
        response_model=DatasetDocument,
        responses={
            201: {"description": "The name is new.", "model": DatasetDocument},
            **problems(400, 401, 409, 413, 415, 422, 503, 507),
        },
        openapi_extra=takes(DatasetTable, form=DatasetForm, shown=examples.DATASETS),
    )
    async def put_dataset(request: Request, name: Name) -> Response:
        """Keep a table, or an uploaded file, under a name; what was there before is replaced.

        201 where the name is new.
        """
        body = Body(await request.body(), request.headers.get("content-type", "application/json"))
        sent, schema = await asyncio.to_thread(_read, body, policy)
        dataset, is_new = await asyncio.to_thread(datasets.put, name, sent, schema)
        return json_response(dataset.described(), 201 if is_new else 200)

    @router.delete(
        "/{name}",
        status_code=204,
        responses=problems(401, 404, 422, 503, 507),
    )
    async def delete_dataset(name: Name) -> Response:
        """Forget a dataset. Models that learned from it stay."""
        await asyncio.to_thread(datasets.remove, name)
        return Response(status_code=204)

    return router


def _add_looks(router: APIRouter, datasets: Datasets) -> None:
    @router.get("", response_model=DatasetsDocument, responses=problems(401))
    async def list_datasets() -> Response:
        """List the datasets by their names."""
        found: list[Dataset] = await asyncio.to_thread(datasets.all)
        documents = [one.described() for one in found]
        return json_response({"datasets": documents, "count": len(documents)})

    @router.get(
        "/{name}",
        response_model=DatasetDocument,
        responses=problems(401, 404, 422),
    )
    async def get_dataset(name: Name) -> Response:
        """Show what is known of a dataset."""
        return json_response((await asyncio.to_thread(datasets.get, name)).described())


def _read(body: Body, policy: DataPolicy) -> tuple[SentFile, TableSchema]:
    """Read what is to be kept: a table as JSON, or a file with its schema."""
    if body.is_form:
        known = ("file", "schema")
        upload = read_job_upload(body.content, body.content_type, policy, known)
        return upload.file, upload.schema
    table = validated(DatasetTable, body.document())
    return SentFile(orjson.dumps(table.data), FileFormat.JSON), table.schema_
