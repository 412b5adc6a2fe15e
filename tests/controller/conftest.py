"""A real controller on a free port."""

from __future__ import annotations

import controllers

platform = controllers.platform
