"""What was decided and what came of it: the decision log, its readers, the report and the explanation."""
