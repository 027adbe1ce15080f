"""A report on a phage's genome: what each step of workflow.yaml computes, in plain Python."""
