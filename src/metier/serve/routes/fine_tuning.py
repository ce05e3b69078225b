"""/v1/files, /v1/uploads and /v1/fine_tuning/jobs."""

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.datastructures import UploadFile

from metier.serve.desk import Desk, caller_of, desk_of
from metier.serve.keys import Caller
from metier.serve.refusal import Refusal, unsupported
from metier.serve.routes.lists import After, Limit, done
from metier.serve.routes.streams import as_json
from metier.serve.tuning import grading
from metier.serve.tuning.files import Page, paged
from metier.serve.tuning.jobs import Jobs
from metier.serve.wire.tuning import CompleteBody, GraderBody, JobBody, TrialBody, UploadBody

ROUTER = APIRouter(tags=["train"])


def _jobs(request: Request) -> Jobs:
    jobs = desk_of(request).jobs
    assert jobs is not None
    return jobs


async def _part(request: Request, name: str, known: tuple[str, ...]) -> tuple[str, bytes, dict[str, str]]:
    """Return the name and content of the uploaded file of a form, and its other fields."""
    async with request.form() as form:
        file = form.get(name)
        if not isinstance(file, UploadFile):
            raise Refusal(400, f"'{name}' is missing; wanted: a file in a multipart form", param=name)
        others = {key: value for key, value in form.items() if isinstance(value, str)}
        unknown = [key for key in form if key not in (name, *known)]
        if unknown:
            raise unsupported(unknown[0][:80], "it would have to be ignored")
        return file.filename or "file", await file.read(), others


@ROUTER.post("/files")
async def upload_file(request: Request) -> Response:
    """Keep a file: a multipart form with `file` and `purpose`."""
    name, content, fields = await _part(request, "file", ("purpose",))
    files, caller = _jobs(request).files, caller_of(request)
    purpose = fields.get("purpose", "")
    return await done(files.add, caller, filename=name, purpose=purpose, content=content)


@ROUTER.get("/files")
async def list_files(
    request: Request, after: After = None, limit: Limit = 10_000, purpose: Annotated[str | None, Query()] = None,
    order: Literal["asc", "desc"] = "desc",
) -> Response:  # fmt: skip
    """List the caller's files, newest first unless the `order` is asc."""
    files, page = _jobs(request).files, Page(after=after, limit=limit)
    return await done(files.listed, caller_of(request), page, purpose, oldest=order == "asc")


@ROUTER.get("/files/{id}")
async def get_file(id: str, request: Request) -> Response:
    """Tell about a file."""
    return await done(_jobs(request).files.get, caller_of(request), id)


@ROUTER.get("/files/{id}/content")
async def file_content(id: str, request: Request) -> Response:
    """Return what is in a file."""
    content = await asyncio.to_thread(_jobs(request).files.content, caller_of(request), id)
    return Response(content, media_type="application/octet-stream")


@ROUTER.delete("/files/{id}")
async def delete_file(id: str, request: Request) -> Response:
    """Delete a file."""
    return await done(_jobs(request).files.remove, caller_of(request), id)


@ROUTER.post("/uploads")
async def begin_upload(body: UploadBody, request: Request) -> Response:
    """Begin an upload in parts."""
    if body.bytes > desk_of(request).settings.limits.body_mib * (1 << 20) * 64:
        raise Refusal(413, "bytes: too large a file", param="bytes")
    return await done(_jobs(request).files.begin, caller_of(request), body.model_dump())


@ROUTER.post("/uploads/{id}/parts")
async def add_part(id: str, request: Request) -> Response:
    """Keep a part of an upload: a multipart form with `data`."""
    _, content, _ = await _part(request, "data", ())
    return await done(_jobs(request).files.part, caller_of(request), id, content)


@ROUTER.post("/uploads/{id}/complete")
async def complete_upload(id: str, body: CompleteBody, request: Request) -> Response:
    """Join the parts of an upload to a file."""
    return await done(_jobs(request).files.complete, caller_of(request), id, body.part_ids, body.md5)


@ROUTER.post("/uploads/{id}/cancel")
async def cancel_upload(id: str, request: Request) -> Response:
    """Give an upload up."""
    return await done(_jobs(request).files.cancel, caller_of(request), id)


@ROUTER.post("/fine_tuning/jobs")
async def create_job(body: JobBody, request: Request) -> Response:
    """Queue a fine-tuning."""
    return await done(_jobs(request).create, caller_of(request), body)


@ROUTER.post("/fine_tuning/alpha/graders/validate")
async def validate_grader(body: GraderBody, request: Request) -> Response:
    """Tell how a grader was understood, or why it is not."""
    return await done(grading.validated, body.grader, desk_of(request).settings.graders)


