"""Runs report jobs under a lease and stores their artifacts."""
