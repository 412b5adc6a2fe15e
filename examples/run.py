"""Runs an example end to end: its data, its jobs, its deployment, questions and their score.

    make example NAME=chinese       or  python examples/run.py chinese
    make examples                   all of them, and a table

It does nothing that you could not type: every step is a `tessera` command, shown before it runs;
only the many questions that are scored go through the Python client. Ctrl-C at any moment ends the
platform too; the next run goes on with the job that was interrupted.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import typer
from chinese import Chinese
from dates import Dates
from example import Example
from number_words import Numbers
from pretrain import Pretrain
from questions import Questions
from reached import report
from records import DATA
from score import Score
from story import HOME, Story, play
from writer import Writer

from tessera import errors

EXAMPLES: Mapping[str, Example] = {
    example.name: example
    for example in (Chinese(), Dates(), Numbers(), Pretrain(), Questions(), Writer())
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How an example ended."""

    example: Example
    score: Score
    seconds: float


def run(story: Story, example: Example) -> Result:
    """One example, end to end; what it needs is there, what it started for itself is ended."""
    begun = time.monotonic()
    typer.echo(f"\n{typer.style(example.name, bold=True)}: {example.family}, {example.task}")
    example.write()
    example.train(story)
    with story.client() as client:
        print(f"\n{report(client, example.jobs[0])}")
    score = served(story, example)
    result = Result(example=example, score=score, seconds=time.monotonic() - begun)
    tell(result)
    return result


def served(story: Story, example: Example) -> Score:
    """How well the model answers that the example trained; it is served no longer than for that."""
    story.tessera("deploy", example.model, "--model", example.model)
    try:
        example.ask(story)
        with story.client() as client:
            return example.score(client)
    finally:
        if not story.interrupted:
            story.tessera("undeploy", example.model)


def run_all(story: Story, examples: Sequence[Example]) -> int:
    """Run examples, one after the other, and say how they went; returns the exit code."""
    story.tessera("up")
    results, wrong = [], []
    for example in examples:
        try:
            results.append(run(story, example))
        except subprocess.CalledProcessError as error:
            wrong.append(f"{example.name}: `{error.cmd}` ended with code {error.returncode}.")
        except errors.TesseraError as error:
            wrong.append(f"{example.name}: {error.message}")
    if len(examples) > 1:
        print(f"\n{table(results)}")
    print(farewell(examples[-1]))
    wrong += failures(results)
    sys.stderr.write("".join(f"{sentence}\n" for sentence in wrong))
    return 1 if wrong else 0


def tell(result: Result) -> None:
    """What was reached, beside the baseline."""
    score = result.score
    by = "Served" if score.served else "Measured by its job"
    print(
        f"\n{by}, on what it has never seen: {score.measure}\n"
        f"  {'this model':<32}{score.show(score.ours):>12}\n"
        f"  {score.without:<32}{score.show(score.baseline):>12}\n"
        f"{result.seconds / 60:.1f} minutes.",
        flush=True,
    )


def table(results: Sequence[Result]) -> str:
    """All examples, one a line."""
    rows = [("EXAMPLE", "FAMILY", "TASK", "MEASURE", "OURS", "BASELINE", "MINUTES")]
    for result in results:
        example, score = result.example, result.score
        values = (score.show(score.ours), score.show(score.baseline))
        minutes = f"{result.seconds / 60:.1f}"
        rows.append((example.name, example.family, example.task, score.measure, *values, minutes))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def failures(results: Sequence[Result]) -> list[str]:
    """A sentence for each example whose model is not far above its baseline."""
    return [
        f"{result.example.name}: {score.measure} of {score.show(score.ours)}, but "
        f"{score.show(score.enough)} would be far from {score.without}: something is wrong."
        for result in results
        if not (score := result.score).good
    ]


def farewell(example: Example) -> str:
    """What to try next."""
    lines = [
        f"\nThe platform still runs. Try next, after  export TESSERA_HOME={HOME}",
        f"  tessera deploy {example.model} --model {example.model}    serve it again",
        f"  tessera versions {example.model}    what the job left behind",
        f"  ls {DATA / example.name}    its data",
        "  tessera down    end it all\n",
    ]
    if not (DATA / example.name).exists():  # It reads what is on the machine anyhow.
        del lines[3]
    return "\n".join(lines)


def example_of(name: str) -> Example:
    """The example of this name."""
    if name not in EXAMPLES:
        raise argparse.ArgumentTypeError(f"`{name}` is none of {', '.join(EXAMPLES)}")
    return EXAMPLES[name]


def main() -> int:
    """Run the examples that are named; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ", ".join(EXAMPLES)
    parser.add_argument("name", nargs="*", type=example_of, help=f"{names}; none: all of them")
    parser.add_argument("--data", action="store_true", help="only write the data")
    arguments = parser.parse_args()
    chosen = arguments.name or list(EXAMPLES.values())
    if arguments.data:
        for example in chosen:
            example.write()
        return 0
    story = Story()
    return play(story, lambda: run_all(story, chosen), story.down)


if __name__ == "__main__":
    sys.exit(main())
