"""The SAE architectures, one file each; the file's name is the architecture's."""

from sae_research.plugins import extended

__path__ = extended(__path__, __name__)
