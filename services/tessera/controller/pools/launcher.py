"""Submissions to a pool: the interface, and Ray's Jobs API over HTTP behind it."""

from __future__ import annotations

import asyncio
import shlex
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

import httpx

from tessera import environment, errors
from tessera.controller.policy.outcome import RayJobRun, RunStatus
from tessera.controller.policy.records import Pool
from tessera.controller.pools.secrets import Secrets
from tessera.lines import last_line
from tessera.rpc.registration import ROOTS, TICKETS

SUBMIT_SECONDS = 60.0
CALL_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A command to run on a pool under an id of ours.

    `tickets` are for it alone, each worth a token. `roots` are whom it is to believe to be the
    controller, PEM; empty: it calls the controller in clear.
    """

    id: str
    command: Sequence[str]
    metadata: Mapping[str, str] = field(default_factory=dict)
    tickets: Sequence[str] = ()
    roots: bytes = b""


def metadata(
    *, name: str, owner: str, tenant: str, job: str = "", attempt: int = 0
) -> dict[str, str]:
    """What Ray's dashboard shows of a submission.

    Args:
        name: in the column of names, which reads `job_name`.
        owner: who asked for it.
        tenant: that it belongs to.
        job: its id; empty for what the platform itself runs.
        attempt: of the job; 0: none.
    """
    told = {"job_name": name, "owner": owner, "tenant": tenant, "job": job}
    return {**told, "attempt": str(attempt)} if attempt else told


class Launcher(Protocol):
    """Runs submissions on pools.

    Every method raises UnavailableError where the pool cannot be asked: that says nothing about
    what runs there.
    """

    async def submit(self, pool: Pool, submission: Submission) -> None:
        """Hand a submission over; one that is known by its id is left as it is.

        Raises:
            FailedPreconditionError: the pool refuses it (LAUNCH_REFUSED).
        """

    async def status(self, pool: Pool, submission: str) -> RayJobRun:
        """How a submission stands; MISSING where the pool does not know it."""

    async def stop(self, pool: Pool, submission: str) -> None:
        """End a submission: SIGTERM, a little later SIGKILL. One that is unknown is no error."""

    async def log(self, pool: Pool, submission: str) -> str:
        """What it has printed so far; empty where the pool does not know it."""


@cache
def _authorities() -> ssl.SSLContext:
    """Whom a dashboard on https is trusted by; reading their list takes 20 ms."""
    return httpx.create_ssl_context(trust_env=False)


class RayHttp:
    """HTTP to Ray dashboards, each with the token of its own pool.

    Args:
        secrets: where the tokens are.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        # Neither a proxy nor a .netrc: the dashboard is a part of the cluster. Nor a redirection:
        # a token is for the address that it was declared for.
        self._clients: dict[str, httpx.AsyncClient] = {}

    def _client(self, pool: str) -> httpx.AsyncClient:
        """Each pool has connections of its own: those that one keeps waiting no other lacks."""
        if pool not in self._clients:
            self._clients[pool] = httpx.AsyncClient(
                timeout=CALL_SECONDS, trust_env=False, follow_redirects=False, verify=_authorities()
            )
        return self._clients[pool]

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.aclose()

    async def call(
        self, pool: Pool, method: str, path: str, *, body: Any = None, seconds: float = CALL_SECONDS
    ) -> httpx.Response:
        """One call to a pool's dashboard.

        Raises:
            UnavailableError: no answer (POOL_UNREACHABLE), or its token is wrong (POOL_DENIED) or
                not there (POOL_TOKEN_MISSING).
        """
        token = self._secrets.token(pool)
        headers = {"authorization": f"Bearer {token}"} if token else {}
        url = pool.dashboard_url.rstrip("/") + path
        try:
            # Its own timeout is for each read: an answer that drips would never end.
            async with asyncio.timeout(seconds + 1.0):
                reply = await self._client(pool.name).request(
                    method, url, json=body, headers=headers, timeout=seconds
                )
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise errors.UnavailableError(
                f"pool {pool.name} does not answer at {pool.dashboard_url}: "
                f"{type(error).__name__} {error}".rstrip(),
                reason="POOL_UNREACHABLE",
            ) from error
        if reply.status_code in {401, 403}:
            raise errors.UnavailableError(
                f"pool {pool.name} refuses the controller's Ray token", reason="POOL_DENIED"
            )
        return reply


