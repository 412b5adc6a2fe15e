"""Rules for which weights learn."""

from __future__ import annotations

from collections.abc import Iterator

from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.spec.rules.problem import Problem, Rule


def _lora(spec: JobSpec) -> Iterator[Problem]:
    if spec.tuning.HasField("lora") and spec.tuning.method != "lora":
        yield Problem(
            reason="LORA_WITHOUT_METHOD",
            field="tuning.lora",
            description=f"`{spec.tuning.method}` has no adapters; set tuning.method to lora, or "
            "leave this out",
        )


def _freeze_steps(spec: JobSpec) -> Iterator[Problem]:
    tuning, steps = spec.tuning, spec.train.steps
    if tuning.freeze_steps and not tuning.freeze:
        description = (
            "nothing is frozen that could learn later; name the parts in tuning.freeze, or set "
            "tuning.method to frozen"
        )
    elif spec.train.HasField("steps") and tuning.freeze_steps > steps:
        description = (
            f"a run of {steps} steps never comes to step {tuning.freeze_steps}; 0 freezes for good"
        )
    else:
        return
    yield Problem(reason="FREEZE_STEPS", field="tuning.freeze_steps", description=description)


RULES: tuple[Rule, ...] = (_lora, _freeze_steps)
