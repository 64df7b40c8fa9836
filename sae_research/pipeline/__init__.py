"""The pipeline: parameters, the run's SAEs, cells and their store, and the stages that DVC runs."""
