"""The stages of `dvc.yaml`, one thin module each; every one also runs by hand: `python -m scripts.<stage>`."""
