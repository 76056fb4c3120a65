"""Reports on studies: tables and findings from the record, Optuna's analysis and plots."""
