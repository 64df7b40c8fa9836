from __future__ import annotations

from support.training import world as world
from support.workspace import workspace as workspace
