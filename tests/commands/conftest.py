from __future__ import annotations

from support.training import world as world