@ROUTER.post("/fine_tuning/alpha/graders/run")
async def run_grader(body: TrialBody, request: Request) -> Response:
    """Let a grader look at one answer."""
    desk = desk_of(request)
    with desk.trials.one():
        return await done(grading.tried, body, desk.settings.graders, desk.settings.limits.deadline_seconds)


@ROUTER.get("/fine_tuning/jobs")
async def list_jobs(
    request: Request, after: After = None, limit: Limit = 20, metadata: Annotated[str | None, Query()] = None
) -> Response:
    """List the caller's jobs; `metadata[name]=value` chooses among them, `metadata=null` those without any."""
    if metadata not in (None, "null"):
        raise unsupported("metadata", "write metadata[name]=value, or metadata=null")
    wanted = {
        key[len("metadata[") : -1]: value
        for key, value in request.query_params.items()
        if key.startswith("metadata[") and key.endswith("]")
    }
    found = await asyncio.to_thread(_jobs(request).all, caller_of(request))
    chosen = [job for job in found if all((job["metadata"] or {}).get(key) == each for key, each in wanted.items())]
    chosen = [job for job in chosen if metadata is None or not job["metadata"]]
    return as_json(paged(chosen, Page(after=after, limit=limit)))


@ROUTER.get("/fine_tuning/jobs/{id}")
async def get_job(id: str, request: Request) -> Response:
    """Tell about a job."""
    return await done(_jobs(request).get, caller_of(request), id)


@ROUTER.post("/fine_tuning/jobs/{id}/cancel")
async def cancel_job(id: str, request: Request) -> Response:
    """End a job for good."""
    only = ("queued", "running", "paused")
    return await done(_jobs(request).turn, caller_of(request), id, to="cancelled", only=only)


@ROUTER.post("/fine_tuning/jobs/{id}/pause")
async def pause_job(id: str, request: Request) -> Response:
    """Let a job rest; its training publishes a checkpoint."""
    return await done(_jobs(request).turn, caller_of(request), id, to="paused", only=("queued", "running"))


@ROUTER.post("/fine_tuning/jobs/{id}/resume")
async def resume_job(id: str, request: Request) -> Response:
    """Let a paused job go on from its last checkpoint."""
    return await done(_jobs(request).turn, caller_of(request), id, to="queued", only=("paused",))


@ROUTER.get("/fine_tuning/jobs/{id}/events")
async def job_events(id: str, request: Request, after: After = None, limit: Limit = 20) -> Response:
    """Tell what happened to a job, newest first."""
    found = await asyncio.to_thread(_jobs(request).events, caller_of(request), id)
    return as_json(paged(found, Page(after=after, limit=limit)))


@ROUTER.get("/fine_tuning/jobs/{id}/checkpoints")
async def job_checkpoints(id: str, request: Request, after: After = None, limit: Limit = 10) -> Response:
    """List what of a job can be served: the step that was judged best and its last epochs, once it is done."""
    found = await asyncio.to_thread(_jobs(request).checkpoints, caller_of(request), id)
    return as_json(paged(found, Page(after=after, limit=limit)))


@ROUTER.delete("/models/{name:path}")
async def delete_model(name: str, request: Request) -> Response:
    """Delete a model that a job of the caller's made."""
    return await done(_deleted, desk_of(request), caller_of(request), name)


def _deleted(desk: Desk, caller: Caller, name: str) -> dict[str, object]:
    """Delete a model.

    Raises:
        Refusal: no job of the caller's made one of that name, or it answers for another name.
    """
    jobs = desk.jobs
    assert jobs is not None
    row = jobs.maker(caller, name)
    if row is None:
        if name not in jobs.names() and desk.catalogue.find(name) is not None:
            raise Refusal(
                409, f"model {name[:80]!r}: no job made it; the base, runs and versions stay as long as their files",
                param="model", code="not_deletable",
            )  # fmt: skip
        raise Refusal(404, f"no model {name[:80]!r} that a job of yours made", param="model", code="model_not_found")
    if (alias := desk.rollouts.answered_by(name)) is not None:
        raise Refusal(
            409, f"model {name[:80]!r} answers for {alias!r}; wanted: another rollout of that name first",
            param="model", code="model_in_use",
        )  # fmt: skip
    if not jobs.delete(row, name):
        raise Refusal(404, f"no model {name[:80]!r} that a job of yours made", param="model", code="model_not_found")
    return {"id": name, "object": "model", "deleted": True}
