"""A sweep as a whole: its journal, what folds it, and the run."""
