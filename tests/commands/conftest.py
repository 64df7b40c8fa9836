from __future__ import annotations

from support.workspace import workspace as workspace
