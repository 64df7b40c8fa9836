"""The families of labelled data sets, one file each."""

from sae_research.plugins import extended

__path__ = extended(__path__, __name__)
