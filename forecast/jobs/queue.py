"""The queue between gateways and workers: DBOS's, with JSON in it and never a pickle."""

import sqlalchemy as sa
from dbos import DBOSClient, DBOSPortableJSONSerializer

APPLICATION = "forecast"
WORKFLOW = "forecast.job"
QUEUE = "forecast-jobs"
VERSION = "1"  # of what a queued job means; the same over upgrades, so that no job is stranded

SERIALIZER = DBOSPortableJSONSerializer()


def client_of(engine: sa.Engine) -> DBOSClient:
    """Make a client; nothing is connected yet, and an error is raised and not waited out."""
    return DBOSClient(
        system_database_engine=engine,
        serializer=SERIALIZER,
        application_name=APPLICATION,
        lazy=True,
        retry_connection_errors=False,
    )


def enqueue(client: DBOSClient, connection: sa.Connection, job_id: str) -> None:
    """Queue a job within a transaction of the caller's; its id is all that a worker is told."""
    client.enqueue_in_transaction(
        connection,
        {
            "workflow_name": WORKFLOW,
            "queue_name": QUEUE,
            "workflow_id": job_id,
            "app_version": VERSION,
        },
        job_id,
    )
