from __future__ import annotations

from support.workspace import probing_result as probing_result
from support.workspace import workspace as workspace
