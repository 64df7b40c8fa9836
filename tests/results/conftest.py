from __future__ import annotations

from support.workspace import card as card
from support.workspace import core_result as core_result
from support.workspace import filled as filled
from support.workspace import probing_result as probing_result
from support.workspace import workspace as workspace
