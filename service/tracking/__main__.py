"""`python -m service.tracking STUDY_FOLDER`: the process that tells MLflow; see `process`."""

from service.tracking.process import main

main()
