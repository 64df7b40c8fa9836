from __future__ import annotations

from support.training import lens_imported as lens_imported
from support.training import place as place
from support.training import request_of as request_of
from support.training import world as world