class RayLauncher:
    """A launcher over Ray's Jobs API."""

    def __init__(self, http: RayHttp) -> None:
        self._http = http

    async def submit(self, pool: Pool, submission: Submission) -> None:
        """See `Launcher.submit`."""
        handed = {TICKETS: " ".join(submission.tickets), ROOTS: submission.roots.decode()}
        body = {
            "entrypoint": shlex.join(submission.command),
            "submission_id": submission.id,
            "metadata": {
                **submission.metadata,
                **{key: value for key, value in handed.items() if value},
            },
            "runtime_env": {"env_vars": _environment(pool)},
        }
        reply = await self._http.call(pool, "POST", "/api/jobs/", body=body, seconds=SUBMIT_SECONDS)
        if reply.is_success or "already exists" in reply.text:
            return
        text = last_line(reply.text) or "no text"
        if 400 <= reply.status_code < 500:  # noqa: PLR2004 - HTTP's range for the caller's faults
            raise errors.FailedPreconditionError(
                f"pool {pool.name} refuses the submission: {text}", reason="LAUNCH_REFUSED"
            )
        raise errors.UnavailableError(
            f"pool {pool.name} cannot take submissions now: {text}", reason="POOL_BUSY"
        )

    async def status(self, pool: Pool, submission: str) -> RayJobRun:
        """See `Launcher.status`."""
        reply = await self._http.call(pool, "GET", f"/api/jobs/{submission}")
        if reply.status_code == 404:  # noqa: PLR2004 - HTTP's not found
            return RayJobRun(status=RunStatus.MISSING)
        answer = answer_of(pool, reply)
        try:
            return RayJobRun(
                status=RunStatus(answer.get("status")),
                exit_code=answer.get("driver_exit_code"),
                message=answer.get("message") or "",
            )
        except ValueError as error:
            raise _strange(pool, str(error)) from None

    async def stop(self, pool: Pool, submission: str) -> None:
        """See `Launcher.stop`."""
        reply = await self._http.call(pool, "POST", f"/api/jobs/{submission}/stop")
        if reply.status_code != 404:  # noqa: PLR2004 - HTTP's not found
            answer_of(pool, reply)

    async def log(self, pool: Pool, submission: str) -> str:
        """See `Launcher.log`."""
        reply = await self._http.call(pool, "GET", f"/api/jobs/{submission}/logs")
        if reply.status_code == 404:  # noqa: PLR2004 - HTTP's not found
            return ""
        return str(answer_of(pool, reply).get("logs") or "")


def _environment(pool: Pool) -> dict[str, str]:
    # Without RAY_ADDRESS a driver may find another cluster of the same machine.
    return {
        **environment.FIXED,
        "RAY_ADDRESS": pool.ray_address,
        "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",
        "OMP_NUM_THREADS": "1",
    }


def answer_of(pool: Pool, reply: httpx.Response) -> dict[str, Any]:
    """What a dashboard says.

    Raises:
        UnavailableError: it refuses, or who answers is no Ray dashboard (POOL_ERROR).
    """
    if not reply.is_success:
        raise errors.UnavailableError(
            f"pool {pool.name} answers {reply.status_code}: {last_line(reply.text) or 'no text'}",
            reason="POOL_ERROR",
        )
    try:
        answer = reply.json()
    except ValueError:
        raise _strange(pool, "no JSON") from None
    if not isinstance(answer, dict):
        raise _strange(pool, "no object")
    return answer


def _strange(pool: Pool, what: str) -> errors.UnavailableError:
    return errors.UnavailableError(
        f"pool {pool.name} does not answer as Ray's dashboard does: {what}", reason="POOL_ERROR"
    )
