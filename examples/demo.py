"""The whole path on one machine: train a GPT, keep its weights as versions, serve it, let it write.

It does nothing that you could not type: every step is a `tessera` command, shown before it runs.
Ctrl-C at any moment ends the platform too.
"""

from __future__ import annotations

import sys
import time

from story import HOME, Story, play

NAME = "gpt-stdlib"
PROMPT = "def read_lines(path):\n    "


def run(story: Story) -> int:
    """The whole story; returns the exit code."""
    started = time.monotonic()
    story.tessera("up")
    story.train(NAME)
    compare(story)
    story.tessera("versions", NAME)
    story.tessera("deploy", NAME, "--model", NAME, "--wait")
    write(story)
    farewell(story, time.monotonic() - started)
    return 0


def write(story: Story) -> None:
    """Let the model write."""
    story.tessera("generate", NAME, PROMPT, "--max-tokens", "120", "--temperature", "0.7")


def compare(story: Story) -> None:
    """Say how much better than counting pairs of tokens the model has become."""
    job = story.newest(NAME)
    if job is None:
        raise SystemExit("The job is gone: something is wrong.")
    progress = job["progress"]
    model, bigram = progress["held_out_loss"], progress["baseline_loss"]
    print(
        f"\nLoss on files that it has never seen, in nats per token:\n"
        f"  this model          {model:.3f}\n"
        f"  token bigrams       {bigram:.3f}   (add-one smoothed, same tokenizer and split)"
    )
    if model >= bigram:
        raise SystemExit("The model is no better than bigrams: something is wrong.")


def farewell(story: Story, seconds: float) -> None:
    """What runs now, and what to try next."""
    print(
        f"\nDone in {seconds / 60:.1f} minutes. The platform still runs.\n"
        f"  Ray dashboard   {story.read('status')['dashboard']}\n"
        f"  its token       {HOME}/ray-token\n\n"
        f"Try next, after  export TESSERA_HOME={HOME}\n"
        f'  tessera generate {NAME} "class Stack:"     another prompt\n'
        f"  tessera export {NAME} model/               a folder that transformers loads\n"
        f"  tessera status                             what runs, and where\n"
        f"  tessera down                               end it all\n"
    )


def main() -> int:
    """Run the demo; returns the exit code."""
    story = Story()
    return play(story, lambda: run(story), story.down)


if __name__ == "__main__":
    sys.exit(main())
