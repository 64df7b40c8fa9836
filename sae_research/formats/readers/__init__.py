"""The readers of checkpoint formats, one file each; the file's name is the format's."""

from sae_research.plugins import extended

__path__ = extended(__path__, __name__)
