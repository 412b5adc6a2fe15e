"""`tessera jobs`, `job` and `cancel`."""

from __future__ import annotations

from typing import Annotated

import typer

from tessera.api.controller.v1 import job_pb2 as pb
from tessera.cli import show
from tessera.cli.connect import connect, options_of
from tessera.cli.named import JobArgument, job_id
from tessera.client.dashboard import job_page
from tessera.spec import dump


def jobs(
    context: typer.Context,
    filter_: Annotated[
        str,
        typer.Option("--filter", help="For example `state=RUNNING AND label.team=nlp`."),
    ] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = 50,
    full: Annotated[
        bool, typer.Option("--full", help="With `--output json`: also the whole specs.")
    ] = False,
) -> None:
    """List jobs, newest first."""
    with connect(context) as client:
        found = list(client.jobs.list(filter_, limit=limit, full=full))
    if options_of(context).json:
        show.as_json(found)
        return
    show.table(
        ("ID", "NAME", "STATE", "STEP", "LOSS", "HELD-OUT", "AGE", "NOTE"),
        [_row(job) for job in found],
        empty="no jobs; `tessera submit FILE` makes one",
    )


def job(
    context: typer.Context,
    job: JobArgument,
    spec: Annotated[bool, typer.Option("--spec", help="Also its spec, as YAML.")] = False,
    ranks: Annotated[
        bool,
        typer.Option("--ranks", help="Instead: where its ranks run, as its driver says."),
    ] = False,
) -> None:
    """Show one job."""
    if ranks:
        _show_ranks(context, job)
        return
    with connect(context) as client:
        found = client.jobs.get(job_id(client, job))
        dashboards = client.dashboards()
    if options_of(context).json:
        show.as_json(found)
        return
    for name, value in _facts(found):
        if value:
            show.line(f"{name:<10} {value}")
    for attempt in found.attempts:
        show.line(f"attempt {attempt.number}  {_attempt(attempt)}")
        if page := job_page(dashboards.get(attempt.pool, ""), attempt.submission_id):
            show.line(f"           {page}")
    if found.failure.traceback:
        show.line(f"\n{found.failure.traceback.rstrip()}")
    if spec:
        show.line(f"\n{dump(found.spec).rstrip()}")


def cancel(context: typer.Context, job: JobArgument) -> None:
    """Cancel a job; it ends within two steps."""
    with connect(context) as client:
        found = client.jobs.cancel(job)
    if options_of(context).json:
        show.as_json(found)
    else:
        show.line(f"{found.id}  {state_of(found)}")


def _show_ranks(context: typer.Context, job: str) -> None:
    with connect(context) as client:
        run = client.processes.run(job_id(client, job))
    if options_of(context).json:
        show.as_json(run)
        return
    show.line(f"phase      {run.phase}")
    show.line(f"step       {run.step}/{run.total_steps or '?'}")
    if run.version:
        show.line(f"version    {run.version}, of step {run.version_step}")
    for rank, place in enumerate(run.ranks):
        show.line(f"{f'rank {rank}':<10} {place or 'not there yet'}")


def state_of(job: pb.Job) -> str:
    """`running`; `queued (paused)` where somebody keeps it from being started."""
    state = show.enum(pb.JobState.Name(job.state), "JOB_STATE_")
    if not job.HasField("hold") or job.end_time.seconds:
        return state
    return f"{state} ({show.enum(pb.HoldReason.Name(job.hold.reason), 'HOLD_REASON_')})"


def _hold(job: pb.Job) -> str:
    """`by ada: for the night`."""
    if not job.HasField("hold"):
        return ""
    return f"by {job.hold.by}" + (f": {job.hold.message}" if job.hold.message else "")


def _row(job: pb.Job) -> tuple[str, ...]:
    progress = job.progress if job.HasField("progress") else None
    note = ""
    if job.state == pb.JOB_STATE_FAILED:
        note = job.failure.reason
    elif job.HasField("hold") and not job.end_time.seconds:
        note = f"held {_hold(job)}"
    elif job.waiting:
        note = job.waiting[0].message
    return (
        job.id,
        job.spec.name,
        state_of(job),
        f"{progress.step}/{progress.total_steps}" if progress and progress.total_steps else "",
        f"{progress.loss:.3f}" if progress and progress.loss else "",
        f"{progress.held_out_loss:.3f}" if progress and progress.HasField("held_out_loss") else "",
        show.age(job.create_time),
        " ".join(note.split()),
    )


def _facts(job: pb.Job) -> list[tuple[str, str]]:
    progress = job.progress
    seen = progress.evaluated_examples
    over = f" over {seen:,} examples" if seen else ""
    baseline = f"  (baseline {progress.baseline_loss:.3f})" if progress.baseline_loss else ""
    failure = job.failure
    guilty = f" on rank {failure.rank}" if failure.rank >= 0 else ""
    end = job.end_time if job.HasField("end_time") else None
    ran = ""
    if job.HasField("start_time"):
        begin = job.start_time.ToNanoseconds() / 1e9
        ran = show.duration(end.ToNanoseconds() / 1e9 - begin) if end else show.age(begin)
    return [
        ("id", job.id),
        ("name", job.spec.name),
        ("state", state_of(job)),
        ("owner", job.owner),
        ("submitted", f"{show.age(job.create_time)} ago"),
        ("ran", ran),
        ("held", _hold(job)),
        ("waits", "; ".join(reason.message for reason in job.waiting)),
        ("step", f"{progress.step}/{progress.total_steps}" if progress.total_steps else ""),
        ("epoch", _epoch(progress)),
        ("examples", _examples(progress)),
        ("loss", f"{progress.loss:.4f}" if progress.loss else ""),
        (
            "held-out",
            f"{progress.held_out_loss:.4f}{over}{baseline}" if progress.held_out_loss else "",
        ),
        *((name.replace("_", " "), f"{v:.4f}") for name, v in sorted(progress.metrics.items())),
        ("set", f"{job.spec.publish.set}@{progress.version}" if progress.version else ""),
        (
            "failure",
            f"{failure.reason}{guilty}: {failure.message}" if job.HasField("failure") else "",
        ),
    ]


def _epoch(progress: pb.Progress) -> str:
    """`1.25 of 3`, where the run is told in, or comes to, so many."""
    if not progress.HasField("epoch"):
        return ""
    return f"{progress.epoch:.2f} of {progress.total_steps / progress.steps_per_epoch:.4g}"


def _examples(progress: pb.Progress) -> str:
    """How many there are, and how many steps they make."""
    if not progress.examples:
        return ""
    return (
        f"{progress.examples:,} to train on, {progress.held_out_examples:,} held out; "
        f"{progress.steps_per_epoch:,.4g} steps an epoch"
    )


def _attempt(attempt: pb.Attempt) -> str:
    parts = [f"on {attempt.pool}", attempt.submission_id]
    if attempt.HasField("failure"):
        parts.append(f"{attempt.failure.reason}: {' '.join(attempt.failure.message.split())}")
    elif not attempt.HasField("end_time"):
        parts.append("running")
    return "  ".join(parts)
