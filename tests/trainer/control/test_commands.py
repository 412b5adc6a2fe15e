"""What the driver asks of a run."""

from __future__ import annotations

from tessera.trainer.control.commands import CommandQueue, StepCommands


def test_commands_are_taken_once():
    commands = CommandQueue()
    assert commands.take() == StepCommands()
    commands.update(2, stop=False, checkpoint_before_stop=True)
    commands.update(2, stop=False, checkpoint_before_stop=True)
    assert commands.take() == StepCommands(checkpoint=True)
    assert commands.take() == StepCommands()
    commands.update(2, stop=True, checkpoint_before_stop=False)
    assert commands.take() == StepCommands(stop=True)
    assert StepCommands.from_numbers(
        *StepCommands(checkpoint=True, stop=True).to_numbers()
    ) == StepCommands(checkpoint=True, stop=True)
