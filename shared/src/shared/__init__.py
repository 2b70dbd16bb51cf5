"""What the services of report-jobs agree on."""
