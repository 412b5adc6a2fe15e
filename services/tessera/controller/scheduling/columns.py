"""Amounts of every node, a column for each resource. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(slots=True, kw_only=True)
class NodeColumns:
    """Amounts by node, [rows]; of devices [rows, devices], in thousandths."""

    cpu: Integers
    memory: Integers
    devices: Integers

    @classmethod
    def zeros(cls, rows: int, devices: int) -> NodeColumns:
        """Nothing of anything."""
        return cls(
            cpu=np.zeros(rows, np.int64),
            memory=np.zeros(rows, np.int64),
            devices=np.zeros((rows, devices), np.int64),
        )

    def copy(self) -> NodeColumns:
        """The same amounts, to be changed apart."""
        return NodeColumns(
            cpu=self.cpu.copy(), memory=self.memory.copy(), devices=self.devices.copy()
        )

    def grown(self, rows: int, devices: int) -> NodeColumns:
        """The same amounts with room for more."""
        result = NodeColumns.zeros(rows, devices)
        old, width = self.devices.shape
        result.cpu[:old], result.memory[:old] = self.cpu, self.memory
        result.devices[:old, :width] = self.devices
        return result

    def at(self, rows: Integers) -> NodeColumns:
        """Some rows."""
        return NodeColumns(cpu=self.cpu[rows], memory=self.memory[rows], devices=self.devices[rows])

    def subtract(self, other: NodeColumns) -> None:
        """Take away as much on every row."""
        self.cpu -= other.cpu
        self.memory -= other.memory
        self.devices -= other.devices

    def clear(self, rows: Integers) -> None:
        """Nothing on some rows."""
        self.cpu[rows] = 0
        self.memory[rows] = 0
        self.devices[rows] = 0
