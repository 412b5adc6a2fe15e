"""A real controller on a free port, and one whose pools say what a test wants."""

from __future__ import annotations

import controllers
import scheduled_fleet

platform = controllers.platform
fleet = scheduled_fleet.fleet
