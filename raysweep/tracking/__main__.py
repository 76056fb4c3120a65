"""`python -m raysweep.tracking STUDY_FOLDER`: the tracking process; see `loop`."""

import gc

from raysweep.tracking.loop import main

gc.set_threshold(100_000, 50, 50)  # as in launch.py: mlflow's imports create no garbage
main()
gc.freeze()  # the driver waits for this process, and collecting mlflow's objects takes half a second
