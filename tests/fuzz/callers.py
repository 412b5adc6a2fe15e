"""Who calls: every role that there is, and those who only say that they are somebody."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from random import Random

from tessera.rpc.identity import Issuer
from tessera.rpc.policy.rule import PEOPLE, Kind
from tessera.rpc.policy.table import TABLE
from tessera.rpc.principal import Principal, Role

from .world import DRIVEN, MODELS, SETS, World

TENANTS = ("default", "b")
ISSUER_SECONDS = 1.0
REVOKED = "0123456789abcdef"
Metadata = tuple[tuple[str, str | bytes], ...]


class Callers:
    """Principals and what they show.

    Args:
        issuer: of the platform, as it is now.
        world: knows which attempts there are.
    """

    def __init__(self, issuer: Callable[[], Issuer], world: World) -> None:
        self._current = issuer
        self._seen: tuple[float, Issuer | None] = (0.0, None)
        self._world = world
        self._stranger = Issuer(Issuer.generate_key())
        self._issue = lru_cache(4096)(lambda issuer, who: issuer.issue(who))

    def _issuer(self) -> Issuer:
        """The one of now, within a second: to ask is to look at files.

        The same object as long as it is the same key, for tokens are kept by it: to sign one, and
        to check it where it is shown first, takes as long as all else that makes a message.
        """
        end, seen = self._seen
        if seen is None or time.monotonic() > end:
            now = self._current()
            if seen is None or now.public_key() != seen.public_key():
                seen = now
            self._seen = (time.monotonic() + ISSUER_SECONDS, seen)
        return seen

    def pick(self, method: str, random: Random) -> tuple[str, Principal, Metadata]:
        """Somebody: how it is called, who it is, what it shows."""
        rule, chance = TABLE.get(method), random.random()
        roles = sorted(rule.roles) if rule is not None else list(Role)
        server = rule is not None and any(r.kind is Kind.SERVER for r in rule.resources)
        if chance < 0.84:
            who = self._one(random.choice(roles), random, server)
            return "right", who, self.shown(who)
        if chance < 0.90:
            who = self._one(random.choice(list(Role)), random, server)
            return "any role", who, self.shown(who)
        who = self._one(random.choice(roles), random, server)
        return ("broken token", who, self._broken(who, random))

    def _one(self, role: Role, random: Random, server: bool) -> Principal:
        tenant = "default" if random.random() < (0.95 if server else 0.75) else "b"
        if role in PEOPLE:
            return Principal(subject=f"{role}-{random.randrange(3)}", role=role, tenant=tenant)
        chosen = random.choice(SETS)
        if role is Role.ATTEMPT:
            attempt = self._world.pick("attempt", random)
            if server or attempt is None:
                return DRIVEN
            job, number, tenant = attempt
            return Principal(
                subject=f"attempt:{job}/{number}", role=role, tenant=tenant, job=job,
                attempt=number, writes=f"{tenant}/{chosen}", reads=(f"{tenant}/tiny",),
            )  # fmt: skip
        if role is Role.REPLICA:
            name = random.choice(MODELS)
            return Principal(
                subject=f"replica:{tenant}/{name}", role=role, tenant=tenant, deployment=name,
                reads=(f"{tenant}/{chosen}",),
            )  # fmt: skip
        if role is Role.CONTROLLER and server:
            return replace(DRIVEN, subject=role.value, role=role)
        subject = "shard-7" if role is Role.SHARD else role.value
        return Principal(subject=subject, role=role, tenant="")

    def shown(self, who: Principal) -> Metadata:
        """What somebody shows that is it."""
        if who.role is Role.ANONYMOUS:
            return ()
        return (("authorization", f"Bearer {self._issue(self._issuer(), who)}"),)

    def _broken(self, who: Principal, random: Random) -> Metadata:
        issuer = self._issuer()
        token = self._issue(issuer, who)
        match random.randrange(14):
            case 0:
                return ()
            case 1:
                shown = "Bearer " + "nonsense" * random.choice((1, 300))
            case 2:
                shown = "Bearer " + self._issue(self._stranger, who)
            case 3:
                shown = "Bearer " + issuer.issue(who, ttl=-1)
            case 4:
                shown = "Bearer " + issuer.issue(who, token_id=REVOKED)
            case 5:
                shown = "Bearer " + issuer.issue(who, audience=["inference"])
            case 6:
                shown = random.choice(("Bearer", "Bearer ", "", "Basic YTpi", f"bearer  {token}"))
            case 7:
                at = random.randrange(len(token))
                shown = f"Bearer {token[:at]}{random.choice('.aA=_-')}{token[at + 1 :]}"
            case 8:
                shown = "Bearer " + token[: random.randrange(len(token))]
            case 9:
                shown = "Bearer " + unsigned({"alg": "none"}, who.claims())
            case 10:
                kid = random.choice((7, None, "", [], {"a": 1}, "../../etc/passwd"))
                shown = "Bearer " + unsigned({"alg": "EdDSA", "kid": kid, "crit": ["x"]}, "[]")
            case 11:
                extra = tuple((f"x-{n}-bin", random.randbytes(40)) for n in range(40))
                return (("authorization", f"Bearer {token}"), *extra)
            case 12:
                return (("authorization", "Bearer x"), ("authorization", f"Bearer {token}"))
            case _:
                return (("authorization", f"Bearer {token}"), ("x-long", "y" * 12000))
        return (("authorization", shown),)


def unsigned(header: object, claims: object) -> str:
    """What looks like a token."""
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), b"x" * 64)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
