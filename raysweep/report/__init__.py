"""What was learnt. Tables and findings from a study's record; Optuna's analysis and plots of it."""
