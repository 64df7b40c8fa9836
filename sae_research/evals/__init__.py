"""The evals, one folder each."""

from sae_research.plugins import extended

__path__ = extended(__path__, __name__)
