"""What a resolved spec says of its data, as those who read it take it."""

from __future__ import annotations

from tessera.api.controller.v1.spec_pb2 import DataSpec
from tessera.data.settings import COMMA, DataSettings


def data_settings(data: DataSpec) -> DataSettings:
    """The settings of a resolved `data`."""
    return DataSettings(
        files=tuple(data.files),
        format=data.format,
        target_files=tuple(data.target_files),
        validation_files=tuple(data.validation_files),
        validation_target_files=tuple(data.validation_target_files),
        columns=dict(data.columns),
        header=data.header,
        delimiter=data.delimiter or COMMA,
        label_names=dict(data.label_names),
        held_out=data.held_out,
        max_bytes=data.max_bytes,
    )
