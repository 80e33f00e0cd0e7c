"""What code that runs for a job knows of it: the job, what it may wait for, why others failed."""
