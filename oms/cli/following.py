"""Follows a job to its end, through restarts of whatever answers; leaving does not end the job."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from oms.cli import output, session
from oms.cli.patience import Patience
from oms.cli.progress import progress_bar
from oms.failures import Failure

if TYPE_CHECKING:
    from oms.api_client import ApiClient, Document

POLL_S: Final = 0.5

RUNNING: Final = "running"


def followed(url: str, token: str | None, job_id: str) -> Document:
    """The job at its end; a bar shows how far it is.

    Raises:
        ApiFailure: it cannot be looked at for too long.
        KeyboardInterrupt: the person left; it was said that the job goes on.
    """
    try:
        return session.ask(url, token, lambda api: _follow(api, job_id))
    except KeyboardInterrupt:
        output.note(f"the job goes on: oms jobs watch {job_id}, or oms jobs cancel {job_id} --reason TEXT")
        raise


def check_ended_well(job: Document) -> None:
    """Raises Failure for a job that was cancelled or could not go on."""
    if job.get("state") == "cancelled":
        why = f": {job['end_reason']}" if job.get("end_reason") else ""
        raise Failure(f"the job was cancelled by {job.get('ended_by')} at {_far(job)}{why}")
    if job.get("state") == "failed":
        raise Failure(f"the job failed at {_far(job)}: {job.get('failure')}")


async def _follow(api: ApiClient, job_id: str) -> Document:
    patience = Patience()
    patience.rewarded()  # whoever knows the job's id has had it from the API
    with progress_bar() as bar:
        task = bar.add_task("looking", total=None)
        while True:
            job = await patience.answer(lambda: api.get(f"/admin/jobs/{job_id}"))
            refused = f", {job['refused']} refused" if job.get("refused") else ""
            description = f"{job.get('kind')}{refused}"
            bar.update(task, description=description, total=job["total"], completed=job["done"])
            if job.get("state") != RUNNING:
                return job
            await asyncio.sleep(POLL_S)


def _far(job: Document) -> str:
    return f"{job.get('done')} of {job.get('total')}"
