"""Who judges, one provider a file.

Each has `make(wanted, access)`, which returns a `Judge`, `NEEDS_MODEL`, whether a model is named, and if so
`identity_of(wanted, access)`, what its answers depend on, without a connection.
"""

from sae_research.plugins import extended

__path__ = extended(__path__, __name__)
