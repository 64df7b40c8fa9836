"""Who judges, one provider a file: `make(wanted, access)` returns a `Judge`; `NEEDS_MODEL`: whether one is named."""

from sae_research.plugins import extended

__path__ = extended(__path__, __name__)
