"""Fine-tuning over HTTP: files that people upload, a queue of jobs, and the process that trains each."""
