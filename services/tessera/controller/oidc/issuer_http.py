"""What an issuer says over HTTPS: bounded in time and in bytes, and from nowhere else."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx

from tessera import errors
from tessera.rpc.issuer_tls import tls_context
from tessera.rpc.policy.oidc import TrustedIssuer, is_safe

FETCH_SECONDS = 5.0
"""For all that is fetched at once: its configuration and its keys."""

MAX_BYTES = 512 * 1024
"""Of one answer; the largest sets of keys have some ten thousand."""

DISCOVERY = "/.well-known/openid-configuration"


class IssuerHttp:
    """Fetches the keys of one issuer.

    Args:
        issuer: whose.

    Raises:
        InvalidArgumentError: its certificate authority cannot be read (INVALID_FIELD).
    """

    def __init__(self, issuer: TrustedIssuer) -> None:
        self._issuer = issuer
        # Wherever a redirection leads, it is not what the operator believes.
        self._client = httpx.AsyncClient(
            verify=tls_context(issuer),
            follow_redirects=False,
            trust_env=not issuer.is_local,
            timeout=FETCH_SECONDS,
            headers={"accept": "application/json", "accept-encoding": "identity"},
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def key_set(self) -> list[Any]:
        """The keys (JWK) that it publishes now.

        Raises:
            UnavailableError: it does not answer in time, or as an issuer does
                (OIDC_ISSUER_UNAVAILABLE).
        """
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                told = await self._get(self._issuer.url.rstrip("/") + DISCOVERY)
                if told.get("issuer") != self._issuer.url:
                    raise self._unavailable(f"it says that it is {told.get('issuer')!r}")
                where = told.get("jwks_uri")
                if not isinstance(where, str) or not is_safe(where):
                    raise self._unavailable(f"its `jwks_uri` is no https:// URL: {where!r}")
                keys = (await self._get(where)).get("keys")
        except TimeoutError:
            raise self._unavailable(f"no answer within {FETCH_SECONDS:g} s") from None
        if not isinstance(keys, list):
            raise self._unavailable("its `jwks_uri` has no keys")
        return keys

    async def _get(self, url: str) -> dict[str, Any]:
        try:
            async with self._client.stream("GET", url) as reply:
                if reply.status_code != httpx.codes.OK:
                    raise self._unavailable(f"{url} answers {reply.status_code}")
                if reply.headers.get("content-encoding", "identity") != "identity":
                    raise self._unavailable(f"{url} answers packed")
                content = b""
                async for part in reply.aiter_raw():
                    content += part
                    if len(content) > MAX_BYTES:
                        raise self._unavailable(f"{url} answers more than {MAX_BYTES} bytes")
            answer = json.loads(content)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            problem = f"{type(error).__name__} {error}".rstrip()
            raise self._unavailable(f"{url}: {problem}") from None
        except (ValueError, RecursionError):
            raise self._unavailable(f"{url} answers no JSON") from None
        if not isinstance(answer, dict):
            raise self._unavailable(f"{url} answers no JSON object")
        return answer

    def _unavailable(self, why: str) -> errors.UnavailableError:
        return errors.UnavailableError(
            f"the OIDC issuer {self._issuer.url} gives no keys: {why[:500]}",
            reason="OIDC_ISSUER_UNAVAILABLE",
        )
