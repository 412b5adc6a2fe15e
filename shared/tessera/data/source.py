"""One file of data, wherever it lies, and what is said of one that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tessera import errors

_SHOWN = 500
"""Characters of another library's message that an error repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file.

    Args:
        name: relative to what the spec names.
        url: for people.
        field: of the spec, which names it.
        open: reads it, compressed as it may be.
        optional: whether it is left out, rather than an error, if it is not text.
    """

    name: str
    url: str
    field: str
    open: Callable[[], bytes]
    optional: bool = False

    def read(self) -> bytes:
        """Its bytes as they are stored.

        Raises:
            InvalidArgumentError: DATA_NOT_FOUND or DATA_UNREADABLE.
            UnavailableError: DATA_UNREACHABLE.
        """
        try:
            return self.open()
        except (FileNotFoundError, errors.NotFoundError) as error:
            description = f"{self.url} is not there any more: {error}"
            raise self.wrong(description, "DATA_NOT_FOUND") from None
        except PermissionError as error:
            raise self.unreadable(f"may not be read: {error}") from None
        except errors.TesseraError:
            raise
        except Exception as error:  # noqa: BLE001 - every kind of storage has its own
            raise unreachable(self.url, self.field, error) from None

    def wrong(self, description: str, reason: str) -> errors.InvalidArgumentError:
        """The error of what stands in the file."""
        return errors.InvalidArgumentError.at(self.field, description, reason)

    def unreadable(self, why: str) -> errors.InvalidArgumentError:
        """The error of a file that is there but of no use."""
        return self.wrong(f"{self.url} {why}", "DATA_UNREADABLE")


def unreachable(url: str, field: str, error: Exception) -> errors.UnavailableError:
    """The error of a storage that does not answer."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0][:_SHOWN]
    description = (
        f"{url} cannot be reached: {said}; try again later, or name a copy that the workers can "
        "read"
    )
    return errors.UnavailableError.at(field, description, "DATA_UNREACHABLE")
